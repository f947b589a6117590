"""The Dask engine and the repair on real processes: Kafka, scheduler, workers, driver; Parquet files."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from distributed import Client
from tests.support.dask_ground import FIELDS, Ground, await_, differences, recompute, value_of

from streampipeline import backfill
from streampipeline.engines.dask.preload import METRICS
from streampipeline.jobconfig import Assignment, EngineName, JobConfig, PipelineConfig, TimestampType
from streampipeline.outbox import Outbox
from streampipeline.progress import ProgressReader, ProgressWriter
from streampipeline.start import RetentionPassed, origin, start_offsets

pytestmark = pytest.mark.integration
NURSES = 8


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.start(Path(tmp_path_factory.mktemp("dask"))) as ground:
        yield ground


def readings(rng: random.Random) -> list[float]:
    return [rng.gauss(0, 50) for _ in FIELDS]


def now() -> int:
    return time.time_ns() // 1_000_000


def produce_live(ground: Ground, topic: str, rng: random.Random, partitions: list[int], count: int) -> None:
    """Records of now, among them late ones and ones that cannot be counted."""
    producer = ground.producer()
    for index in range(count):
        key = f"nurse-{rng.randrange(NURSES)}"
        e = now() - rng.choice([0, 50, 300, 600])
        value = value_of(key, e, readings(rng))
        match index % 50:
            case 7:
                value = value[:-3]
            case 8:
                value = value_of("", e, readings(rng))
            case 9:
                value = value_of(key, e, [float("nan")] * 6)
            case 10 | 11:
                value = value_of(key, e - 3_000, readings(rng))
            case 12:
                value = value_of(key, e - 4_000_000, readings(rng))
        producer.produce(
            topic, key=key.encode(), value=value, partition=rng.choice(partitions), headers=[("h", b"1")]
        )
    producer.flush()


def engine_points(ground: Ground, pipeline: PipelineConfig) -> dict[tuple[str, int], dict[str, Any]]:
    return {at: row for at, row in ground.points(pipeline).items() if row["source"] == EngineName.DASK}


def frontier(pipeline: PipelineConfig) -> int | None:
    reader = ProgressReader(pipeline)
    try:
        assert reader.settle(10)
        return reader.frontier(1)
    finally:
        reader.close()


def reached(pipeline: PipelineConfig, boundary: int) -> bool:
    at = frontier(pipeline)
    return at is not None and at >= boundary


def aggregated(ground: Ground) -> dict[str, int]:
    """Records aggregated so far by each worker, from the metrics that the scheduler has of it."""
    client: Any
    with Client(ground.scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        return {worker["name"]: worker["metrics"][METRICS]["records_aggregated"] for worker in workers}


def test_live_records_idle_partition_hand_over_and_repair(ground: Ground) -> None:
    pipeline = ground.pipeline("live", TimestampType.LOG_APPEND_TIME, idlePartitionSeconds=1)
    rng = random.Random(1)
    produce_live(ground, "live", rng, [0, 1, 2, 3], 200)
    began = origin(pipeline)
    before = sum(aggregated(ground).values())
    first = ground.first_job(pipeline, began)
    ground.driver(first)
    produced_until = now() + 4_000
    while now() < produced_until:  # partition 3 is silent
        produce_live(ground, "live", rng, [0, 1, 2], 60)
        time.sleep(0.1)
    last_burst = now()
    await_("windows close without the idle partition", lambda: reached(pipeline, last_burst - 2_500))
    produce_live(ground, "live", rng, [3], 60)  # it wakes, and the others fall idle
    time.sleep(0.5)
    assert ground.stop() == 0
    handed_over = frontier(pipeline)
    assert handed_over is not None

    second = ground.job(
        pipeline,
        began,
        Assignment(
            engine=EngineName.DASK,
            epoch=2,
            generation=1,
            boundary=handed_over,
            offsets=start_offsets(
                pipeline, began, frontier=handed_over, set_by=EngineName.DASK, started=began.offsets
            ),
        ),
    )
    ground.driver(second)
    for _ in range(8):
        produce_live(ground, "live", rng, [0, 1, 2, 3], 60)
        time.sleep(0.25)
    last = now()
    time.sleep(2.2)
    produce_live(ground, "live", rng, [0, 1, 2, 3], 40)  # closes everything up to the burst before
    await_("all is closed", lambda: reached(pipeline, last // 1000 * 1000))
    assert ground.stop() == 0

    records = ground.read("live", 4)
    truth = recompute(records, pipeline)
    ended = frontier(pipeline)
    assert ended is not None
    closed = {at: window for at, window in truth.on_time.items() if at[1] + 1000 <= ended}
    points = engine_points(ground, pipeline)
    assert differences(points, closed) == []
    assert {row["epoch"] for row in points.values()} == {1, 2}
    assert all(row["scored"] and row["modelVersion"] == "adder-1" for row in points.values())

    by_worker = aggregated(ground)
    on_time = sum(window.n for window in truth.on_time.values())
    assert sum(by_worker.values()) - before >= on_time
    assert all(by_worker.values()), f"every worker aggregates: {by_worker}"
    check_dead_letters(ground, pipeline, truth.refused, records)

    assert truth.late > 0
    report = ground.repair(repair_job(ground, pipeline, second), "--until", str(ended), "--once")
    assert report["requests"] > 0
    assert report["cut"] == 0
    final = {at: window for at, window in truth.final.items() if began.boundary < at[1] + 1000 <= ended}
    assert differences(ground.points(pipeline), final) == []
    again = ground.repair(repair_job(ground, pipeline, second), "--until", str(ended), "--once")
    # What stands behind a request that was not ready yet is done once more; nothing else is.
    assert again["requests"] < report["requests"], "repaired requests are committed"
    assert again["windows"] == 0 or report["not_ready"] > 0
    assert differences(ground.points(pipeline), final) == []


def check_dead_letters(
    ground: Ground,
    pipeline: PipelineConfig,
    refused: dict[tuple[int, int], str],
    records: list[tuple[int, int, int, bytes | None, Any]],
) -> None:
    originals = {(partition, offset): (t, value) for partition, offset, t, value, _ in records}
    seen = {}
    for _, _, t, value, headers in ground.read(pipeline.spec.dead_letter.topic, 1):
        assert headers[0] == ("h", b"1"), "the original headers come first"
        names = {name: text.decode() for name, text in headers[1:]}
        at = (int(names["streampipeline.partition"]), int(names["streampipeline.offset"]))
        assert (t, value) == originals[at]
        assert names["streampipeline.topic"] == pipeline.spec.source.kafka.topic
        seen[at] = names["streampipeline.reason"]
    assert seen == refused


def repair_job(ground: Ground, pipeline: PipelineConfig, last: JobConfig) -> JobConfig:
    assignment = last.assignment.model_copy(update={"engine": EngineName.REPAIR})
    return ground.job(pipeline, last.origin, assignment)


def produce_backlog(ground: Ground, topic: str, rng: random.Random, count: int) -> int:
    """`count` records, 600 a second of their own time, by nurse and partition. Returns the last T."""
    producer = ground.producer()
    start = now() - 3_600_000
    t = start
    for index in range(count):
        t = start + index * 1000 // 600
        nurse = rng.randrange(NURSES)
        e = t - rng.choice([0, 10, 400, 900]) - (5_000 if index % 997 == 0 else 0)
        while True:
            try:
                producer.produce(
                    topic,
                    value=value_of(f"nurse-{nurse}", e, readings(rng)),
                    partition=nurse % 4,
                    timestamp=t,
                )
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return t


def test_a_killed_worker_costs_nothing(ground: Ground) -> None:
    pipeline = ground.pipeline(
        "backlog", TimestampType.CREATE_TIME, batch_records=2_000, timestampDisorderSeconds=0
    )
    last_t = produce_backlog(ground, "backlog", random.Random(2), 40_000)
    began = origin(pipeline)
    job = ground.first_job(pipeline, began)
    victim, survivor = [name for name in ground.processes.names("worker-") if ground.processes.alive(name)]
    before = aggregated(ground)[survivor]
    ground.processes.signal(victim, signal.SIGSTOP)  # it gets its share of the work and never returns it
    ground.driver(job)
    await_("the other has done its share", lambda: aggregated(ground)[survivor] > before)
    assert frontier(pipeline) is None, "the first wave is not complete"
    ground.processes.stop(victim, grace_seconds=0)
    await_("all is published", lambda: reached(pipeline, last_t - 3_000))
    ground.start_worker()
    assert ground.stop() == 0
    ended = frontier(pipeline)
    assert ended is not None
    truth = recompute(ground.read("backlog", 4), pipeline)
    closed = {at: window for at, window in truth.on_time.items() if at[1] + 1000 <= ended}
    assert len(closed) > 500
    assert differences(engine_points(ground, pipeline), closed) == []
    report = ground.repair(repair_job(ground, pipeline, job), "--until", str(ended), "--once")
    assert report["requests"] > 0
    final = {at: window for at, window in truth.final.items() if began.boundary < at[1] + 1000 <= ended}
    assert differences(ground.points(pipeline), final) == []


def test_the_work_of_workers_that_all_died_is_done_by_those_that_come_after(ground: Ground) -> None:
    """As when a node goes: a task must not be tied to one that will never come back."""
    pipeline = ground.pipeline("all-die", TimestampType.CREATE_TIME, timestampDisorderSeconds=0)
    last_t = produce_backlog(ground, "all-die", random.Random(4), 4_000)
    victims = [name for name in ground.processes.names("worker-") if ground.processes.alive(name)]
    for victim in victims:
        ground.processes.signal(victim, signal.SIGSTOP)
    ground.driver(ground.first_job(pipeline, origin(pipeline)))
    client: Any
    with Client(ground.scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        await_("each has its share", lambda: all(client.processing().values()))
        for victim in victims:
            ground.processes.stop(victim, grace_seconds=0)
        await_("they are missed", lambda: not client.nthreads())
    for _ in victims:
        ground.start_worker()
    await_("all is published", lambda: reached(pipeline, last_t - 3_000))
    assert ground.stop() == 0
    ended = frontier(pipeline)
    assert ended is not None
    truth = recompute(ground.read("all-die", 4), pipeline)
    closed = {at: window for at, window in truth.on_time.items() if at[1] + 1000 <= ended}
    assert differences(engine_points(ground, pipeline), closed) == []


def test_a_fenced_driver_ends_with_3(ground: Ground) -> None:
    pipeline = ground.pipeline("fenced", TimestampType.CREATE_TIME)
    produce_backlog(ground, "fenced", random.Random(3), 3_000)
    job = ground.first_job(pipeline, origin(pipeline))
    assert job.sink.parquet is not None
    Path(job.sink.parquet.token_file).unlink()
    ground.driver(job, "fenced-driver")
    await_("the driver ends", lambda: ground.exit_code("fenced-driver") is not None)
    assert ground.exit_code("fenced-driver") == 3
    assert ground.points(pipeline) == {}


def test_start_up_is_logged_by_phase(ground: Ground) -> None:
    pipeline = ground.pipeline("startup", TimestampType.CREATE_TIME)
    produce_backlog(ground, "startup", random.Random(4), 9_000)
    ground.driver(ground.first_job(pipeline, origin(pipeline)), "startup-driver")

    def phases() -> list[dict[str, float]]:
        lines = ground.log_lines("startup-driver")
        return [line["seconds"] for line in lines if line["event"] == "dask.first_publish"]

    await_("first results", phases)
    assert ground.stop("startup-driver") == 0
    assert list(phases()[0]) == ["python", "imports", "scheduler", "assigned", "ready", "first_publish"]
    assert sorted(phases()[0].values()) == list(phases()[0].values())


def test_backfill_and_a_slice_that_retention_has_cut(ground: Ground) -> None:
    pipeline = ground.pipeline("backfill", TimestampType.CREATE_TIME, timestampDisorderSeconds=0)
    last = produce_backlog(ground, "backfill", random.Random(5), 6_000)
    began = origin(pipeline)
    job = repair_job(ground, pipeline, ground.first_job(pipeline, began))
    say_published(job, last - 3_000)
    truth = recompute(ground.read("backfill", 4), pipeline)
    start = began.boundary + 2_000
    cost = backfill.check(job, start, start + 5_000, costly=False)
    assert (cost.windows, cost.records) == (5, 6_000), "a CreateTime topic is read to its end"
    request = backfill.ask(job, start, start + 5_000)
    early = ground.repair(job, "--until", str(start + 4_000), "--once")
    assert (early["requests"], early["not_ready"]) == (0, 1)
    assert backfill.wait(job, request, 0) is None
    report = ground.repair(job, "--until", str(start + 5_000), "--once")
    assert (report["requests"], report["not_ready"], report["cut"]) == (1, 0, 0)
    wanted = {at: window for at, window in truth.final.items() if start <= at[1] < start + 5_000}
    assert report["windows"] == len(wanted) > 0
    points = ground.points(pipeline)
    assert differences(points, wanted) == []
    done = backfill.wait(job, request, 0)
    assert done is not None
    assert (done.start, done.end, done.windows, done.cut) == (start, start + 5_000, len(wanted), False)
    assert 0 < done.records <= 6_000
    assert done.seconds > 0

    admin = AdminClient({"bootstrap.servers": ground.kafka.bootstrap})
    for future in admin.delete_records([TopicPartition("backfill", 0, 10)]).values():
        future.result(20)
    request = backfill.ask(job, start, start + 5_000, "nurse-1")
    cut = ground.repair(job, "--until", str(start + 5_000), "--once")
    assert (cut["windows"], cut["cut"]) == (0, 0), "windows that stay as they were are no reason to worry"
    done = backfill.wait(job, request, 0)
    assert done is not None
    assert (done.windows, done.cut) == (0, True)
    with pytest.raises(RetentionPassed, match="10 records"):
        start_offsets(pipeline, began, frontier=began.boundary, set_by=EngineName.DASK, started=began.offsets)


def say_published(job: JobConfig, frontier: int) -> None:
    """As an engine would."""
    ProgressWriter(job, EngineName.DASK, Outbox(job, lambda: False)).write(frontier // 1000 * 1000, 0)


def test_a_backfill_that_cannot_be_or_costs_much_is_refused(ground: Ground) -> None:
    pipeline = ground.pipeline("refusals", TimestampType.CREATE_TIME, timestampDisorderSeconds=0)
    last = produce_backlog(ground, "refusals", random.Random(6), 6_000)
    began = origin(pipeline)
    job = ground.first_job(pipeline, began)
    start = began.boundary

    def refusal(start: int, end: int) -> str:
        with pytest.raises(backfill.BackfillRefused) as refused:
            backfill.check(job, start, end, costly=False)
        return str(refused.value)

    assert "nothing is written yet" in refusal(start, start + 1_000)
    say_published(job, last - 3_000)
    assert "ends before it begins" in refusal(start, start)
    assert "in the future" in refusal(start, now() + 60_000)
    assert "the frontier is" in refusal(start, last + 60_000)
    assert "origin" in refusal(start - 2_000, start - 1_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backfill, "MOST_RECORDS", 5_999)
        assert "6,000 records to read" in refusal(start, start + 1_000)
        patch.setattr(backfill, "MOST_RECORDS", 6_000)
        patch.setattr(backfill, "MOST_WINDOWS", 1)
        assert "2 windows of each key" in refusal(start, start + 2_000)
        assert backfill.check(job, start, start + 2_000, costly=True).windows == 2
    assert ground.read(job.repairs_topic, 1) == [], "what is refused is not asked for"
