"""A topic in memory, and the Dask engine and the repair that work on it: what they do is noted in order.

Real are engine, tasks and repair, the decoder, the windows and all writers; in memory are the broker's logs
and look-ups, the scheduler (which runs a task when it gets it), and the sink.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import pytest
from confluent_kafka import Message, TopicPartition
from tests.support.publish_config import job_config

from streampipeline import outbox, repair, repair_span
from streampipeline.engines.dask import engine, tasks
from streampipeline.engines.dask.engine import Engine
from streampipeline.jobconfig import Assignment, EngineName, JobConfig, TimestampType
from streampipeline.offsets import Found
from streampipeline.publish import Publisher
from streampipeline.reading import RECORDS_SCHEMA, Range, Records
from streampipeline.repair import Repair
from streampipeline.repair_span import RepairReport, SpanRepair
from streampipeline.requests import RepairRequest


@dataclass(frozen=True)
class Stored:
    """One record in the log, with the methods of a client's message."""

    at: int
    t: int
    payload: bytes

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes:
        return self.payload

    def headers(self) -> list[tuple[str, bytes]]:
        return []


def reading(key: str, e: int) -> bytes:
    """A good record."""
    return json.dumps({"id": key, "datetime": e, "x": 1.5}).encode()


@dataclass
class Topic:
    """The source topic's partitions."""

    logs: dict[int, list[Stored]] = field(default_factory=lambda: {0: [], 1: []})

    def append(self, partition: int, t: int, payload: bytes | None = None, *, key: str = "a") -> None:
        """A record with Kafka timestamp `t`, unless told otherwise a good one of that event time."""
        log = self.logs[partition]
        log.append(Stored(len(log), t, reading(key, t) if payload is None else payload))

    def close_until(self, t: int) -> None:
        """A record of that time in each partition: windows that end well before it get no more."""
        for partition in self.logs:
            self.append(partition, t, key="closer")

    def partitions(self) -> list[int]:
        return sorted(self.logs)

    def log_starts(self, _: object) -> dict[int, int]:
        return dict.fromkeys(self.logs, 0)

    def ends(self, _: object = None) -> dict[int, int]:
        return {partition: len(log) for partition, log in self.logs.items()}

    def first_at(self, t: int, _: object) -> dict[int, Found | None]:
        def first(log: list[Stored]) -> Found | None:
            return next((Found(record.at, record.t) for record in log if record.t >= t), None)

        return {partition: first(log) for partition, log in self.logs.items()}

    def read(self, ranges: Sequence[Range]) -> Records:
        found = {each.partition: self.logs[each.partition][each.start : each.end] for each in sorted(ranges)}
        rows = [(r.payload, partition, r.at, r.t) for partition, log in found.items() for r in log]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
        arrays = [pa.array(column, kind.type) for column, kind in zip(columns, RECORDS_SCHEMA, strict=True)]
        return Records(
            pa.Table.from_arrays(arrays, schema=RECORDS_SCHEMA), cast("dict[int, list[Message]]", found)
        )

    stable_ends = high_watermarks = ends


class Reader:
    """A `RangeReader` of a topic in memory."""

    def __init__(self, topic: Topic) -> None:
        self.read = topic.read

    def close(self) -> None:
        """Nothing is open."""


class Done:
    """A `distributed.Future` that is over."""

    status = "finished"

    def __init__(self, result: object) -> None:
        self._result = result

    def done(self) -> bool:
        return True

    def result(self, timeout: float) -> object:
        return self._result

    def release(self) -> None:
        """Nothing is held."""


class Scheduler:
    """A `distributed.Client` with one worker, which works at once."""

    def nthreads(self) -> dict[str, int]:
        return {"worker": 1}

    def submit(self, task: Callable[..., object], *arguments: object, **_: object) -> Done:
        return Done(task(*arguments))


