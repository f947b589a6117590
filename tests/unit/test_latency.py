"""The probe's arithmetic, and the formula against a brute-force reading of its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streampipeline.latency import (
    WindowClock,
    candidate_end,
    closable_at,
    closing_query,
    first_query,
    latency_ms,
)

CLOCK = WindowClock(size_ms=5000, slide_ms=5000, delay_ms=2000, disorder_ms=0, idle_ms=10_000)
SLIDING = WindowClock(size_ms=10_000, slide_ms=4000, delay_ms=2000, disorder_ms=0, idle_ms=10_000)


def test_nothing_after_the_frontier_is_no_candidate() -> None:
    assert candidate_end({0: None, 1: None}, 10_000, CLOCK) is None


def test_the_earliest_record_points_at_its_window() -> None:
    assert first_query(10_000, CLOCK) == 12_000
    assert candidate_end({0: 12_000, 1: 30_000}, 10_000, CLOCK) == 15_000
    assert candidate_end({0: 16_999, 1: None}, 10_000, CLOCK) == 15_000
    assert candidate_end({0: 17_000, 1: None}, 10_000, CLOCK) == 20_000


def test_a_gap_in_the_records_is_skipped() -> None:
    assert candidate_end({0: 100_000}, 10_000, CLOCK) == 100_000  # event time 98,000 or later


def test_disorder_is_taken_off_the_clock() -> None:
    clock = WindowClock(size_ms=5000, slide_ms=5000, delay_ms=2000, disorder_ms=5000, idle_ms=10_000)
    assert first_query(10_000, clock) == 17_000
    assert candidate_end({0: 17_000}, 10_000, clock) == 15_000
    assert closing_query(15_000, clock) == 22_000


def test_sliding_windows_end_at_size_and_multiples_of_the_slide() -> None:
    # Ends: ..., 10,000, 14,000, 18,000, ...
    assert candidate_end({0: 12_000}, 10_000, SLIDING) == 14_000
    assert candidate_end({0: 16_000}, 10_000, SLIDING) == 18_000


def test_closable_when_the_last_partition_has_passed() -> None:
    closing = {0: 17_100, 1: 18_500}
    assert closable_at(closing, {0: 20_000, 1: 19_000}, CLOCK) == 18_500
    assert latency_ms(closing, {0: 20_000, 1: 19_000}, 26_500, CLOCK) == 8000


def test_a_partition_that_is_behind_but_not_idle_is_waited_for() -> None:
    assert latency_ms({0: 17_100, 1: None}, {0: 20_000, 1: 10_001}, 60_000, CLOCK) == 0


def test_an_idle_partition_is_waited_for_until_the_others_clock_has_passed() -> None:
    closing: dict[int, int | None] = {0: 17_100, 1: None}
    assert closable_at(closing, {0: 20_000, 1: 10_000}, CLOCK) == 20_000
    assert closable_at(closing, {0: 50_000, 1: 1000}, CLOCK) == 17_100


def test_an_empty_partition_is_not_waited_for() -> None:
    assert closable_at({0: 17_100, 1: None}, {0: 20_000, 1: None}, CLOCK) == 17_100


def test_a_silent_source_is_not_a_slow_engine() -> None:
    assert latency_ms({0: None, 1: None}, {0: 16_000, 1: 16_500}, 10**9, CLOCK) == 0
    assert latency_ms({0: None}, {0: None}, 10**9, CLOCK) == 0


def test_a_clock_that_is_behind_the_broker_gives_zero() -> None:
    assert latency_ms({0: 17_100}, {0: 20_000}, 17_000, CLOCK) == 0


times = st.integers(0, 60_000)


def first_from(records: list[int], least: int) -> int | None:
    return next((t for t in records if t >= least), None)


topics = st.lists(st.lists(times, max_size=12).map(sorted), min_size=1, max_size=3)


@given(topics, st.sampled_from([CLOCK, SLIDING]))
def test_agrees_with_replaying_the_topic(partitions: list[list[int]], clock: WindowClock) -> None:
    """Given any topic, the moment found is the one at which a reader's watermark first passes the window."""
    frontier = 8000
    first = {p: first_from(ts, first_query(frontier, clock)) for p, ts in enumerate(partitions)}
    end = candidate_end(first, frontier, clock)
    if end is None:
        assert all(t < frontier + clock.delay_ms for ts in partitions for t in ts)
        return
    assert end > frontier
    assert (end - clock.size_ms) % clock.slide_ms == 0
    earliest = min(t for t in first.values() if t is not None) - clock.delay_ms
    assert end > earliest
    assert end - clock.slide_ms <= max(earliest, frontier)

    closing = {p: first_from(ts, closing_query(end, clock)) for p, ts in enumerate(partitions)}
    newest = {p: max(ts, default=None) for p, ts in enumerate(partitions)}
    found = closable_at(closing, newest, clock)

    assert found == replay(partitions, end, clock)


def replay(partitions: list[list[int]], end: int, clock: WindowClock) -> int | None:
    """Read in order of T: when is each partition that has records past `end` or idle, and one past?"""
    used = [ts for ts in partitions if ts]
    instants = sorted({t for ts in used for t in ts} | {ts[-1] + clock.idle_ms for ts in used})
    for now in instants:
        if now > max(ts[-1] for ts in used):
            return None
        passed = [any(end + clock.delay_ms <= t <= now for t in ts) for ts in used]
        idle = [ts[-1] + clock.idle_ms <= now for ts in used]
        if any(passed) and all(p or i for p, i in zip(passed, idle, strict=True)):
            return now
    return None
