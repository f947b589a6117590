"""Look-ups of offsets go on where only the client's picture of the leaders is outdated."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from tests.support.publish_config import job_config

from streampipeline import offsets
from streampipeline.offsets import OffsetLookup


class Client:
    """An admin client that has learned something about leaders, right or wrong."""

    def __init__(self, error: int | None, leader: int = 1, times: int | None = None) -> None:
        self.error = error
        self.leader = leader
        self.times = times
        """How often it says so; None: always."""

    def list_topics(self, topic: str, timeout: float) -> Any:
        assert timeout > 0
        partitions = {0: SimpleNamespace(leader=self.leader)}
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def list_offsets(self, asked: dict[TopicPartition, object], **_: object) -> dict[TopicPartition, Any]:
        future: Future[Any] = Future()
        if self.times is not None:
            self.error, self.times = (self.error, self.times - 1) if self.times else (None, None)
        if self.error is None:
            future.set_result(SimpleNamespace(offset=7, timestamp=-1))
        else:
            future.set_exception(KafkaException(KafkaError(self.error)))
        return dict.fromkeys(asked, future)


def lookup(monkeypatch: pytest.MonkeyPatch, first: Client) -> tuple[OffsetLookup, list[Client]]:
    clients = [first]

    def admin(_: object, *, instead_of: Client | None = None) -> Client:
        if instead_of is not None:
            assert instead_of is clients[-1]
            clients.append(Client(error=None))
        return clients[-1]

    monkeypatch.setattr(offsets, "admin", admin)
    return OffsetLookup(job_config({"parquet": {"path": "data", "token_file": "token"}})), clients


@pytest.mark.parametrize("code", [KafkaError.FENCED_LEADER_EPOCH, KafkaError._NOENT])
def test_an_outdated_client_is_replaced(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    looked, clients = lookup(monkeypatch, Client(code))
    assert looked.stable_ends([0]) == {0: 7}
    assert len(clients) == 2
    assert looked.log_starts([0]) == {0: 7}
    assert len(clients) == 2


def test_a_partition_without_a_leader_costs_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, clients = lookup(monkeypatch, Client(KafkaError._NOENT, leader=-1))
    for _ in range(3):
        with pytest.raises(KafkaException):
            looked.stable_ends([0])
    assert len(clients) == 1


def test_a_leader_that_moves_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, clients = lookup(monkeypatch, Client(KafkaError.NOT_LEADER_FOR_PARTITION, times=2))
    assert looked.stable_ends([0]) == {0: 7}
    assert len(clients) == 1


def test_other_errors_are_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, clients = lookup(monkeypatch, Client(KafkaError._TIMED_OUT))
    with pytest.raises(KafkaException):
        looked.stable_ends([0])
    assert len(clients) == 1
