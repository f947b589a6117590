"""Clocks in Flink: partitions read to their end are not waited for, and progress needs no record in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from tests.support.dask_ground import Ground, await_, differences, recompute, value_of
from tests.support.flink_ground import flink_cluster, submit

from streampipeline.jobconfig import EngineName, PipelineConfig, TimestampType
from streampipeline.progress import ProgressReader
from streampipeline.start import origin

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

TOPIC = "idle"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.start(Path(tmp_path_factory.mktemp("idle"))) as ground:
        yield ground


def now() -> int:
    return time.time_ns() // 1_000_000


def frontier(pipeline: PipelineConfig) -> int:
    reader = ProgressReader(pipeline)
    try:
        assert reader.settle(10)
        return reader.frontier(1) or 0
    finally:
        reader.close()


@contextmanager
def busy_partition(ground: Ground, partition: int, late_ms: int = 0) -> Iterator[None]:
    """Ten records a second, of now or of a moment ago."""
    stop = threading.Event()

    def send() -> None:
        producer = ground.producer()
        while not stop.wait(0.1):
            value = value_of("busy", now() - late_ms, [1.0] * 6)
            producer.produce(TOPIC, key=b"b", value=value, partition=partition)
            producer.poll(0)
        producer.flush(10)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def pipeline_of_five_tasks(ground: Ground) -> PipelineConfig:
    """One task more than there are partitions; checkpoints each second."""
    pipeline = ground.pipeline(TOPIC, TimestampType.LOG_APPEND_TIME, idlePartitionSeconds=3)
    primary = pipeline.spec.primary
    quick = primary.flink.model_copy(update={"parallelism": 5, "checkpoint_interval_seconds": 1})
    spec = pipeline.spec.model_copy(update={"primary": primary.model_copy(update={"flink": quick})})
    return pipeline.model_copy(update={"spec": spec})


def test_ends_with_markers_empty_partitions_open_transactions_and_late_records_alone(ground: Ground) -> None:
    pipeline = pipeline_of_five_tasks(ground)
    settings = {"bootstrap.servers": ground.kafka.bootstrap, "transactional.id": TOPIC}
    sender = Producer({**settings, "transaction.timeout.ms": 120_000})
    sender.init_transactions(20)
    # Partition 0 ends in a commit marker, 1 holds aborted records only, 2 is empty, 3 is busy.
    for partition, end in ((0, sender.commit_transaction), (1, sender.abort_transaction)):
        sender.begin_transaction()
        for number in range(5):
            value = value_of(f"quiet {partition}", now(), [float(number)] * 6)
            sender.produce(TOPIC, key=b"k", value=value, partition=partition)
        sender.flush(10)
        end(20)
    where = origin(pipeline)
    job = ground.first_job(pipeline, where, epoch=3)
    engine = job.assignment.model_copy(update={"engine": EngineName.FLINK})
    with flink_cluster(ground, slots=5) as flink:
        with busy_partition(ground, 3):
            submit(ground, flink, job.model_copy(update={"assignment": engine}))
            begun = now()
            await_("idle partitions are passed", lambda: frontier(pipeline) > begun + 5_000, 150)

            sender.begin_transaction()
            at = now()
            sender.produce(TOPIC, key=b"k", value=value_of("open", at, [2.0] * 6), partition=0)
            sender.flush(10)
            time.sleep(10)
            assert frontier(pipeline) <= at + 5_000, "a record that is not committed yet is waited for"
            sender.commit_transaction(20)
            await_("the transaction is passed", lambda: frontier(pipeline) > at + 12_000, 60)

        then = now()
        with busy_partition(ground, 3, late_ms=5_000):
            await_("late records alone move the frontier", lambda: frontier(pipeline) > then + 3_000, 60)
        done = frontier(pipeline)

    final = recompute(ground.read(TOPIC, 4), pipeline).on_time
    expected = {window: n for window, n in final.items() if where.boundary < window[1] + 1000 <= done}
    points = {window: row for window, row in ground.points(pipeline).items() if window[1] + 1000 <= done}
    assert ("open", at // 1000 * 1000) in points
    assert differences(points, expected) == []
