"""Kafka clients on the simulated broker: as confluent_kafka's, as far as the product uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from tests.simulator.admin import AdminClient
from tests.simulator.broker import Broker, Headers
from tests.simulator.scheduler import Process, Scheduler

Delivered = Callable[[KafkaError | None, Message], None]


@dataclass
class _Place:
    """Where a consumer stands in one partition."""

    next: int
    paused: bool = False
    told_end: bool = False


class Consumer:
    """As `confluent_kafka.Consumer` with explicit assignment."""

    def __init__(self, scheduler: Scheduler, broker: Broker, properties: dict[str, Any]) -> None:
        self._scheduler, self._broker = scheduler, broker
        self._group: str = properties["group.id"]
        self._tell_ends = bool(properties.get("enable.partition.eof"))
        assert properties["isolation.level"] == "read_committed"
        self._places: dict[tuple[str, int], _Place] = {}

    # Where it reads

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these only."""
        self._places.clear()
        self.incremental_assign(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Read these too."""
        for each in partitions:
            start = 0 if each.offset == OFFSET_BEGINNING else each.offset
            self._places[each.topic, each.partition] = _Place(start)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """Read these no more."""
        for each in partitions:
            del self._places[each.topic, each.partition]

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Stand still there."""
        for each in partitions:
            self._places[each.topic, each.partition].paused = True

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Go on there."""
        for each in partitions:
            self._places[each.topic, each.partition].paused = False

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """What is there; waits where nothing is."""
        try:
            self._broker.request(timeout)
        except KafkaException:
            self._scheduler.sleep(timeout)
            return []
        if timeout == 0 and self._scheduler.chance(0.1):
            return []  # not fetched yet
        got = self._fetch(num_messages)
        if not got and timeout > 0:
            self._scheduler.sleep(timeout)
            got = self._fetch(num_messages) if self._broker.up else []
        return got

    def _fetch(self, most: int) -> list[Message]:
        got: list[Message] = []
        places = [(name, place) for name, place in self._places.items() if not place.paused]
        self._scheduler.random.shuffle(places)
        for (topic, partition), place in places:
            if len(got) == most:
                break
            log = self._broker.topics[topic][partition]
            if place.next < log.log_start:
                error = KafkaError(KafkaError._AUTO_OFFSET_RESET, "the offset is out of range")
                got.append(Message(topic=topic, partition=partition, offset=place.next, error=error))
                continue
            room = self._scheduler.random.randint(1, most - len(got)) if most > 1 else 1
            offsets, then = self._broker.readable(topic, partition, place.next, room)
            place.told_end = place.told_end and then == place.next
            place.next = then
            got += [self._message(topic, partition, offset) for offset in offsets]
            at_end = then == log.stable_end and len(got) < most
            if self._tell_ends and at_end and not place.told_end:
                place.told_end = True
                error = KafkaError(KafkaError._PARTITION_EOF)
                got.append(Message(topic=topic, partition=partition, offset=then, error=error))
        return got

    def _message(self, topic: str, partition: int, offset: int) -> Message:
        record = self._broker.topics[topic][partition].records[offset]
        kind = TIMESTAMP_CREATE_TIME if topic in self._broker.create_time else TIMESTAMP_LOG_APPEND_TIME
        return Message(
            topic=topic,
            partition=partition,
            offset=offset,
            key=record.key,
            value=record.value,
            headers=[*record.headers],
            timestamp=(kind, record.t),
        )

    # Offsets

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """What its group has committed."""
        self._broker.request(timeout)
        known = self._broker.committed
        return [
            TopicPartition(
                each.topic,
                each.partition,
                known.get((self._group, each.topic, each.partition), OFFSET_INVALID),
            )
            for each in partitions
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        """For its group."""
        assert not asynchronous
        self._broker.request()
        for each in offsets:
            self._broker.committed[self._group, each.topic, each.partition] = each.offset
        self._scheduler.pause(0.0, 0.002)  # the answer may be lost with who asked
        return offsets

    def get_watermark_offsets(self, where: TopicPartition, timeout: float) -> tuple[int, int]:
        """Log start and last stable offset."""
        self._broker.request(timeout)
        log = self._broker.topics[where.topic][where.partition]
        return log.log_start, log.stable_end

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        """See `AdminClient.list_topics`."""
        return AdminClient(self._scheduler, self._broker, {}).list_topics(topic, timeout)

    def close(self) -> None:
        """Forget where it stood."""
        self._places.clear()


@dataclass
class _Sending:
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers
    delivered: Delivered | None


class Producer:
    """As `confluent_kafka.Producer`: what is handed in goes out in the background, as long as it lives."""

    def __init__(self, scheduler: Scheduler, broker: Broker, properties: dict[str, Any]) -> None:
        self._scheduler, self._broker = scheduler, broker
        assert properties["enable.idempotence"]
        self._process: Process = scheduler.process
        self._queue: list[_Sending] = []

    def produce(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        timestamp: int,
        headers: Headers,
        on_delivery: Delivered,
    ) -> None:
        """Hand one in."""
        if partition < 0:
            partition = self._broker.partition_of(topic, key)
        self._queue.append(_Sending(topic, partition, key, value, timestamp, headers, on_delivery))
        if len(self._queue) == 1:
            self._scheduler.call(self._scheduler.random.uniform(0.002, 0.02), self._send)

    def _send(self) -> None:
        if not self._process.alive or not self._queue:
            return
        if not self._broker.up or self._process.frozen:
            self._scheduler.call(0.5, self._send)
            return
        queue, self._queue = self._queue, []
        for one in queue:
            offset = self._broker.append(
                one.topic,
                one.partition,
                key=one.key,
                value=one.value,
                headers=one.headers,
                timestamp=one.timestamp,
            )
            if one.delivered is not None:
                one.delivered(None, Message(topic=one.topic, partition=one.partition, offset=offset))

    def poll(self, timeout: float) -> int:
        """Wait a little."""
        self._scheduler.sleep(timeout)
        return 0

    def flush(self, timeout: float) -> int:
        """How many are not on the broker yet, after at most that time."""
        waited = 0.0
        while self._queue and waited < timeout:
            step = min(0.01, timeout) if self._broker.up else timeout
            self._scheduler.sleep(step)
            waited += step
        return len(self._queue)
