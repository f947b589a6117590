"""What repair requests mean."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampipeline.api.spec import Sliding, Tumbling, Window
from streampipeline.offsets import Found
from streampipeline.repair_plan import (
    MOST_WINDOWS_OF_A_KEY,
    Cluster,
    Extent,
    Slice,
    Starts,
    clusters,
    extents,
    is_ready,
    merged,
    slice_of,
    starts_of,
    whole_from,
)
from streampipeline.requests import RepairReason, RepairRequest
from streampipeline.window_time import window_starts_between

TUMBLING = Window(tumbling=Tumbling(size_seconds=5))
SLIDING = Window(sliding=Sliding(size_seconds=10, slide_seconds=5))
BOUNDS = {"max_future_ms": 60_000, "max_lateness_ms": 3_600_000, "disorder_ms": 0}


@pytest.mark.parametrize(
    ("window", "start", "end", "after", "expected"),
    [
        (TUMBLING, 12_000, 12_001, 0, Starts(10_000, 10_000)),
        (TUMBLING, 10_000, 20_000, 0, Starts(10_000, 15_000)),
        (TUMBLING, 10_000, 20_001, 0, Starts(10_000, 20_000)),
        (TUMBLING, 12_000, 12_001, 15_000, None),
        (TUMBLING, 12_000, 22_000, 15_000, Starts(15_000, 20_000)),
        (SLIDING, 12_000, 12_001, 0, Starts(5_000, 10_000)),
        (SLIDING, 12_000, 12_001, 15_000, Starts(10_000, 10_000)),
    ],
)
def test_windows_of_a_request(
    window: Window, start: int, end: int, after: int, expected: Starts | None
) -> None:
    assert starts_of(start, end, window, after=after) == expected


INSTANTS = st.integers(0, 10**5)


@given(st.sampled_from([TUMBLING, SLIDING]), INSTANTS, st.integers(1, 10**5), INSTANTS)
def test_windows_of_a_request_are_those_that_hold_an_instant_of_it(
    window: Window, start: int, length: int, after: int
) -> None:
    starts = starts_of(start, start + length, window, after=after)
    listed = [] if starts is None else list(range(starts.first, starts.last + 1, window.slide_ms))
    holding = window_starts_between(start, start + length, window)
    assert listed == [at for at in holding if at + window.size_ms > after]


def test_ready_when_the_last_window_ends_by_until() -> None:
    assert is_ready(Starts(0, 10_000), TUMBLING, 15_000)
    assert not is_ready(Starts(0, 10_000), TUMBLING, 14_999)
    assert is_ready(None, TUMBLING, 0), "no window, nothing to wait for"


def test_a_slice_holds_every_record_that_may_count() -> None:
    assert slice_of(Starts(100_000, 100_000), TUMBLING, **BOUNDS) == Slice(40_000, 3_705_000)


def test_a_slice_reaches_further_by_the_disorder_at_both_ends() -> None:
    bounds = {**BOUNDS, "disorder_ms": 7_000}
    assert slice_of(Starts(100_000, 100_000), TUMBLING, **bounds) == Slice(33_000, 3_712_000)


def request(start: int, end: int | None = None, key: str | None = "a") -> tuple[RepairRequest, Starts]:
    end = start + 1 if end is None else end
    starts = starts_of(start, end, TUMBLING, after=0)
    assert starts is not None
    return RepairRequest(reason=RepairReason.LATE, key=key, start=start, end=end), starts


def test_overlapping_slices_are_one_pass() -> None:
    far = 10 * 3_600_000
    found = clusters([request(far), request(5_000), request(12_000, key="b")], TUMBLING, **BOUNDS)
    assert [cluster.requests for cluster in found] == [2, 1]
    assert found[0].by_key == {"a": {5_000}, "b": {10_000}}
    assert found[0].slice == Slice(5_000 - 60_000, 15_000 + 3_600_000)


def test_only_wanted_windows_are_kept() -> None:
    spans = [request(0, 10_000, key=None), request(50_000), request(60_000, key="b")]
    cluster = clusters(spans, TUMBLING, **BOUNDS)[0]
    have = pl.DataFrame(
        {
            "key": ["a", "b", "a", "b", "a", "b", "a"],
            "window_start": [0, 5_000, 50_000, 50_000, 60_000, 60_000, 10_000],
        }
    )
    assert have.filter(cluster.wanted()).rows() == [("a", 0), ("b", 5_000), ("a", 50_000), ("b", 60_000)]


def test_a_cluster_that_wants_nothing_keeps_nothing() -> None:
    have = pl.DataFrame({"key": ["a"], "window_start": [0]})
    assert have.filter(Cluster(Slice(0, 1)).wanted()).is_empty()


def test_a_long_request_of_one_key_is_not_listed() -> None:
    cluster = clusters([request(0, 5_000 * (MOST_WINDOWS_OF_A_KEY + 1))], TUMBLING, **BOUNDS)[0]
    assert cluster.by_key == {}
    assert cluster.every_key == [Starts(0, 5_000 * MOST_WINDOWS_OF_A_KEY)]


def test_spans_merge() -> None:
    assert merged([Starts(20, 30), Starts(0, 10), Starts(5, 15)]) == [Starts(0, 15), Starts(20, 30)]


def test_extents_are_clipped_to_origin_and_end() -> None:
    found = extents(
        starts={0: Found(5, 1), 1: Found(50, 1), 2: None, 3: Found(90, 1)},
        stops={0: None, 1: Found(70, 1), 2: None, 3: Found(95, 1)},
        ends={0: 100, 1: 100, 2: 100, 3: 80},
        origin={0: 10, 1: 10},
    )
    assert found == {0: Extent(10, 100), 1: Extent(50, 70), 2: Extent(100, 100), 3: Extent(80, 80)}


@pytest.mark.parametrize(
    ("firsts", "log_starts", "retained_since", "expected"),
    [
        ({0: Found(0, 500)}, {0: 0}, None, 0),
        ({0: Found(0, 500)}, {0: 10}, None, 0),
        ({0: Found(11, 500)}, {0: 11}, None, 501),
        ({0: Found(11, 500), 1: Found(40, 900)}, {0: 11, 1: 40}, None, 901),
        ({0: None}, {0: 11}, None, None),
        ({0: None}, {0: 11}, 700, 700),
        ({0: None}, {0: 10}, None, 0),
    ],
)
def test_slices_that_retention_has_cut(
    firsts: dict[int, Found | None],
    log_starts: dict[int, int],
    retained_since: int | None,
    expected: int | None,
) -> None:
    found = whole_from(
        firsts=firsts, log_starts=log_starts, origin={0: 10, 1: 10}, retained_since=retained_since
    )
    assert found == expected


@pytest.mark.parametrize("window", [TUMBLING, SLIDING])
@given(
    start=st.integers(0, 200_000),
    length=st.integers(1, 60_000),
    origin=st.integers(0, 10),
    steps=st.lists(st.integers(0, 10), max_size=4),
)
def test_spans_of_generations_divide_a_request(
    window: Window, start: int, length: int, origin: int, steps: list[int]
) -> None:
    """Each window of the request is in exactly one part: that in whose span it ends."""
    bounds = [origin * 5_000]
    for step in steps:
        bounds.append(bounds[-1] + step * 5_000)
    ends: list[int | None] = [*bounds[1:], None]
    whole = starts_of(start, start + length, window, after=bounds[0])
    wanted = [] if whole is None else list(range(whole.first, whole.last + 1, window.slide_ms))
    found = []
    for after, until in zip(bounds, ends, strict=True):
        part = starts_of(start, start + length, window, after=after, until=until)
        if part is not None:
            found += list(range(part.first, part.last + 1, window.slide_ms))
            assert part.first + window.size_ms > after
            assert until is None or part.last + window.size_ms <= until
    assert found == wanted
