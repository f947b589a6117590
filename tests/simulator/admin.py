"""Kafka's admin client on the simulated broker: as confluent_kafka's, as far as the product uses it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]
from tests.simulator.broker import Broker
from tests.simulator.scheduler import Scheduler

T = TypeVar("T")

_EARLIEST: int = OffsetSpec.earliest()._value  # type: ignore[no-untyped-call]
_LATEST: int = OffsetSpec.latest()._value  # type: ignore[no-untyped-call]
_NEWEST: int = OffsetSpec.max_timestamp()._value  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """As a future that is done."""

    value: T | KafkaException

    def result(self, timeout: float | None = None) -> T:
        """At once."""
        if isinstance(self.value, KafkaException):
            raise self.value
        return self.value


@dataclass(frozen=True)
class Entry:
    """Of a topic's configuration."""

    value: str


@dataclass
class AdminClient:
    """As `confluent_kafka.admin.AdminClient`."""

    scheduler: Scheduler
    broker: Broker
    properties: dict[str, Any] = field(default_factory=dict)

    def poll(self, timeout: float) -> int:
        """Nothing comes by itself."""
        return 0

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> SimpleNamespace:
        """Partitions of all topics, or of one."""
        self.broker.request(timeout)
        topics = {
            name: SimpleNamespace(partitions=dict.fromkeys(range(len(logs))), error=None)
            for name, logs in self.broker.topics.items()
            if topic in (None, name)
        }
        if topic is not None and topic not in topics:
            error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            topics[topic] = SimpleNamespace(partitions={}, error=error)
        return SimpleNamespace(topics=topics)

    def list_offsets(
        self,
        asked: dict[TopicPartition, OffsetSpec],
        *,
        isolation_level: IsolationLevel,
        request_timeout: float,
    ) -> dict[TopicPartition, Answer[SimpleNamespace]]:
        """Offsets as each specification says."""
        try:
            self.broker.request(request_timeout)
        except KafkaException as error:
            return {where: Answer(error) for where in asked}
        stable = isolation_level is IsolationLevel.READ_COMMITTED
        return {where: Answer(self._offset(where, spec, stable)) for where, spec in asked.items()}

    def _offset(self, where: TopicPartition, spec: OffsetSpec, stable: bool) -> SimpleNamespace:
        log = self.broker.topics[where.topic][where.partition]
        value: int = spec._value
        if value == _EARLIEST:
            return SimpleNamespace(offset=log.log_start, timestamp=-1)
        if value == _LATEST:
            return SimpleNamespace(offset=log.stable_end if stable else log.end, timestamp=-1)
        found = log.newest() if value == _NEWEST else log.first_at(value)
        if found is None:
            return SimpleNamespace(offset=-1, timestamp=-1)
        return SimpleNamespace(offset=found, timestamp=log.records[found].t)

    def create_topics(self, topics: Iterable[Any], *, operation_timeout: float) -> dict[str, Answer[None]]:
        """Those that are missing."""
        self.broker.request(operation_timeout)
        there = KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS))
        made = {topic.topic: self.broker.create(topic.topic, topic.num_partitions) for topic in topics}
        for topic in topics:
            if topic.config.get("message.timestamp.type") == "CreateTime":
                self.broker.create_time.add(topic.topic)
        return {name: Answer(None if new else there) for name, new in made.items()}

    def describe_configs(self, resources: Iterable[Any]) -> dict[Any, Answer[dict[str, Entry]]]:
        """A topic keeps its records for ever."""
        self.broker.request()
        entries = {"retention.ms": Entry("-1"), "retention.bytes": Entry("-1")}
        return {resource: Answer(entries) for resource in resources}
