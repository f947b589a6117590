"""Progress rows: "every window of the assignment that ends by `frontier` is in the sink"."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from pydantic import ValidationError

from streampipeline.api.spec import Model
from streampipeline.jobconfig import PROGRESS_PARTITION, Assignment, EngineName, JobConfig, PipelineConfig
from streampipeline.kafka import consumer
from streampipeline.offsets import OffsetLookup
from streampipeline.outbox import Outbox

log = structlog.get_logger(__name__)

POLL_BATCH = 1000


class ProgressRow(Model):
    """One engine's progress in one epoch. Times in ms, UTC."""

    generation: int
    epoch: int
    engine: EngineName
    frontier: int
    windows: int
    """Windows written in this step."""
    at: int

    @property
    def key(self) -> str:
        """The key under which the topic is compacted."""
        return f"{self.generation}/{self.epoch}/{self.engine.value}"


ProgressKey = tuple[int, int, EngineName]
"""Generation, epoch, engine."""


class ProgressWriter:
    """Appends the progress of one assignment to its engine's partition."""

    def __init__(self, config: JobConfig, engine: EngineName, outbox: Outbox) -> None:
        self._topic = config.progress_topic
        self._assignment: Assignment = config.assignment
        self._engine = engine
        self._outbox = outbox

    def write(self, frontier: int, windows: int) -> ProgressRow:
        """Append a row and wait until the broker has it. Raises Stopped, confluent_kafka.KafkaException."""
        row = ProgressRow(
            generation=self._assignment.generation,
            epoch=self._assignment.epoch,
            engine=self._engine,
            frontier=frontier,
            windows=windows,
            at=time.time_ns() // 1_000_000,
        )
        self._outbox.send(
            self._topic,
            key=row.key.encode(),
            value=row.model_dump_json().encode(),
            partition=PROGRESS_PARTITION[self._engine],
        )
        self._outbox.flush()
        return row


class ProgressTable:
    """The newest row of each (generation, epoch, engine). Pure: fed with messages' values."""

    def __init__(self) -> None:
        self.rows: dict[ProgressKey, ProgressRow] = {}
        self.written: dict[EngineName, int] = {}
        """Windows written by each engine, as far as its rows were not compacted away."""

    def add(self, value: bytes) -> None:
        """Take one row in; what is not a row is logged and passed over (anyone may write to a topic)."""
        try:
            row = ProgressRow.model_validate_json(value)
        except ValidationError as error:
            log.warning("progress.not_a_row", error=str(error))
            return
        self.written[row.engine] = self.written.get(row.engine, 0) + row.windows
        key = (row.generation, row.epoch, row.engine)
        known = self.rows.get(key)
        # A restarted process of an assignment begins at its boundary again: what was reached stays reached.
        if known is None or row.frontier >= known.frontier:
            self.rows[key] = row

    def newest(self, generation: int) -> ProgressRow | None:
        """The row that sets the frontier of a generation."""
        rows = [row for row in self.rows.values() if row.generation == generation]
        return max(rows, key=lambda row: (row.frontier, row.epoch), default=None)


class ProgressReader:
    """Tails every partition of the progress topic, read committed, from its beginning. Commits nothing."""

    def __init__(self, config: PipelineConfig) -> None:
        """Raises confluent_kafka.KafkaException when the broker does not answer."""
        self._topic = config.progress_topic
        self._lookup = OffsetLookup(config, self._topic)
        self._partitions = sorted(PROGRESS_PARTITION.values())
        self._reached = dict.fromkeys(self._partitions, 0)
        self._table = ProgressTable()
        self._consumer = consumer(
            config,
            f"streampipeline.{config.uid}.progress-reader",
            {"auto.offset.reset": "earliest", "enable.partition.eof": True, "fetch.wait.max.ms": 100},
        )
        self._consumer.assign(
            [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in self._partitions]
        )

    def poll(self) -> dict[ProgressKey, ProgressRow]:
        """Take in what has arrived, without waiting; the newest row of each (generation, epoch, engine).

        Raises confluent_kafka.KafkaException.
        """
        while messages := self._consumer.consume(POLL_BATCH, timeout=0):
            for message in messages:
                self._take(message)
        return dict(self._table.rows)

    def settle(self, timeout_seconds: float = 10, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Poll until everything committed before this call is taken in. False: not within the time."""
        ends = self._lookup.stable_ends(self._partitions)
        deadline = time.monotonic() + timeout_seconds
        while any(self._reached[partition] < end for partition, end in ends.items()):
            if time.monotonic() > deadline or should_stop():
                return False
            for message in self._consumer.consume(1, timeout=0.05):
                self._take(message)
            self.poll()
        return True

    def written(self) -> dict[EngineName, int]:
        """Windows written by each engine, summed over the rows taken in."""
        return dict(self._table.written)

    def frontier(self, generation: int) -> int | None:
        """The newest frontier of a generation that was taken in (ms); None: no row of it."""
        newest = self.newest(generation)
        return newest.frontier if newest else None

    def newest(self, generation: int) -> ProgressRow | None:
        """The row that sets the frontier, hence which engine does."""
        return self._table.newest(generation)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                if partition is not None and offset is not None:
                    self._reached[partition] = max(self._reached[partition], offset)
                return
            if error.retriable() or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                return
            raise KafkaException(error)
        assert partition is not None
        assert offset is not None
        self._reached[partition] = max(self._reached[partition], offset + 1)
        value = message.value()
        if value is not None:
            self._table.add(value)
