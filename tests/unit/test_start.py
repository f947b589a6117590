"""Where engines start, and where a pipeline begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.publish_config import job_config

from streampipeline import start
from streampipeline.jobconfig import EngineName, JobConfig, Origin, TimestampType
from streampipeline.offsets import Found
from streampipeline.start import (
    CLOCK_MARGIN_MS,
    RetentionPassed,
    clip_to_log,
    origin_boundary,
    positions,
    start_offsets,
    uncounted,
)

FRONTIER = 1_000_000_000


def test_an_engine_starts_at_the_lower_of_what_was_read_and_what_it_needs() -> None:
    found = positions(
        committed={0: 100, 1: 100, 2: 100},
        started={3: 30},
        by_time={0: Found(80, 1), 1: Found(120, 1), 2: None, 3: Found(40, 1), 4: Found(7, 1), 5: None},
        ends=dict.fromkeys(range(6), 150),
        origin={0: 10, 1: 10, 2: 10, 3: 10, 5: 150},
    )
    assert found == {0: 80, 1: 100, 2: 100, 3: 30, 4: 0, 5: 150}


@pytest.mark.parametrize(
    ("firsts", "span"),
    [
        ([Found(0, 7_000), Found(0, 9_000)], (4_900, 10_000)),
        ([Found(0, 1_000)], (0, 10_000)),
        ([None, Found(0, 12_000)], (9_900, 10_000)),
        ([Found(0, 12_100)], None),
        ([None], None),
        ([], None),
    ],
)
def test_windows_published_without_a_new_partition_are_those_from_its_first_record_on(
    firsts: list[Found | None], span: tuple[int, int] | None
) -> None:
    found = uncounted(firsts, boundary=10_000, allowed_delay_ms=2_000, disorder_ms=100)
    assert found == span


def test_nothing_before_the_origin_is_read() -> None:
    by_time: dict[int, Found | None] = {0: Found(3, 1)}
    assert positions(committed={}, started={}, by_time=by_time, ends={0: 9}, origin={0: 5}) == {0: 5}


def test_what_retention_took_is_counted() -> None:
    assert clip_to_log({0: 5, 1: 5}, {0: 5, 1: 0}) == {0: 5, 1: 5}
    with pytest.raises(RetentionPassed, match="10 records") as caught:
        clip_to_log({0: 5, 1: 5, 2: 5}, {0: 12, 1: 8, 2: 0})
    assert caught.value.lost == {0: 7, 1: 3}


@pytest.mark.parametrize(
    ("firsts", "timestamps", "expected"),
    [
        ([Found(0, 1_000_017_000)], TimestampType.LOG_APPEND_TIME, 1_000_010_000),
        ([Found(0, 1_000_018_000), Found(0, 1_000_016_999)], TimestampType.CREATE_TIME, 1_000_005_000),
        ([], TimestampType.LOG_APPEND_TIME, 1_000_030_000),
        ([None, Found(0, 1_000_017_000)], TimestampType.LOG_APPEND_TIME, 1_000_010_000),
        ([None, Found(0, 1_000_017_000)], TimestampType.CREATE_TIME, 0),
        ([None], TimestampType.CREATE_TIME, 0),
    ],
)
def test_the_origin_is_below_every_on_time_window(
    firsts: list[Found | None], timestamps: TimestampType, expected: int
) -> None:
    boundary = origin_boundary(
        firsts,
        now=1_000_040_000 + CLOCK_MARGIN_MS,
        allowed_delay_ms=2_000,
        disorder_ms=5_000,
        slide_ms=5_000,
        timestamp_type=timestamps,
    )
    assert boundary == expected


@dataclass
class Log:
    """Look-ups of one partition, 0, whose offsets go from `start` to 500."""

    start: int = 0
    found: int = 300
    asked: list[int] = field(default_factory=list)

    def partitions(self) -> list[int]:
        return [0]

    def stable_ends(self, _: list[int]) -> dict[int, int]:
        return {0: 500}

    def log_starts(self, _: list[int]) -> dict[int, int]:
        return {0: self.start}

    def first_at(self, t: int, _: list[int]) -> dict[int, Found | None]:
        self.asked.append(t)
        return {0: Found(self.found, t)}


def started(log: Log, monkeypatch: pytest.MonkeyPatch, **times: int) -> dict[int, int]:
    """Where an engine starts at FRONTIER, which Dask has set, with 400 committed. Windows have 5 s."""
    config: JobConfig = job_config({"parquet": {"path": "unused", "tokenFile": "unused"}})
    changed: dict[str, Any] = {"max_future_seconds": 60, **times}
    event_time = config.spec.source.event_time.model_copy(update=changed)
    source = config.spec.source.model_copy(update={"event_time": event_time})
    config = config.model_copy(update={"spec": config.spec.model_copy(update={"source": source})})
    committed = {EngineName.DASK: {0: 400}}
    monkeypatch.setattr(start, "OffsetLookup", lambda _: log)
    monkeypatch.setattr(start, "committed_offsets", lambda _config, engine, _partitions: committed[engine])
    origin = Origin(boundary=0, offsets={0: 0})
    return start_offsets(config, origin, frontier=FRONTIER, set_by=EngineName.DASK, started={0: 0})


@pytest.mark.parametrize(
    ("times", "before"),
    [
        ({}, 65_000),
        ({"max_future_seconds": 0}, 5_000),
        ({"timestamp_disorder_seconds": 7}, 72_000),
    ],
)
def test_the_first_record_that_may_matter_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, times: dict[str, int], before: int
) -> None:
    """One of a window that ends after the frontier: the window's size before it, as far ahead as may be."""
    log = Log()
    assert started(log, monkeypatch, **times) == {0: 300}
    assert log.asked == [FRONTIER - before]


def test_what_was_committed_counts_where_it_is_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(Log(found=450), monkeypatch) == {0: 400}


def test_no_engine_starts_above_what_retention_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(Log(start=300), monkeypatch) == {0: 300}
    with pytest.raises(RetentionPassed, match="7 records") as caught:
        started(Log(start=307), monkeypatch)
    assert caught.value.count == 7
