"""Hours of trouble on a virtual clock, decided by the shipped rules: what switches, what does not, how often.

The world is that of `streampipeline simulate`; the recordings are made up.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.traces import ENGINES, HOUR, MINUTE, SECOND, START, between, row, rows, spec

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Observed, Phase, State
from streampipeline.decide.observed import Health, JobState
from streampipeline.decide.phases import BACKOFF_MOST_MS
from streampipeline.decide.state import ConditionStatus, TriggerKind
from streampipeline.simulate.engines import Engines
from streampipeline.simulate.replay import Control, beginning, replay, ticks
from streampipeline.simulate.summary import EXHAUSTED, Timeline
from streampipeline.simulate.trace import EngineSeen, Row
from streampipeline.simulate.world import World

OBJECTIVE = 15 * SECOND
COARSE = SECOND * 5 // 2
"""Between two looks where hours pass: two for each check."""
BEGAN, OVER = MINUTE, 11 * MINUTE
"""Of an outage."""
GONE = EngineSeen(job=JobState.ABSENT)
FAILING = EngineSeen(job=JobState.FAILING)


def simulated(
    made: Sequence[Row], pipeline: StreamPipelineSpec | None = None
) -> tuple[Timeline, list[State]]:
    """The timeline, and the state after each decision: one for each row."""
    states: list[State] = []
    timeline = replay(
        made,
        pipeline or spec(),
        ENGINES,
        OBJECTIVE,
        tick_ms=made[1].at - made[0].at,
        watch=lambda _, decision: states.append(decision.state),
    )
    return timeline, states


def entered(timeline: Timeline, phase: Phase) -> list[int]:
    """When (ms since START) a phase was entered."""
    return [each.at - START for each in timeline.transitions if each.phase is phase]


class TestLoadInsideTheBand:
    """Between resumeLatencySeconds (8) and latencySeconds (15), with spikes shorter than 3 checks."""

    def test_six_hours_of_flapping_do_not_switch(self) -> None:
        chance, walked = random.Random(1), 11.5

        def make(ms: int) -> Row:
            nonlocal walked
            walked = min(15.0, max(8.0, walked + chance.uniform(-2, 2)))
            wave = 11.5 + 3.5 * math.sin(ms / 47_000)
            # Up to 9.9 s long: two checks, 5 s apart, may see it.
            spike = 40.0 if ms % 61_300 < 9_900 else 10.0
            seconds = (walked, wave, spike)[ms // (2 * HOUR) % 3]
            return row(ms, int(seconds * SECOND))

        timeline, states = simulated(rows(6 * HOUR, make, COARSE))

        assert timeline.transitions == ()
        assert timeline.events == ()
        assert timeline.figures.above > 10 * MINUTE, "the spikes were seen"
        assert max(len(state.checks.latencies) for state in states) > 1, "checks were made"

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 10))
    def test_nor_do_spikes_that_are_shorter_than_the_row_of_checks(
        self, seed: int, violations: int, interval: int
    ) -> None:
        chance, until, after = random.Random(seed), 0, 0
        shorter = (violations - 1) * interval * SECOND - 1

        def make(ms: int) -> Row:
            nonlocal until, after
            if ms >= after and chance.random() < 0.2:
                until, after = ms + chance.randint(0, shorter), ms + shorter + interval * SECOND + 1
            low, high = (15_001, 90_000) if ms < until else (8_000, 15_000)
            return row(ms, chance.randint(low, high))

        timeline, _ = simulated(
            rows(10 * MINUTE, make), spec(violations=violations, checkIntervalSeconds=interval)
        )
        assert timeline.transitions == ()

    def test_what_lasts_as_long_as_the_row_of_checks_does_switch(self) -> None:
        def make(ms: int) -> Row:
            return row(ms, 40 * SECOND if between(ms, MINUTE, MINUTE + 16 * SECOND) else 10 * SECOND)

        timeline, _ = simulated(rows(2 * MINUTE, make))
        assert timeline.takeovers == {TriggerKind.LATENCY: 1}


def test_load_that_breaches_again_and_again_switches_four_times_an_hour_at_most() -> None:
    def make(ms: int) -> Row:
        into = ms % (6 * MINUTE)
        return row(ms, min(into, 2 * MINUTE) if into < 3 * MINUTE else 2 * SECOND)

    timeline, states = simulated(rows(6 * HOUR, make, COARSE))

    taken = entered(timeline, Phase.TRIGGERING)
    assert max(sum(between(at, first, first + HOUR) for at in taken) for first in taken) == 4
    assert 4 * 6 - 4 <= len(taken) <= 4 * 6, "the limit is used"
    assert timeline.count(EXHAUSTED) > 10
    assert set(timeline.takeovers) == {TriggerKind.LATENCY}
    assert states[-1].phase is Phase.NORMAL


class TestApiServerOutage:
    """Ten minutes in which the ground does not answer; engines go on."""

    @pytest.mark.parametrize("health", [Health.UNKNOWN, Health.DOWN])
    @pytest.mark.parametrize(
        ("died", "phase"),
        [
            (None, Phase.NORMAL),
            (5, Phase.NORMAL),
            (12, Phase.TRIGGERING),
            (30, Phase.FALLBACK),
            (50, Phase.RESUMING),
        ],
    )
    def test_nothing_switches_and_all_is_settled_30_s_after(
        self, health: Health, died: int | None, phase: Phase
    ) -> None:
        """`died`: Flink's job did, so many seconds before; `phase`: at the beginning of the outage."""

        def make(ms: int) -> Row:
            changes: dict[str, Any] = {"ground": health} if between(ms, BEGAN, OVER) else {}
            if died is not None and between(ms, BEGAN - died * SECOND, BEGAN - died * SECOND + 15 * SECOND):
                changes["flink"] = GONE
            return row(ms, **changes)

        timeline, states = simulated(rows(OVER + 3 * MINUTE, make))

        out = states[BEGAN // SECOND : OVER // SECOND]
        assert {state.phase for state in out} == {phase}
        assert all(state.frozen_since is not None for state in out)
        settled = states[OVER // SECOND + 30]
        assert settled.frozen_since is None
        ready = settled.condition("Ready")
        assert ready is not None
        assert ready.status is ConditionStatus.TRUE
        expected = [Phase.TRIGGERING, Phase.FALLBACK, Phase.RESUMING, Phase.NORMAL]
        assert [each.phase for each in timeline.transitions] == ([] if died is None else expected)
        if died is None:
            first = states[0].flink
            assert settled.phase is Phase.NORMAL
            assert settled.flink is not None
            assert first is not None
            assert settled.flink.assignment == first.assignment

    def test_a_flink_that_dies_meanwhile_is_taken_over_from_once_that_is_seen(self) -> None:
        def make(ms: int) -> Row:
            changes: dict[str, Any] = {"ground": Health.UNKNOWN} if between(ms, BEGAN, OVER) else {}
            if between(ms, BEGAN + MINUTE, OVER + 20 * SECOND):
                changes["flink"] = GONE
            return row(ms, **changes)

        timeline, _ = simulated(rows(OVER + 3 * MINUTE, make))

        assert timeline.takeovers == {TriggerKind.DEATH: 1}
        # primaryRecoverySeconds, the look that finds it above that, and Dask, warm since the death was seen.
        assert between(entered(timeline, Phase.FALLBACK)[0] - OVER, 10 * SECOND, 14 * SECOND)
        assert timeline.transitions[-1].phase is Phase.NORMAL


class StaleWorld(World):
    """Its looks are old: that of `late` looks ago; while `stuck`, always the same one."""

    late = 0
    stuck = False

    def __init__(self, pipeline: StreamPipelineSpec, engines: Engines, first: Row) -> None:
        super().__init__(pipeline, engines, first)
        self._looks: deque[Observed] = deque()

    def look(self) -> Observed:
        if not self.stuck:
            self._looks.append(super().look())
        while len(self._looks) > self.late + 1:
            self._looks.popleft()
        return self._looks[0]


class TestStaleLooks:
    @staticmethod
    def control(first: Row, late: int = 0) -> tuple[StaleWorld, Control]:
        world = StaleWorld(spec(), ENGINES, first)
        world.late = late
        return world, Control(world, spec(), beginning(world, first))

    def test_ten_minutes_of_one_and_the_same_look_do_not_switch(self) -> None:
        made = rows(OVER + MINUTE, lambda ms: row(ms, ms % (7 * SECOND)))
        world, control = self.control(made[0])
        before = control.state.flink
        for now, each in ticks(made):
            world.stuck = between(now - START, BEGAN, OVER)
            _, decision = control.turn(now, each)
            assert not decision.events
        assert control.state.flink == before

    @pytest.mark.parametrize("late", [5, 20])
    def test_looks_that_are_seconds_old_only_delay_what_is_decided(self, late: int) -> None:
        deaths = range(5 * MINUTE, HOUR, 5 * MINUTE)

        def make(ms: int) -> Row:
            dead = ms >= 5 * MINUTE and ms % (5 * MINUTE) < 20 * SECOND
            return row(ms, flink=GONE) if dead else row(ms)

        made = rows(HOUR - SECOND, make)
        _, control = self.control(made[0], late)
        entered: dict[Phase, list[int]] = {phase: [] for phase in Phase}
        for now, each in ticks(made):
            for event in control.turn(now, each)[1].events:
                if event.phase is not None:
                    entered[event.phase].append(now - START)

        taken, back = entered[Phase.TRIGGERING], entered[Phase.NORMAL]
        assert len(taken) == len(back) == len(deaths)
        for died, decided, normal in zip(deaths, taken, back, strict=True):
            assert between(decided - died, 10 * SECOND, (12 + late) * SECOND)
            assert normal - died < 4 * MINUTE


class TestSharedOutage:
    """Ten minutes without Kafka, the sink or the model: both engines need them."""

    @staticmethod
    def recording(what: str, health: Health, restart_ms: int) -> list[Row]:
        """Afterwards Flink's job restarts for `restart_ms`, then catches up at ten times the pace."""

        def make(ms: int) -> Row:
            behind = ms - BEGAN
            if ms < BEGAN:
                return row(ms)
            if ms < OVER:
                return row(ms, None if what == "kafka" else behind, **{what: health})
            if ms < OVER + restart_ms:
                return row(ms, behind, flink=EngineSeen(job=JobState.FAILING, latency_ms=behind))
            return row(ms, max(2 * SECOND, behind - 10 * (ms - OVER - restart_ms)))

        return rows(OVER + 4 * MINUTE, make)

    @pytest.mark.parametrize("what", ["kafka", "sink", "model"])
    @pytest.mark.parametrize(
        ("health", "restart"), [(Health.UNKNOWN, 0), (Health.DOWN, 10), (Health.DOWN, 40)]
    )
    def test_nothing_switches_then_nor_while_flink_catches_up(
        self, what: str, health: Health, restart: int
    ) -> None:
        timeline, states = simulated(self.recording(what, health, restart * SECOND))

        assert timeline.transitions == ()
        assert timeline.events == ("SharedFailure", "SharedFailureOver")
        assert timeline.figures.highest >= OVER - BEGAN, "there is much to catch up with"
        before, *out = states[BEGAN // SECOND - 1 : OVER // SECOND]
        for state in out:
            assert (state.checks.latencies, state.timers) == (before.checks.latencies, before.timers)
        first, last = states[0].flink, states[-1].flink
        assert first is not None
        assert last is not None
        assert last.assignment == first.assignment

    def test_a_flink_that_falls_further_behind_afterwards_is_taken_over_from(self) -> None:
        def make(ms: int) -> Row:
            changes: dict[str, Any] = {"sink": Health.DOWN} if between(ms, BEGAN, OVER) else {}
            return row(ms, max(2 * SECOND, ms - BEGAN), **changes)

        timeline, _ = simulated(rows(OVER + 3 * MINUTE, make))
        assert timeline.takeovers == {TriggerKind.LATENCY: 1}
        grace = MINUTE  # in which latency is what the outage has left
        assert between(entered(timeline, Phase.TRIGGERING)[0] - OVER, grace, grace + 25 * SECOND)


class TestDeaths:
    def test_a_flink_that_dies_every_five_minutes_is_taken_over_from_in_time_each_time(self) -> None:
        """For six hours, in turns its job and its whole cluster; away for 25 s."""
        deaths = range(5 * MINUTE, 6 * HOUR, 5 * MINUTE)

        def make(ms: int) -> Row:
            number, into = divmod(ms, 5 * MINUTE)
            if number == 0 or into >= 25 * SECOND:
                return row(ms)
            if number % 2:
                return row(ms, flink=GONE)
            return row(ms, flink_cluster=Health.DOWN, flink=EngineSeen(job=JobState.UNKNOWN))

        timeline, states = simulated(rows(6 * HOUR - COARSE, make, COARSE))

        taken, dask, back = (entered(timeline, p) for p in (Phase.TRIGGERING, Phase.FALLBACK, Phase.NORMAL))
        assert timeline.takeovers == {TriggerKind.DEATH: len(deaths)}, "never limited"
        assert timeline.count("ResumeAbandoned") == 0
        for died, decided, ran, normal in zip(deaths, taken, dask, back, strict=True):
            assert between(decided - died, 10 * SECOND, 13 * SECOND)
            assert ran - decided <= 2 * COARSE, "Dask is warm"
            assert normal - died < 2 * MINUTE
        assert all(state.backoff.until <= state.since + BACKOFF_MOST_MS for state in states)
        assert timeline.figures.highest < 30 * SECOND
        end = states[-1]
        assert (end.phase, end.dask, end.retiring, end.wanted) == (Phase.NORMAL, None, (), None)

    def test_a_flink_that_never_lasts_is_tried_ever_more_rarely_and_taken_back_in_the_end(self) -> None:
        """From the fifth minute on every job fails at once, for four hours."""
        died, mended = 5 * MINUTE, 4 * HOUR

        def make(ms: int) -> Row:
            return row(ms, flink=FAILING) if between(ms, died, mended) else row(ms)

        timeline, states = simulated(rows(5 * HOUR, make, COARSE))

        assert timeline.takeovers == {TriggerKind.DEATH: 1}
        tries = entered(timeline, Phase.RESUMING)
        pauses = [after - before for before, after in pairwise(tries)]
        assert 4 * 6 < len(tries) < 4 * 6 + 12, "every ten minutes in the end, more often at first"
        assert pauses[:5] == sorted(pauses[:5])
        assert max(pauses) < BACKOFF_MOST_MS + MINUTE
        back = entered(timeline, Phase.NORMAL)
        assert len(back) == 1
        assert between(back[0] - mended, 0, BACKOFF_MOST_MS + MINUTE)
        assert states[-1].backoff.count == 0
        assert timeline.figures.above < MINUTE
