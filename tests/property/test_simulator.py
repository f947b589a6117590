"""Random schedules of the simulated data plane (docs/simulator.md): exact at the end of each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.simulator.__main__ import told
from tests.simulator.mutations import MUTATIONS, Mutation
from tests.simulator.world import run

SCHEDULES = 300
"""More on demand: `python -m tests.simulator --schedules 3000`."""
AT_ONCE = 20
ONCE_WRONG = [1758, 1870, 2076]
"""Later seeds that have failed: an operator starts while the broker is down."""
MOST_TRIED = 50
"""A mutation is found by one of so many schedules."""


@pytest.mark.parametrize("first", range(0, SCHEDULES, AT_ONCE))
def test_whatever_happens_results_are_exact(first: int) -> None:
    failed = [verdict for verdict in map(run, range(first, first + AT_ONCE)) if not verdict.fine]
    assert not failed, "\n".join(told(verdict, trace=verdict is failed[0]) for verdict in failed)


@pytest.mark.parametrize("seed", ONCE_WRONG)
def test_what_failed_once_is_exact(seed: int) -> None:
    verdict = run(seed)
    assert verdict.fine, told(verdict, trace=True)


def test_a_seed_gives_the_same_trace_again() -> None:
    first, second = run(7), run(7)
    assert first.trace == second.trace
    assert len(first.trace) > 50


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_broken_rule_is_found(mutation: Callable[[], Mutation]) -> None:
    for seed in range(MOST_TRIED):
        with mutation():
            verdict = run(seed)
        if not verdict.fine:
            return
    pytest.fail(f"none of {MOST_TRIED} schedules found it")
