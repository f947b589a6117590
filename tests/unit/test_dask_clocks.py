"""Partition clocks: what closes windows, and who is not waited for."""

from __future__ import annotations

import pytest

from streampipeline.engines.dask.clocks import PartitionClocks, closable

S = 1000


def clocks(*, disorder_ms: int = 0, by_wall_clock: bool = False) -> PartitionClocks:
    return PartitionClocks({0: 0, 1: 0}, disorder_ms=disorder_ms, idle_ms=10 * S, by_wall_clock=by_wall_clock)


def test_the_slowest_partition_sets_the_clock() -> None:
    c = clocks()
    c.advance({0: 50 * S, 1: 20 * S})
    c.looked({0: 5, 1: 5}, {0: 5, 1: 6}, 0.0)
    assert c.clock() == 20 * S


def test_a_partition_never_runs_backwards() -> None:
    c = clocks()
    c.advance({0: 50 * S, 1: 50 * S})
    c.advance({0: 40 * S})
    assert c.clock() == 50 * S


def test_disorder_is_taken_off() -> None:
    c = clocks(disorder_ms=5 * S)
    c.advance({0: 50 * S, 1: 50 * S})
    assert c.clock() == 45 * S


@pytest.mark.parametrize(
    ("newest", "idle"), [(20 * S, {1}), (40 * S, {1}), (40 * S + 1, set()), (50 * S, set())]
)
def test_idle_only_when_far_behind(newest: int, idle: set[int]) -> None:
    c = clocks()
    c.advance({0: 50 * S, 1: newest})
    c.looked({0: 5, 1: 5}, {0: 5, 1: 5}, 0.0)
    assert c.idle() == idle


def test_a_partition_not_read_to_its_end_is_waited_for() -> None:
    c = clocks()
    c.advance({0: 50 * S, 1: 20 * S})
    c.looked({0: 5, 1: 5}, {0: 5, 1: 5}, 0.0)
    assert c.clock() == 50 * S
    c.looked({0: 5, 1: 5}, {0: 5, 1: 6}, 1.0)
    assert c.clock() == 20 * S


def test_never_all_are_idle() -> None:
    c = clocks()
    c.advance({0: 50 * S, 1: 50 * S})
    c.looked({0: 5, 1: 5}, {0: 5, 1: 5}, 10**6)
    assert c.idle() == set()


def test_create_time_waits_by_the_wall_clock_too() -> None:
    c = clocks(by_wall_clock=True)
    c.advance({0: 50 * S, 1: 20 * S})
    c.looked({0: 5, 1: 5}, {0: 5, 1: 5}, 100.0)
    assert c.idle() == set()
    c.looked({0: 9, 1: 5}, {0: 9, 1: 5}, 109.9)
    assert c.idle() == set()
    c.looked({0: 9, 1: 5}, {0: 9, 1: 5}, 110.0)
    assert c.idle() == {1}
    c.looked({0: 9, 1: 6}, {0: 9, 1: 6}, 111.0)
    assert c.idle() == set(), "it moved: its time begins anew"


@pytest.mark.parametrize(
    ("clock", "boundary"), [(11_999, 5000), (12_000, 10_000), (16_999, 10_000), (17_000, 15_000)]
)
def test_a_window_closes_when_no_on_time_record_can_come(clock: int, boundary: int) -> None:
    assert closable(clock, allowed_delay_ms=2 * S, slide_ms=5 * S) == boundary
