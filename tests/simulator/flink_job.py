"""Flink's job in memory: it reads, windows, publishes and checkpoints as the SQL job does.

What is the job's own (SQL and Java there) is simulated: reading, verdicts, partition clocks, checkpoints, the
transactions of the progress. What it shares with the product is the product's: windows, publish.
"""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import polars as pl
from confluent_kafka import KafkaException
from tests.simulator.broker import Outcome, Transaction
from tests.simulator.scheduler import Process, Scheduler
from tests.simulator.source import KEYS, TOPIC, Source

from streampipeline import windows
from streampipeline.deadletters import DeadLetter, headers_of
from streampipeline.jobconfig import PROGRESS_PARTITION, EngineName, JobConfig
from streampipeline.publish import Publisher
from streampipeline.requests import PARTITION, RepairRequest
from streampipeline.scaling import scale, scaled_columns

TRANSACTION_SECONDS = 60.0


class Pace(Protocol):
    """How fast the cluster is."""

    slow: bool
    slow_checkpoints: bool


@dataclass(frozen=True)
class Row:
    """An on-time record of windows that have not all fired."""

    partition: int
    offset: int
    key: str
    x: float
    e: int


@dataclass
class Snapshot:
    """What a checkpoint holds."""

    positions: dict[int, int]
    rows: list[Row] = field(default_factory=list)
    fired: int = -1
    """The window operator's watermark, ms."""
    transaction: Transaction | None = None
    """Progress that is to be committed once the checkpoint is complete."""


@dataclass
class FlinkJob:
    """One job; an attempt is its tasks between two failures."""

    id: str
    config: JobConfig
    start_ms: int
    state: str = "INITIALIZING"
    failure: str = ""
    dropped: int = 0
    failures: int = 0
    checkpoint: Snapshot = field(init=False)
    tasks: Process | None = None

    def __post_init__(self) -> None:
        self.checkpoint = Snapshot(dict(self.config.assignment.offsets))


