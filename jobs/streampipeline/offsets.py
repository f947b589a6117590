"""Look-ups of a topic's offsets at the broker: one request for all partitions."""

from __future__ import annotations

from dataclasses import dataclass

import stamina
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # public, but not exported by name

from streampipeline.jobconfig import PipelineConfig
from streampipeline.kafka import admin

TIMEOUT_SECONDS = 10.0
_STALE = (KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH)
"""What a broker says to a client that has slept through a restart of it."""

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


_MOVING = (*_STALE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
"""What brokers say for a moment while a partition's leader changes, or a topic is new."""


def _leader_moves(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _MOVING


@dataclass(frozen=True)
class Found:
    """The first record at or after a time."""

    offset: int
    t: int
    """Its Kafka timestamp, ms."""


class OffsetLookup:
    """Offsets of one topic. Methods raise confluent_kafka.KafkaException when the broker does not answer."""

    def __init__(self, config: PipelineConfig, topic: str | None = None) -> None:
        """`topic`: the source topic unless stated."""
        self.topic = topic or config.spec.source.kafka.topic
        self._config = config
        self._admin = admin(config)

    def partitions(self) -> list[int]:
        """Raises KeyError when the topic does not exist."""
        metadata = self._admin.list_topics(self.topic, timeout=TIMEOUT_SECONDS)
        return sorted(metadata.topics[self.topic].partitions)

    def log_starts(self, partitions: list[int]) -> dict[int, int]:
        """The first offset that is kept."""
        found = self._list(partitions, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)
        return {partition: where.offset for partition, where in found.items()}

    def stable_ends(self, partitions: list[int]) -> dict[int, int]:
        """One past the last offset that a read_committed reader may reach (last stable offset)."""
        found = self._list(partitions, _LATEST, IsolationLevel.READ_COMMITTED)
        return {partition: where.offset for partition, where in found.items()}

    def high_watermarks(self, partitions: list[int]) -> dict[int, int]:
        """One past the last offset, records of open transactions included."""
        found = self._list(partitions, _LATEST, IsolationLevel.READ_UNCOMMITTED)
        return {partition: where.offset for partition, where in found.items()}

    def first_at(self, t: int, partitions: list[int]) -> dict[int, Found | None]:
        """The first record with a Kafka timestamp of at least `t` (ms); None: there is none yet."""
        found = self._list(partitions, OffsetSpec.for_timestamp(max(0, t)), IsolationLevel.READ_COMMITTED)
        return {partition: where if where.offset >= 0 else None for partition, where in found.items()}

    def newest(self, partitions: list[int]) -> dict[int, Found | None]:
        """The record with the greatest Kafka timestamp; None: the partition is empty."""
        found = self._list(partitions, _NEWEST, IsolationLevel.READ_UNCOMMITTED)
        return {partition: where if where.offset >= 0 else None for partition, where in found.items()}

    def _list(self, partitions: list[int], spec: OffsetSpec, isolation: IsolationLevel) -> dict[int, Found]:
        for attempt in stamina.retry_context(
            on=_leader_moves, attempts=5, timeout=TIMEOUT_SECONDS, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                return self._from_leader(partitions, spec, isolation)
        raise AssertionError("stamina raises the last error when attempts run out")

    def _from_leader(
        self, partitions: list[int], spec: OffsetSpec, isolation: IsolationLevel
    ) -> dict[int, Found]:
        try:
            return self._ask(partitions, spec, isolation)
        except KafkaException as error:
            if not self._client_is_outdated(error.args[0].code(), partitions):
                raise
            self._admin = admin(self._config, instead_of=self._admin)
            return self._ask(partitions, spec, isolation)

    def _client_is_outdated(self, code: int, partitions: list[int]) -> bool:
        """Whether only the client is wrong.

        librdkafka's admin client keeps for ever the leader epochs that it learned first, and that a
        partition had no leader when it asked (`_NOENT`, "No leaders found") although the broker names one.
        """
        if code != KafkaError._NOENT:
            return code in _STALE
        metadata = self._admin.list_topics(self.topic, timeout=TIMEOUT_SECONDS)
        there = metadata.topics[self.topic].partitions
        return all(partition in there and there[partition].leader >= 0 for partition in partitions)

    def _ask(self, partitions: list[int], spec: OffsetSpec, isolation: IsolationLevel) -> dict[int, Found]:
        asked = {TopicPartition(self.topic, partition): spec for partition in partitions}
        if not asked:
            return {}
        futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=TIMEOUT_SECONDS)
        # Without a limit of its own: the request has one.
        replies = {where.partition: future.result() for where, future in futures.items()}
        return {partition: Found(reply.offset, reply.timestamp) for partition, reply in replies.items()}
