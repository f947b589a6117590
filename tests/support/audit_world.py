"""A topic in memory, the points a faultless pipeline would write for it, and an audit of both.

The points are computed record by record in plain Python, so that the audit's vectorised arithmetic is checked
against something simple.
"""

from __future__ import annotations

import json
import math
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline_audit.core import Auditor
from streampipeline_audit.dead_letters import DeadLetters
from streampipeline_audit.plan import Generation, PendingLate, Plan
from streampipeline_audit.points import FieldValue, Point
from streampipeline_audit.prediction import Predictor
from streampipeline_audit.repair_requests import OutstandingRequests
from streampipeline_audit.report import AuditReport
from streampipeline_audit.verdict import RecordBatch

START = 1_700_000_000_000
"""A multiple of 5 s, ms."""

SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Reading",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "x", "type": "double"},
            {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
)


def spec(**changed: Any) -> StreamPipelineSpec:
    document: dict[str, Any] = {
        "source": {
            "kafka": {"bootstrapServers": ["127.0.0.1:9"], "topic": "t"},
            "format": {"type": "Avro", "schema": SCHEMA},
            "keyField": "id",
            "eventTime": {"field": "datetime", "maxLatenessSeconds": 60, "maxFutureSeconds": 10},
        },
        "window": {"tumbling": {"sizeSeconds": 5}},
        "aggregates": [
            {"name": "mean", "field": "x", "function": "Mean"},
            {"name": "low", "field": "x", "function": "Min", "decimals": 2},
            {"name": "high", "field": "x", "function": "Max"},
            {"name": "sum", "field": "x", "function": "Sum", "decimals": 0},
            {"name": "count", "function": "Count"},
        ],
        "model": {
            "external": {"url": "http://127.0.0.1:9"},
            "inputs": ["mean", "count"],
            "output": "level",
            "onUnavailable": {"policy": "UseDefault", "default": 1},
        },
        "sinks": [{"parquet": {"path": "unused"}}],
        "deadLetter": {"topic": "d"},
    }
    return StreamPipelineSpec.model_validate({**document, **changed})


SLIDING = {"sliding": {"sizeSeconds": 10, "slideSeconds": 5}}


def encode(key: str, x: float, e: int) -> bytes:
    name = key.encode()
    return varint(len(name)) + name + struct.pack("<d", x) + varint(e)


def varint(value: int) -> bytes:
    raw = (value << 1) ^ (value >> 63)
    out = bytearray()
    while raw >= 0x80:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*out, raw])


def mix(partition: int, offset: int) -> int:
    mask = 2**64 - 1
    z = (partition * 0x9E3779B97F4A7C15 + offset) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 21


class Halves:
    """A model: the prediction is 2 where the mean is positive, else 0."""

    def knows(self, model_version: str) -> bool:
        return model_version == "m-1"

    def predict(self, rows: Any) -> list[float | int]:
        return [2 if row[0] > 0 else 0 for row in rows]


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    key: str = ""
    x: float = 0.0
    e: int = 0
    good: bool = True