@dataclass
class Effects:
    """What leaves the engine, in order: (topic, "points" or "offsets"; what)."""

    done: list[tuple[str, Any]] = field(default_factory=list)
    committed: Callable[[dict[int, int]], None] = lambda _: None
    """Told of each commit."""

    def of(self, kind: str) -> list[Any]:
        """All of one kind."""
        return [what for name, what in self.done if name == kind]

    def kinds(self) -> list[str]:
        """In order, each row of one kind once."""
        names = [name for name, _ in self.done]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    def windows(self) -> dict[tuple[str, int], int]:
        """n of each window published, by key and start. None is published twice."""
        rows = [row for table in self.of("points") for row in table.to_pylist()]
        found = {(row["key"], row["window_start"]): row["n"] for row in rows}
        assert len(found) == len(rows)
        return found

    def publish(self, table: pa.Table) -> None:
        """As `Publisher.publish`."""
        self.done.append(("points", table))

    def commit(self, offsets: Iterable[TopicPartition], asynchronous: bool) -> None:
        """As a consumer's."""
        at = {each.partition: each.offset for each in offsets}
        self.done.append(("offsets", at))
        self.committed(at)


class Producer:
    """Messages are on the broker when they are flushed."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._waiting: list[tuple[str, Mapping[str, Any]]] = []

    def produce(self, topic: str, **message: Any) -> None:
        self._waiting.append((topic, message))

    def flush(self, _: float) -> int:
        self._effects.done += self._waiting
        self._waiting.clear()
        return 0


def dask_job(
    *, boundary: int = 0, timestamps: TimestampType = TimestampType.LOG_APPEND_TIME, batch_records: int = 1000
) -> JobConfig:
    """Tumbling windows of 5 s, a delay of 2 s, from the beginning of both partitions."""
    base = job_config({"parquet": {"path": "unused", "tokenFile": "unused"}})
    dask = base.spec.fallback.dask.model_copy(update={"batch_records": batch_records})
    fallback = base.spec.fallback.model_copy(update={"dask": dask})
    times = base.spec.source.event_time.model_copy(
        update={"allowed_delay_seconds": 2, "timestamp_disorder_seconds": 0}
    )
    source = base.spec.source.model_copy(update={"event_time": times})
    assignment = Assignment(
        engine=EngineName.DASK, epoch=7, generation=1, boundary=boundary, offsets={0: 0, 1: 0}
    )
    return base.model_copy(
        update={
            "spec": base.spec.model_copy(update={"fallback": fallback, "source": source}),
            "assignment": assignment,
            "timestamp_type": timestamps,
        }
    )


def run(topic: Topic, job: JobConfig, monkeypatch: pytest.MonkeyPatch) -> Effects:
    """Let the engine read the topic to its end, then stop it. What it did."""
    effects, stop = Effects(), threading.Event()
    effects.committed = lambda at: stop.set() if at == topic.ends() else None
    monkeypatch.setattr(engine, "OffsetLookup", lambda _: topic)
    monkeypatch.setattr(engine, "consumer", lambda *_: effects)
    monkeypatch.setattr(tasks, "RangeReader", lambda *_, **__: Reader(topic))
    monkeypatch.setattr(tasks, "_kept", None)
    monkeypatch.setattr(outbox, "producer", lambda *_: Producer(effects))
    Engine(job, Scheduler(), cast("Publisher", effects), stop).run()
    return effects


@dataclass
class Requests:
    """A `RequestReader` of requests in memory, at offsets from 0."""

    asked: Sequence[RepairRequest]
    committed: list[int] = field(default_factory=list)

    def batches(self, _: object) -> Iterable[list[tuple[int, RepairRequest | None]]]:
        yield list(enumerate(self.asked))

    def commit(self, offset: int) -> None:
        self.committed.append(offset)


def repaired(
    topic: Topic, job: JobConfig, requests: Requests, until: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Effects, RepairReport]:
    """One pass of the repair."""
    effects = Effects()
    monkeypatch.setattr(repair_span, "OffsetLookup", lambda _: topic)
    monkeypatch.setattr(Publisher, "open", lambda *_, **__: effects)
    monkeypatch.setattr(repair, "RequestReader", lambda _: requests)
    monkeypatch.setattr(repair, "RangeReader", lambda *_, **__: Reader(topic))
    monkeypatch.setattr(SpanRepair, "_retained_since", lambda _: None)
    return effects, Repair(job).run_once(until)
