"""One pass of the repair over a topic in memory: what it writes, and which requests it is done with."""

from __future__ import annotations

import pytest
from tests.support.waves import Requests, Topic, dask_job, reading, repaired

from streampipeline.jobconfig import TimestampType
from streampipeline.requests import RepairReason, RepairRequest

JOB = dask_job()
LATENESS_MS = JOB.spec.source.event_time.max_lateness_seconds * 1000


def asked(*starts: int, key: str | None = "a") -> Requests:
    """A request for the window that holds each of these instants."""
    return Requests(
        [RepairRequest(reason=RepairReason.LATE, key=key, start=start, end=start + 1) for start in starts]
    )


@pytest.fixture
def topic() -> Topic:
    """Two records of window 0, one of them late, and one of each of the next two."""
    made = Topic()
    made.append(0, 1_000)
    made.append(1, 4_000, reading("a", 1_500))
    made.append(0, 6_000)
    made.append(0, 11_000)
    made.append(0, 11_000, key="b")
    return made


def test_late_records_are_in_a_repaired_value(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = asked(1_500)
    effects, report = repaired(topic, JOB, requests, 5_000, monkeypatch)
    assert effects.windows() == {("a", 0): 2}
    assert requests.committed == [1]
    assert (report.requests, report.windows, report.not_ready, report.cut) == (1, 1, 0, 0)


def test_what_is_not_ready_stays_asked_for(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what stands behind it is done all the same, and once more when it is ready."""
    requests = asked(0, 11_000, 6_000)
    effects, report = repaired(topic, JOB, requests, 10_000, monkeypatch)
    assert effects.windows() == {("a", 0): 2, ("a", 5_000): 1}
    assert requests.committed == [1]
    assert report.not_ready == 1


def test_only_the_keys_asked_for_are_written(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    effects, _ = repaired(topic, JOB, asked(11_000, key="b"), 15_000, monkeypatch)
    assert effects.windows() == {("b", 10_000): 1}
    effects, _ = repaired(topic, JOB, asked(11_000, key=None), 15_000, monkeypatch)
    assert effects.windows() == {("a", 10_000): 1, ("b", 10_000): 1}


def test_on_a_create_time_topic_a_slice_goes_to_the_end(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record stands behind others that are newer by all that lateness allows."""
    topic.append(0, 5_000 + LATENESS_MS + 1)
    topic.append(0, 2_000)
    job = dask_job(timestamps=TimestampType.CREATE_TIME)
    effects, _ = repaired(topic, job, asked(0), 5_000, monkeypatch)
    assert effects.windows() == {("a", 0): 3}