class Attempt:
    """The tasks of a job, from a snapshot on, until they fail or are killed."""

    def __init__(self, scheduler: Scheduler, source: Source, job: FlinkJob, pace: Pace) -> None:
        self._scheduler, self._source, self._broker = scheduler, source, source.broker
        self._job, self._pace = job, pace
        self._config = config = job.config
        self._state = deepcopy(job.checkpoint, {id(job.checkpoint.transaction): job.checkpoint.transaction})
        self._newest: dict[int, int] = {}
        self._idle: dict[int, int] = {}
        """Watermarks of partitions that need not be waited for."""
        self._look_before: int | None = None
        self._next_look = 0.0
        self._outbound: list[DeadLetter | RepairRequest] = []
        self._lag = config.spec.source.event_time.allowed_delay_seconds * 1000 + config.disorder_ms + 1
        self._prefix = f"streampipeline-{config.uid}-progress"
        self._transaction: Transaction | None = None

    def run(self) -> None:
        """Until it fails. Raises what makes it fail."""
        publisher = Publisher.open(self._config, source=EngineName.FLINK)
        if self._state.transaction is not None:
            self._commit(self._state.transaction, self._state.positions)
        self._broker.abort_all(self._prefix)
        self._job.state = "RUNNING"
        due = self._scheduler.seconds + self._config.spec.primary.flink.checkpoint_interval_seconds
        while True:
            self._scheduler.pause(*((1.0, 3.0) if self._pace.slow else (0.2, 1.2)))
            if self._broker.up:
                self._read()
                self._look()
                self._fire(publisher)
                if self._scheduler.chance(0.5):
                    self._send_outbound()
            if self._scheduler.seconds >= due and self._broker.up:
                due = self._scheduler.seconds + self._config.spec.primary.flink.checkpoint_interval_seconds
                self._begin_checkpoint()

    # Reading

    def _read(self) -> None:
        for partition in self._scheduler.random.sample(
            sorted(self._state.positions), len(self._state.positions)
        ):
            log = self._broker.topics[TOPIC][partition]
            most = self._scheduler.random.randint(0, 1 if self._pace.slow else 30)
            offsets, then = self._broker.readable(TOPIC, partition, self._state.positions[partition], most)
            for offset in offsets:
                self._take(partition, offset, log.records[offset].t)
            self._state.positions[partition] = then

    def _take(self, partition: int, offset: int, t: int) -> None:
        self._newest[partition] = max(t, self._newest.get(partition, t))
        self._idle.pop(partition, None)
        record = self._broker.topics[TOPIC][partition].records[offset]
        reading = self._source.readings.get(record.value or b"")
        times = self._source.times
        reason = None
        if reading is None:
            reason = "Undecodable"
        elif t - reading.e > times.lateness:
            reason = "TooLate"
        elif reading.e - t > times.future:
            reason = "TooFarInFuture"
        if reason is not None or reading is None:
            letter = DeadLetter(partition, offset, t, str(reason), record.key, record.value)
            self._outbound.append(letter)
        elif t - reading.e > times.delay:
            self._outbound.append(RepairRequest.late(reading.key, reading.e, partition, offset))
        elif self._last_end(reading.e) - 1 <= self._state.fired:
            self._job.dropped += 1
        else:
            self._state.rows.append(Row(partition, offset, reading.key, reading.x, reading.e))

    def _first_end(self, e: int) -> int:
        window = self._config.spec.window
        return (e - window.size_ms) // window.slide_ms * window.slide_ms + window.slide_ms + window.size_ms

    def _last_end(self, e: int) -> int:
        window = self._config.spec.window
        return e // window.slide_ms * window.slide_ms + window.size_ms

    def _look(self) -> None:
        """Partitions that were read to their ends need not be waited for: as `io.streampipeline.clock`."""
        if self._scheduler.seconds < self._next_look:
            return
        self._next_look = self._scheduler.seconds + 1
        newest_before = self._look_before
        logs = self._broker.topics[TOPIC]
        known = [log.records[at].t for log in logs if (at := log.newest()) is not None]
        self._look_before = max(known, default=None)
        if newest_before is None:
            return
        idle_ms = self._config.spec.source.event_time.idle_partition_seconds * 1000
        for partition, position in self._state.positions.items():
            behind = self._newest.get(partition, -1) <= newest_before - idle_ms
            if position >= logs[partition].end and behind:
                self._idle[partition] = newest_before - self._lag

    # Windows

    def _watermark(self) -> int | None:
        marks = []
        for partition in self._state.positions:
            own = self._newest.get(partition)
            if own is None and partition not in self._idle:
                return None
            marks.append(max(-1 if own is None else own - self._lag, self._idle.get(partition, -1)))
        return min(marks)

    def _fire(self, publisher: Publisher) -> None:
        watermark, before = self._watermark(), self._state.fired
        if watermark is None or watermark <= before:
            return
        spec = self._config.spec
        ready = [row for row in self._state.rows if self._first_end(row.e) - 1 <= watermark]
        after = max(before + 1, self._config.assignment.boundary)
        counts: Counter[int] = Counter()
        if ready:
            found = windows.aggregate(self._frame(ready), spec, include_late=False)
            counts = self._publish(publisher, found, after, watermark + 1)
        # A heartbeat tells of the newest end also when no record lies in that window.
        passed = (watermark + 1) // spec.window.slide_ms * spec.window.slide_ms
        if passed > after:
            counts[passed] += 0
        self._progress(counts)
        self._state.fired = watermark
        self._state.rows = [row for row in self._state.rows if self._last_end(row.e) - 1 > watermark]

    def _frame(self, rows: list[Row]) -> pl.DataFrame:
        scaled = {
            column.column: scale(np.array([row.x for row in rows]), column.decimals)[0]
            for column in scaled_columns(self._config.spec)
        }
        return pl.DataFrame(
            {
                "partition": pl.Series([row.partition for row in rows], dtype=pl.Int32),
                "offset": [row.offset for row in rows],
                "reason": pl.Series([None] * len(rows), dtype=pl.String),
                "key": [row.key for row in rows],
                "e": [row.e for row in rows],
                **scaled,
                "late": [False] * len(rows),
            }
        )

    def _publish(self, publisher: Publisher, found: pl.DataFrame, after: int, until: int) -> Counter[int]:
        """Windows that end in (after, until], by two subtasks, each with its keys. How many by their ends."""
        config = self._config
        ends = found["window_end"].to_list()
        places = [place for place, end in enumerate(ends) if after < end <= until]
        first = [place for place in places if found["key"][place] in KEYS[:2]]
        for mine in (first, sorted({*places} - {*first})):
            if mine:
                publisher.publish(windows.to_arrow(found[mine], config.spec))
        return Counter(ends[place] for place in places)

    def _progress(self, counts: Counter[int]) -> None:
        config = self._config
        for end, count in sorted(counts.items()):
            if self._transaction is None:
                self._transaction = self._broker.begin(self._prefix, TRANSACTION_SECONDS)
            row = {
                "generation": config.assignment.generation,
                "epoch": config.assignment.epoch,
                "engine": EngineName.FLINK.value,
                "frontier": end,
                "windows": count,
                "at": self._scheduler.now_ms,
            }
            key = f"{row['generation']}/{row['epoch']}/{row['engine']}".encode()
            self._broker.append(
                config.progress_topic,
                PROGRESS_PARTITION[EngineName.FLINK],
                key=key,
                value=json.dumps(row).encode(),
                transaction=self._transaction,
            )

    # Checkpoints

    def _send_outbound(self) -> None:
        """Dead letters and requests, at least once."""
        self._broker.request()
        config = self._config
        for one in self._outbound:
            if isinstance(one, DeadLetter):
                self._broker.append(
                    config.spec.dead_letter.topic,
                    0,
                    key=one.key,
                    value=one.value,
                    headers=headers_of(one, TOPIC),
                    timestamp=one.t,
                )
            else:
                self._broker.append(config.repairs_topic, PARTITION, value=one.encode())
        self._outbound.clear()

    def _begin_checkpoint(self) -> None:
        """Barriers go through behind all that was read: requests are flushed, windows are in the sink."""
        try:
            self._send_outbound()
        except KafkaException:
            return  # this checkpoint fails, the next one may not
        taken = Snapshot(dict(self._state.positions), list(self._state.rows), self._state.fired)
        taken.transaction, self._transaction = self._transaction, None
        seconds = self._scheduler.random.uniform(*((4, 15) if self._pace.slow_checkpoints else (0.05, 1)))
        assert self._job.tasks is not None
        self._scheduler.start(self._job.tasks, lambda: self._complete(taken), "checkpoint", seconds)

    def _complete(self, taken: Snapshot) -> None:
        self._job.checkpoint = taken
        if self._scheduler.chance(0.5):
            self._scheduler.pause(0.0, 0.5)
        self._commit(taken.transaction, taken.positions)

    def _commit(self, transaction: Transaction | None, positions: dict[int, int]) -> None:
        steps = self._scheduler.random.sample(("progress", "offsets"), 2)
        while steps:
            try:
                self._broker.request()
            except KafkaException:
                self._scheduler.sleep(0.5)
                continue
            step = steps.pop()
            if step == "progress" and transaction is not None:
                self._broker.end(transaction, Outcome.COMMITTED)
            elif step == "offsets":
                group = self._config.group(EngineName.FLINK)
                for partition, offset in positions.items():
                    self._broker.committed[group, TOPIC, partition] = offset
