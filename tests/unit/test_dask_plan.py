"""Which offsets the Dask engine reads next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampipeline.engines.dask.plan import CATCH_UP_FACTOR, SMALLEST_SPLIT, plan, positions_after
from streampipeline.reading import Range, towards

PARTITIONS = st.dictionaries(
    st.integers(0, 20), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1
)


def test_nothing_new_is_no_wave() -> None:
    assert plan({0: 5, 1: 7}, {0: 5, 1: 7}, workers=2, batch_records=10) == []


def test_partitions_are_shared_out_alike_each_time() -> None:
    shares = plan({0: 0, 1: 0, 2: 0, 3: 0}, {0: 5, 1: 0, 2: 5, 3: 5}, workers=2, batch_records=100)
    assert [{each.partition for each in share.ranges} for share in shares] == [{0, 2}, {3}]


def test_one_partition_is_split_for_all_workers() -> None:
    end = 4 * SMALLEST_SPLIT
    shares = plan({0: 0}, {0: end}, workers=2, batch_records=end)
    assert [share.ranges for share in shares] == [(Range(0, 0, end // 2),), (Range(0, end // 2, end),)]


def test_small_ranges_are_not_split() -> None:
    assert len(plan({0: 0}, {0: SMALLEST_SPLIT}, workers=4, batch_records=10**6)) == 1


def test_waves_grow_while_behind() -> None:
    def size(lag: int) -> int:
        shares = plan({0: 0, 1: 0}, {0: lag, 1: lag}, workers=2, batch_records=100)
        return sum(share.offsets for share in shares)

    assert size(150) == 200
    assert size(10_000) == CATCH_UP_FACTOR * 200


def test_partitions_reach_their_ends_together() -> None:
    assert towards({0: 0, 1: 0}, {0: 900, 1: 100}, 100) == [Range(0, 0, 90), Range(1, 0, 10)]


@given(PARTITIONS, st.integers(1, 6), st.integers(1, 100_000))
def test_waves_cover_every_offset_once(
    partitions: dict[int, tuple[int, int]], workers: int, batch_records: int
) -> None:
    positions = {partition: start for partition, (start, _) in partitions.items()}
    ends = {partition: start + lag for partition, (start, lag) in partitions.items()}
    for _ in range(3):
        shares = plan(positions, ends, workers=workers, batch_records=batch_records)
        ranges = sorted(each for share in shares for each in share.ranges)
        assert all(len({each.partition for each in share.ranges}) == len(share.ranges) for share in shares)
        at = dict(positions)
        for each in ranges:
            assert each.start == at[each.partition], "no gap, no overlap"
            at[each.partition] = each.end
        assert all(at[partition] <= end for partition, end in ends.items())
        assert bool(shares) == any(at_ < ends[partition] for partition, at_ in positions.items())
        assert positions_after(positions, shares) == at
        positions = at


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="start < end"):
        Range(0, 5, 5)
