"""Waves of the Dask engine: what it does in which order, what it counts, and what it leaves alone."""

from __future__ import annotations

import json

import pytest
from tests.support.waves import Effects, Topic, dask_job, reading, run

from streampipeline.jobconfig import JobConfig, TimestampType
from streampipeline.requests import RepairReason, RepairRequest

JOB = dask_job()
DEAD = JOB.spec.dead_letter.topic


@pytest.fixture
def topic() -> Topic:
    return Topic()


def requested(effects: Effects, job: JobConfig = JOB) -> list[tuple[RepairReason, str | None, int]]:
    """Reason, key and first instant of each request."""
    found = [RepairRequest.decode(message["value"]) for message in effects.of(job.repairs_topic)]
    return [(request.reason, request.key, request.start) for request in found]


def frontiers(effects: Effects) -> list[int]:
    return [json.loads(message["value"])["frontier"] for message in effects.of(JOB.progress_topic)]


def test_requests_and_dead_letters_then_points_then_progress_then_offsets(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.append(0, 1_000)
    topic.append(0, 4_000, reading("late", 1_000))
    topic.append(1, 4_000, b"not a record")
    topic.close_until(7_000)

    effects = run(topic, JOB, monkeypatch)

    first, *others = sorted(effects.kinds()[:2]), *effects.kinds()[2:]
    assert first == sorted([DEAD, JOB.repairs_topic])
    assert others == ["points", JOB.progress_topic, "offsets"]
    assert effects.windows() == {("a", 0): 1}
    assert requested(effects) == [(RepairReason.LATE, "late", 1_000)]
    [letter] = effects.of(DEAD)
    assert (letter["value"], letter["timestamp"]) == (b"not a record", 4_000)
    assert frontiers(effects) == [5_000]
    assert effects.of("offsets") == [{0: 3, 1: 2}]


def test_dead_letters_are_on_the_broker_before_offsets_where_no_window_closes(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.append(0, 1_000, b"not a record")
    assert run(topic, JOB, monkeypatch).kinds() == [DEAD, "offsets"]


def test_open_windows_are_left_to_the_next_engine(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    for t in (1_000, 4_999, 5_000, 6_999):
        topic.append(0, t)
        topic.append(1, t)
    assert run(topic, JOB, monkeypatch).windows() == {}
    topic.close_until(7_000)
    effects = run(topic, JOB, monkeypatch)
    assert effects.windows() == {("a", 0): 4}
    assert frontiers(effects) == [5_000]


def test_no_window_that_ends_by_the_boundary_is_published(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    for t in (6_000, 9_999, 10_000):
        topic.append(0, t)
    topic.close_until(17_000)
    effects = run(topic, dask_job(boundary=10_000), monkeypatch)
    assert effects.windows() == {("a", 10_000): 1}
    assert frontiers(effects) == [15_000]


def test_only_on_time_records_are_in_an_engines_value(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """However early it comes: the window of a late record is still open here."""
    topic.append(0, 3_000, reading("a", 1_000))
    topic.append(0, 3_001, reading("a", 1_000))
    topic.close_until(7_000)
    effects = run(topic, JOB, monkeypatch)
    assert effects.windows() == {("a", 0): 1}
    assert requested(effects) == [(RepairReason.LATE, "a", 1_000)]


def test_a_partitions_clock_is_its_newest_kafka_timestamp(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of the future closes nothing."""
    for partition in topic.logs:
        topic.append(partition, 1_000)
        topic.append(partition, 1_000, reading("future", 50_000))
    effects = run(topic, JOB, monkeypatch)
    assert effects.windows() == {}
    assert frontiers(effects) == []


def test_a_record_behind_the_frontier_asks_for_a_repair(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timestamps run back, further than the spec says. The waves are of three records."""
    topic.append(0, 1_000)
    topic.close_until(50_000)
    topic.append(0, 2_000)
    topic.append(1, 2_000, key="b")
    topic.append(0, 50_001, key="closer")
    job = dask_job(timestamps=TimestampType.CREATE_TIME, batch_records=3)
    effects = run(topic, job, monkeypatch)
    assert len(effects.of("offsets")) > 1, "more than one wave"
    assert effects.windows() == {("a", 0): 1}
    assert requested(effects, job) == [(RepairReason.DROPPED, "a", 0), (RepairReason.DROPPED, "b", 0)]


def test_a_record_that_no_engine_can_have_counted_asks_for_a_repair(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands behind the record that let the engine before close its window."""
    topic.append(0, 6_000, key="counted")
    topic.close_until(12_000)
    topic.append(0, 9_000, key="dropped")
    job = dask_job(boundary=10_000, timestamps=TimestampType.CREATE_TIME)
    effects = run(topic, job, monkeypatch)
    assert requested(effects, job) == [(RepairReason.DROPPED, "dropped", 9_000)]
    assert effects.windows() == {}
