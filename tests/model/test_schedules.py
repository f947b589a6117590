"""Longer schedules than can all be searched, over the same world: any number of faults, edits and epochs."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.model import world as w
from tests.model.check import wrong_with
from tests.model.search import Bounds, Search
from tests.model.world import Step

WINDOWS = 4
SEARCH = Search(Bounds(windows=WINDOWS))
"""Its memory of decisions is shared by all schedules."""

which = st.integers(0, 2**16)


class Schedules(RuleBasedStateMachine):
    """One schedule; its steps are printed when it fails."""

    def __init__(self) -> None:
        super().__init__()
        first = SEARCH.book.first()
        self.world = w.World(stored=first, mind=first, sink=(w.ABSENT,) * WINDOWS, stales=1)

    def take(self, steps: list[Step], number: int) -> None:
        """One of the steps."""
        if steps:
            text, world = steps[number % len(steps)]
            self.world = world._replace(stales=1)
            note(text)

    @rule(number=which)
    def turn(self, number: int) -> None:
        """Half of them on a new look."""
        self.take(list(SEARCH.moves.turns(self.world)), number // 2 if number % 2 else 0)

    @rule()
    def turn_again(self) -> None:
        self.take(list(SEARCH.moves.turns(self.world)), 0)

    @precondition(lambda self: self.world.flight or self.world.late)
    @rule(number=which)
    def effect(self, number: int) -> None:
        self.take(list(SEARCH.moves.effects(self.world)), number)

    @precondition(lambda self: self.world.jobs or self.world.stray or self.world.repair)
    @rule(number=which)
    def engine(self, number: int) -> None:
        self.take(list(SEARCH.moves.engines(self.world)), number)

    @rule(number=which)
    def surroundings(self, number: int) -> None:
        self.take(list(SEARCH.moves.surroundings(self.world)), number)

    @rule(number=which)
    def fault(self, number: int) -> None:
        self.take(list(SEARCH.moves.faults(self.world)), number)

    @rule(number=which)
    def edit(self, number: int) -> None:
        self.take(list(SEARCH.moves.edits(self.world)), number)

    @invariant()
    def no_rule_is_broken(self) -> None:
        assert wrong_with(self.world, SEARCH.book) is None, self.world

    def teardown(self) -> None:
        SEARCH.comes_to_rest(self.world)


TestSchedules: Any = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=60, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck)
)
