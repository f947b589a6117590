"""Reading explicit offset ranges of the source topic into Arrow."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from streampipeline.jobconfig import PipelineConfig
from streampipeline.kafka import READ_BATCH, consumer

_COLUMNS: dict[str, pa.DataType] = {
    "value": pa.binary(),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "t": pa.int64(),
}
RECORDS_SCHEMA = pa.schema(_COLUMNS)
"""Raw records: value (null: a tombstone), partition, offset, Kafka timestamp in ms."""

POLL_SECONDS = 0.05
"""How long a call waits for records that are announced but not there yet."""

READER_PROPERTIES: dict[str, object] = {
    # Control records may end a range: no message tells that their offsets are passed, an EOF does.
    "enable.partition.eof": True,
    # What is fetched ahead of the ranges asked for is memory, and lost when the next range lies elsewhere.
    "queued.max.messages.kbytes": 16_384,
    "fetch.message.max.bytes": 4_194_304,
    "fetch.wait.max.ms": 100,
}


@dataclass(frozen=True, order=True)
class Range:
    """Offsets [start, end) of one partition. Not each holds a record: control records and gaps count too."""

    partition: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a range needs 0 <= start < end, got [{self.start}, {self.end})")

    def __len__(self) -> int:
        return self.end - self.start


def towards(positions: Mapping[int, int], ends: Mapping[int, int], budget: int) -> list[Range]:
    """The next ranges from `positions` towards `ends`, of about `budget` offsets together, by partition.

    Each partition advances in proportion to its lag, so that all reach their ends together: one that is far
    ahead of the others in time would only pile up open windows.
    """
    lags = {
        partition: ends[partition] - position
        for partition, position in sorted(positions.items())
        if ends.get(partition, position) > position
    }
    total = sum(lags.values())
    return [
        Range(partition, positions[partition], positions[partition] + -(-lag * min(budget, total) // total))
        for partition, lag in lags.items()
    ]


class RangeGone(Exception):
    """Retention has deleted records of a range that was still to be read."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(topic, partition, offset)
        self.partition = partition
        self.offset = offset

    def __str__(self) -> str:
        return f"{self.args[0]}[{self.partition}]: offset {self.offset} is below the log's start"


@dataclass(frozen=True)
class Records:
    """Records of some ranges: a table (`RECORDS_SCHEMA`; by partition, then offset) and its messages."""

    table: pa.Table
    messages: dict[int, list[Message]]

    def message(self, partition: int, offset: int) -> Message:
        """The message of one row. Raises KeyError when there is none."""
        messages = self.messages[partition]
        index = bisect.bisect_left(messages, offset, key=_offset)
        if index == len(messages) or _offset(messages[index]) != offset:
            raise KeyError((partition, offset))
        return messages[index]


@dataclass
class _Position:
    """What was fetched of a partition beyond what was asked for, and where fetching goes on."""

    held: list[Message] = field(default_factory=list)
    next: int = 0
    """Every record below it has been fetched."""
    serves_from: int = 0
    """Every record from here on is held or will be fetched."""
    paused: bool = False


class RangeReader:
    """Reads ranges with one consumer, which goes on where it stands when a range follows the one before.

    Not thread-safe. Kafka being away only makes `read` wait.
    """

    def __init__(
        self, config: PipelineConfig, *, group: str, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._topic = config.spec.source.kafka.topic
        self._consumer = consumer(config, group, READER_PROPERTIES)
        self._positions: dict[int, _Position] = {}
        self._should_stop = should_stop

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def read(self, ranges: Sequence[Range]) -> Records:
        """All committed records of `ranges` (at most one range for each partition).

        Raises RangeGone, InterruptedError (asked to stop), confluent_kafka.KafkaException.
        """
        wanted = {each.partition: each for each in ranges}
        if len(wanted) != len(ranges):
            raise ValueError("more than one range of a partition")
        self._stand_at(wanted)
        while unfinished := [each for each in ranges if self._positions[each.partition].next < each.end]:
            if self._should_stop():
                raise InterruptedError("asked to stop while reading")
            self._fetch(wanted, unfinished)
        messages = {each.partition: self._take(each) for each in sorted(ranges)}
        return Records(_table(messages), messages)

    def _stand_at(self, wanted: dict[int, Range]) -> None:
        """Let the consumer fetch the wanted partitions only, each from its range's start."""
        elsewhere = [
            partition
            for partition, position in self._positions.items()
            if partition not in wanted or position.serves_from != wanted[partition].start
        ]
        if elsewhere:
            self._consumer.incremental_unassign(
                [TopicPartition(self._topic, partition) for partition in elsewhere]
            )
            for partition in elsewhere:
                del self._positions[partition]
        new = [each for each in wanted.values() if each.partition not in self._positions]
        if new:
            self._consumer.incremental_assign(
                [TopicPartition(self._topic, each.partition, each.start) for each in new]
            )
            for each in new:
                self._positions[each.partition] = _Position(next=each.start, serves_from=each.start)
        paused = [partition for partition, position in self._positions.items() if position.paused]
        if paused:
            self._consumer.resume([TopicPartition(self._topic, partition) for partition in paused])
            for partition in paused:
                self._positions[partition].paused = False

    def _fetch(self, wanted: dict[int, Range], unfinished: Sequence[Range]) -> None:
        missing = sum(each.end - self._positions[each.partition].next for each in unfinished)
        # Asking for no more than is missing lets the call return with the last record, not with the time-out.
        fetched = self._consumer.consume(min(READ_BATCH, missing), timeout=POLL_SECONDS)
        for message in fetched:
            partition = message.partition()
            position = self._positions.get(partition) if partition is not None else None
            error = message.error()
            if error is not None:
                self._on_error(error, message, position)
                continue
            offset = _offset(message)
            if position is None or offset < position.next:
                continue  # of an assignment that was left
            position.held.append(message)
            position.next = offset + 1
        self._pause_what_runs_ahead(wanted)

    def _on_error(self, error: KafkaError, message: Message, position: _Position | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if position is not None:
                position.next = max(position.next, _offset(message))
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            where = position.next if position is not None else -1
            raise RangeGone(self._topic, message.partition() or 0, where)
        if error.retriable() or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            return
        raise KafkaException(error)

    def _pause_what_runs_ahead(self, wanted: dict[int, Range]) -> None:
        ahead = [
            each.partition
            for each in wanted.values()
            if not self._positions[each.partition].paused
            and self._positions[each.partition].next - each.end > READ_BATCH
        ]
        if ahead:
            self._consumer.pause([TopicPartition(self._topic, partition) for partition in ahead])
            for partition in ahead:
                self._positions[partition].paused = True

    def _take(self, each: Range) -> list[Message]:
        position = self._positions[each.partition]
        cut = bisect.bisect_left(position.held, each.end, key=_offset)
        taken, position.held = position.held[:cut], position.held[cut:]
        position.serves_from = each.end
        return taken


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset


def _table(messages: dict[int, list[Message]]) -> pa.Table:
    rows = list(chain.from_iterable(messages.values()))
    return pa.Table.from_arrays(
        [
            pa.array([row.value() for row in rows], pa.binary()),
            pa.array([row.partition() for row in rows], pa.int32()),
            pa.array([row.offset() for row in rows], pa.int64()),
            pa.array([row.timestamp()[1] for row in rows], pa.int64()),
        ],
        schema=RECORDS_SCHEMA,
    )