@dataclass
class World:
    """Everything that an audit compares. Frontier: `START` + `frontier_s`."""

    spec: StreamPipelineSpec = field(default_factory=spec)
    partitions: int = 2
    frontier_s: float = 1000
    records: list[Record] = field(default_factory=list)
    tail: list[Record] = field(default_factory=list)
    """What was appended after the audit's end offsets were taken."""
    dead: list[tuple[int, int]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    batch: int = 7
    boundary: int = START
    disorder: int = 0
    pending_late: PendingLate = PendingLate.OUTSTANDING
    predictor: Predictor | None = field(default_factory=Halves)
    going_on: frozenset[int] = frozenset()
    later: tuple[Generation, ...] = ()
    """Generations that follow the first."""
    largest: int = 0
    """The most windows that the last audit held."""

    def add(self, partition: int, t: float, key: str, e: float, x: float, *, tail: bool = False) -> Record:
        """Append a good record; t and e in s after START."""
        time = START + round(e * 1000)
        return self._append(partition, t, encode(key, x, time), tail, key=key, x=x, e=time)

    def add_raw(self, partition: int, t: float, value: bytes | None) -> Record:
        """Append a record to be refused, and its dead letter."""
        record = self._append(partition, t, value, False, good=False)
        self.dead.append((partition, record.offset))
        return record

    def _append(self, partition: int, t: float, value: bytes | None, tail: bool, **more: Any) -> Record:
        offset = sum(1 for r in [*self.records, *self.tail] if r.partition == partition)
        record = Record(partition, offset, START + round(t * 1000), value, **more)
        (self.tail if tail else self.records).append(record)
        return record

    def publish(self, records: Iterable[Record] | None = None, *, late: bool = True) -> World:
        """Write the points of a faultless pipeline, with late records or without."""
        delay = self.spec.source.event_time.allowed_delay_seconds * 1000
        windows: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        for record in self.records if records is None else records:
            if not record.good or (not late and record.timestamp - record.e > delay):
                continue
            for start in self.window_starts(record.e):
                windows[record.key, start].append(record)
        frontier = START + round(self.frontier_s * 1000)
        size = self.spec.window.size_ms
        self.points = [
            self.point(key, start, held)
            for (key, start), held in windows.items()
            if self.boundary < start + size <= frontier
        ]
        return self

    def window_starts(self, time: int) -> Iterator[int]:
        start = time // self.spec.window.slide_ms * self.spec.window.slide_ms
        while start > time - self.spec.window.size_ms:
            yield start
            start -= self.spec.window.slide_ms

    def point(self, key: str, start: int, held: list[Record], source: str = "flink") -> Point:
        scaled6 = [math.floor(r.x * 1e6 + 0.5) for r in held]
        scaled2 = [math.floor(r.x * 1e2 + 0.5) for r in held]
        scaled0 = [math.floor(r.x + 0.5) for r in held]
        mean = float(sum(scaled6)) / float(len(held) * 10**6)
        fields: dict[str, FieldValue] = {
            "mean": mean,
            "low": min(scaled2) / 100.0,
            "high": max(scaled6) / 1e6,
            "sum": sum(scaled0) / 1.0,
            "count": len(held),
            "level": 2 if mean > 0 else 0,
            "source": source,
            "n": len(held),
            "scored": True,
            "modelVersion": "m-1",
            "generation": 1,
            "datetime": max(r.e for r in held),
            "hash": sum(mix(r.partition, r.offset) for r in held),
        }
        return Point(key, start, fields)

    def change(self, index: int, **fields: FieldValue) -> None:
        point = self.points[index]
        self.points[index] = replace(point, fields={**point.fields, **fields})

    def batches(self, records: list[Record], *, finish: bool) -> Iterator[RecordBatch]:
        left = {p: sum(1 for r in records if r.partition == p) for p in range(self.partitions)}
        empty = frozenset(p for p, n in left.items() if n == 0)
        if finish and empty:
            yield batch_of([], empty)
        for at in range(0, len(records), self.batch):
            chunk = records[at : at + self.batch]
            for record in chunk:
                left[record.partition] -= 1
            done = frozenset(r.partition for r in chunk if left[r.partition] == 0)
            yield batch_of(chunk, done if finish else frozenset())

    def audit(self) -> AuditReport:
        dead: defaultdict[int, list[int]] = defaultdict(list)
        for partition, offset in self.dead:
            dead[partition].append(offset)
        plan = Plan(
            generations=(Generation(1, self.boundary, self.spec), *self.later),
            avro_schema=SCHEMA,
            boundary=self.boundary,
            frontier=START + round(self.frontier_s * 1000),
            partitions=frozenset(range(self.partitions)),
            disorder=self.disorder,
            going_on=self.going_on,
            pending_late=self.pending_late,
            requests=OutstandingRequests(json.dumps(request).encode() for request in self.requests),
        )
        letters = DeadLetters({p: np.array(offsets, np.int64) for p, offsets in dead.items()})
        auditor = Auditor(plan, MemoryPoints(self.points), letters, self.predictor)
        for batch in self.batches(self.records, finish=True):
            auditor.feed(batch)
        report = auditor.finish(lambda: self.batches(self.tail, finish=False))
        self.largest = auditor.largest
        return report


@dataclass
class MemoryPoints:
    listed: list[Point]

    def points(self, begin: int, end: int) -> Iterator[Point]:
        return (point for point in self.listed if begin <= point.start < end)


def batch_of(records: list[Record], finished: frozenset[int] = frozenset()) -> RecordBatch:
    return RecordBatch(
        partitions=np.array([r.partition for r in records], np.int64),
        offsets=np.array([r.offset for r in records], np.int64),
        timestamps=np.array([r.timestamp for r in records], np.int64),
        values=[r.value for r in records],
        finished=finished,
    )
