"""The same records through Flink SQL, Dask, repair and audit: equal values, to the bit."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.dask_ground import FIELDS, Ground, await_, value_of
from tests.support.flink_ground import flink_cluster, submit

from streampipeline.api.spec import Aggregate, Function, Sliding, Window
from streampipeline.deadletters import DeadLetter
from streampipeline.dlq.letters import Selection, letters
from streampipeline.jobconfig import EngineName, PipelineConfig, TimestampType
from streampipeline.progress import ProgressReader
from streampipeline.start import origin
from streampipeline.topics import ensure_topics
from streampipeline_audit import AuditRequest, PendingLate, audit

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SECONDS = 90
COMPARED = (
    "n",
    "hash",
    "datetime",
    *FIELDS,
    "sum",
    "least",
    "most",
    "count",
    "stress_level",
    "scored",
    "modelVersion",
)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.start(Path(tmp_path_factory.mktemp("agree"))) as ground:
        yield ground


def produce(ground: Ground, topic: str, begin: int) -> None:
    """Records with every verdict and on every side of each bound; T is ours, and never runs back."""
    rng = random.Random(7)
    producer = ground.producer()
    for step in range(SECONDS * 40):
        t = begin + step * 25
        partition = step % 4
        key = f"nurse {partition}, {rng.randrange(3)}"
        # Exactly on time, exactly late, exactly too late, exactly too far ahead, and around.
        age = rng.choice([0, 1, 40, 999, 1000, 1001, 2500, -1, -500, 59_999, 60_000, 60_001, -5000, -5001])
        values = [rng.choice([rng.gauss(0, 50), 0.0, -0.0, 1e-7, -2.5e-6, 8.7e6]) for _ in FIELDS]
        value: bytes | None = value_of(key, t - age, values)
        match step % 60:
            case 11:
                value = value_of(key, t, values)[: rng.randrange(50)]
            case 12:
                value = value_of(key, t, values) + b"\0"
            case 13:
                value = value_of("", t, values)
            case 14:
                value = value_of(key, t, [*values[:5], float("nan")])
            case 15:
                value = value_of(key, t, [1e7, *values[1:]])
            case 16 | 17 | 18 | 19:
                value = None
        # One name twice, one without a value: no map holds them.
        headers: list[tuple[str, str | bytes | None]] = [("b", b"1"), ("a", None), ("b", str(step).encode())]
        producer.produce(
            topic,
            key=key.encode() if step % 7 else None,
            value=value,
            partition=partition,
            timestamp=t,
            headers=headers[: step % 4],
        )
    for partition in range(4):
        # Closes what was still open. Its own window stays open.
        last = value_of("closer", begin + SECONDS * 1000 + 60_000, [1.0] * 6)
        producer.produce(topic, value=last, partition=partition, timestamp=begin + SECONDS * 1000 + 60_000)
    assert producer.flush(30) == 0


def sliding(pipeline: PipelineConfig, engine: str) -> PipelineConfig:
    """The same topic as another pipeline, with sliding windows and every kind of aggregate."""
    spec = pipeline.spec
    more = [
        Aggregate(name="sum", field="X", function=Function.SUM, decimals=3),
        Aggregate(name="least", field="Y", function=Function.MIN),
        Aggregate(name="most", field="Z", function=Function.MAX, decimals=2),
        Aggregate(name="count", function=Function.COUNT),
    ]
    event_time = spec.source.event_time.model_copy(
        update={"timestamp_disorder_seconds": 0, "max_lateness_seconds": 60, "max_future_seconds": 5}
    )
    changed = spec.model_copy(
        update={
            "source": spec.source.model_copy(update={"event_time": event_time}),
            "window": Window(sliding=Sliding(size_seconds=6, slide_seconds=2)),
            "aggregates": [*spec.aggregates, *more],
            "dead_letter": spec.dead_letter.model_copy(update={"topic": f"dead-{engine}"}),
        }
    )
    named = pipeline.model_copy(update={"uid": f"agree-{engine}", "spec": changed, "pipeline": "agree"})
    ensure_topics(named)
    return named


def reached(pipeline: PipelineConfig, boundary: int) -> bool:
    reader = ProgressReader(pipeline)
    try:
        assert reader.settle(10)
        return (reader.frontier(1) or 0) >= boundary
    finally:
        reader.close()


def compared(
    points: dict[tuple[str, int], dict[str, Any]], until: int
) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {
        at: tuple(row[name] for name in COMPARED) for at, row in points.items() if row["window_end"] <= until
    }


def dead_letters(pipeline: PipelineConfig, until: int) -> dict[tuple[int, int], DeadLetter]:
    """Of records before `until`: those behind it may not be flushed yet."""
    found = letters(pipeline, Selection())
    return {(letter.partition, letter.offset): letter for letter in found if letter.t < until}


def test_flink_dask_repair_and_audit_agree_to_the_bit(ground: Ground) -> None:
    topic = "agree"
    begin = (time.time_ns() // 1_000_000_000 - 600) * 1000
    plain = ground.pipeline(topic, TimestampType.CREATE_TIME)
    produce(ground, topic, begin)
    # The watermark of the closing records ends windows up to here.
    until = (begin + SECONDS * 1000) // 2000 * 2000
    flink_pipeline, dask_pipeline = sliding(plain, "flink"), sliding(plain, "dask")
    where = origin(flink_pipeline)

    dask_job = ground.first_job(dask_pipeline, where, epoch=2)
    ground.driver(dask_job)
    job = ground.first_job(flink_pipeline, where, epoch=3)
    flink_job = job.model_copy(
        update={"assignment": job.assignment.model_copy(update={"engine": EngineName.FLINK})}
    )
    with flink_cluster(ground) as flink:
        submit(ground, flink, flink_job)
        await_("Dask's frontier", lambda: reached(dask_pipeline, until), 60)
        await_("Flink's frontier", lambda: reached(flink_pipeline, until), 120)
    ground.stop()

    from_flink = compared(ground.points(flink_pipeline), until)
    from_dask = compared(ground.points(dask_pipeline), until)
    assert len(from_flink) > 12 * SECONDS / 2 * 0.8
    assert from_flink == from_dask

    refused = dead_letters(flink_pipeline, until)
    assert refused == dead_letters(dask_pipeline, until)
    assert {letter.reason for letter in refused.values()} == {
        "Undecodable", "EmptyKey", "NotANumber", "OutOfRange", "TooLate", "TooFarInFuture",
    }  # fmt: skip
    assert {len(letter.headers) for letter in refused.values()} == {0, 1, 2, 3}
    assert {letter.key is None for letter in refused.values()} == {True, False}

    for pipeline, job in ((flink_pipeline, flink_job), (dask_pipeline, dask_job)):
        repair = job.model_copy(
            update={"assignment": job.assignment.model_copy(update={"engine": EngineName.REPAIR})}
        )
        repair = ground.job(pipeline, where, repair.assignment)
        # Every window before the closing records is closed: a request is done when all its windows are.
        report = ground.repair(repair, "--until", str(until + 50_000), "--once")
        assert report["requests"] > 0
        assert report["not_ready"] == 0
        verdict = audit(AuditRequest(config=repair, frontier=until, pending_late=PendingLate.NEVER))
        assert (verdict.lost, verdict.doubled, verdict.differing) == (0, 0, 0), verdict.examples
        assert verdict.dead_lettered > 0
        assert verdict.by_source[EngineName.REPAIR.value] > 0
    repaired_flink, repaired_dask = (
        compared(ground.points(pipeline), until) for pipeline in (flink_pipeline, dask_pipeline)
    )
    assert repaired_flink == repaired_dask
    assert repaired_flink != from_flink
