"""The memory in `.status` under an API server that loses replies and tells of the past."""

from __future__ import annotations

import copy

import pytest
from tests.support.kube_double import NAMESPACE, KubeDouble
from urllib3.exceptions import HTTPError, ProtocolError

from streampipeline.decide import Observed, State
from streampipeline.probes.pipeline import PipelineLook
from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Object
from streampipeline_operator.status import Memory
from streampipeline_operator.status_store import ChangedError, StatusStore, SupersededError

NAME, NOW = "nurse-stress", 1_700_000_000_000


class Server(KubeDouble):
    """Writes of the status are carried out; what becomes of the reply is told."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.carries_out = True
        self.put(kube.PIPELINE, {"metadata": {"name": NAME, "uid": "u"}})

    @property
    def body(self) -> Object:
        return self.objects[kube.PIPELINE.plural, NAMESPACE, NAME]

    def replace_status(self, body: Object) -> Object:
        if body["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise ApiException(status=409, reason="Conflict")
        if self.carries_out:
            self.body["status"] = copy.deepcopy(body["status"])
            self._touched(self.body)
        if self.error is not None:
            raise self.error
        return copy.deepcopy(self.body)


@pytest.fixture
def server() -> Server:
    return Server()


def opened(server: Server) -> StatusStore:
    store = StatusStore(server, NAMESPACE, NAME, "u")
    store.recall({}, NOW)
    return store


def write(store: StatusStore, epoch: int) -> None:
    memory = Memory(State(since=NOW, epoch=epoch))
    store.write(memory, Observed(), PipelineLook(), 1, NOW)


def test_what_was_read_is_proven_by_a_write_only(server: Server) -> None:
    store = opened(server)
    proven = [store.proven]
    write(store, 1)
    proven.append(store.proven)
    assert store.recall({}, NOW).state.epoch == 1
    proven.append(store.proven)
    assert proven == [False, True, False]


@pytest.mark.parametrize(
    "error", [ProtocolError("cut"), ApiException(status=409), ApiException(status=504)], ids=repr
)
def test_a_write_whose_reply_is_lost_is_known_to_have_been_made(server: Server, error: Exception) -> None:
    """A conflict too: it may be the answer to a second attempt, of something in between."""
    store = opened(server)
    server.error = error
    write(store, 1)
    server.error = None
    write(store, 2)
    assert server.body["status"]["epoch"] == 2


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ProtocolError("cut"), HTTPError),
        (ApiException(status=503), ApiException),
        (ApiException(status=409), ChangedError),
    ],
)
def test_a_write_that_was_not_made_is_not_taken_for_one(
    server: Server, error: Exception, raised: type[Exception]
) -> None:
    store = opened(server)
    server.error, server.carries_out = error, False
    with pytest.raises(raised):
        write(store, 1)
    assert not store.proven
    server.error, server.carries_out = None, True
    write(store, 1)
    assert store.proven


def test_who_knows_another_status_than_the_newest_is_superseded(server: Server) -> None:
    first, second = opened(server), opened(server)
    write(second, 7)
    with pytest.raises(SupersededError):
        write(first, 1)
    assert server.body["status"]["epoch"] == 7


def test_a_recreated_resource_is_another_one(server: Server) -> None:
    store = opened(server)
    server.body["metadata"]["uid"] = "later"
    with pytest.raises(SupersededError):
        write(store, 1)
