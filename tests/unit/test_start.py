"""Where engines start, and where a pipeline begins."""

from __future__ import annotations

import pytest

from streampipeline.jobconfig import TimestampType
from streampipeline.offsets import Found
from streampipeline.start import CLOCK_MARGIN_MS, RetentionPassed, clip_to_log, origin_boundary, positions


def test_an_engine_starts_at_the_lower_of_what_was_read_and_what_it_needs() -> None:
    found = positions(
        committed={0: 100, 1: 100, 2: 100},
        started={3: 30},
        by_time={0: Found(80, 1), 1: Found(120, 1), 2: None, 3: Found(40, 1), 4: Found(7, 1), 5: None},
        ends=dict.fromkeys(range(6), 150),
        origin={0: 10, 1: 10, 2: 10, 3: 10, 5: 150},
    )
    assert found == {0: 80, 1: 100, 2: 100, 3: 30, 4: 0, 5: 150}


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
