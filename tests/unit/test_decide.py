"""Each rule of the state machine: given a situation, when something is seen, expect a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support.decisions import decision_spec

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import (
    Decision,
    Observed,
    Phase,
    State,
    cold,
    decide,
    explain,
    headline,
    worth_writing,
)
from streampipeline.decide.actions import (
    Action,
    EndDoubles,
    EnsureFlinkCluster,
    FixOrigin,
    PlanStart,
    Repair,
    Revoke,
    RewindRepairs,
    RunEngine,
    ScaleDask,
    StopEngine,
)
from streampipeline.decide.events import Event
from streampipeline.decide.observed import (
    Controls,
    Health,
    Job,
    JobState,
    PlanFailed,
    Probe,
    Progress,
    Repairs,
    StartPlan,
    Writer,
)
from streampipeline.decide.state import Backoff, ConditionStatus, Live, Retiring, Timers, TriggerKind
from streampipeline.jobconfig import Assignment, EngineName, Origin

FLINK, DASK = EngineName.FLINK, EngineName.DASK
UP, DOWN, UNKNOWN = Probe(health=Health.UP), Probe(health=Health.DOWN, message="refused"), Probe()
START = 1_700_000_000_000
W0 = START - START % 5000


def assigned(engine: EngineName, epoch: int, boundary: int = W0, repairs_offset: int = 0) -> Assignment:
    return Assignment(
        engine=engine,
        epoch=epoch,
        generation=1,
        boundary=boundary,
        offsets={0: 7},
        repairs_offset=repairs_offset,
    )


def live(
    engine: EngineName, epoch: int, boundary: int = W0, at: int = START, target: int | None = W0
) -> Live:
    return Live(assignment=assigned(engine, epoch, boundary), at=at, seen=True, ran=True, target=target)


def job(
    engine: EngineName, epoch: int, state: JobState = JobState.RUNNING, latency: int | None = 1000
) -> Job:
    return Job(engine=engine, epoch=epoch, state=state, latency_ms=latency)


@dataclass
class Pipeline:
    """A pipeline at some moment: `see` makes decisions and keeps the state as a ground would."""

    state: State
    seen: Observed
    spec: StreamPipelineSpec = field(default_factory=lambda: decision_spec({}))
    now: int = START
    events: list[Event] = field(default_factory=list)
    actions: tuple[Action, ...] = ()

    def see(self, *, after: float = 1, **changes: Any) -> Decision:
        """Let `after` seconds pass, change what is seen, decide."""
        self.now += int(after * 1000)
        self.seen = self.seen.model_copy(update=changes)
        decision = decide(self.seen, self.state, self.now, self.spec)
        self.state = State.model_validate_json(decision.state.model_dump_json(by_alias=True))
        assert self.state == decision.state
        self.actions = decision.actions
        self.events += decision.events
        return decision

    def checks(self, *latencies: int) -> Phase:
        """One check after the other with these latencies (s); the phase after the last."""
        for latency in latencies:
            self.see(after=5, latency_ms=latency * 1000)
        return self.state.phase

    def phase(self) -> Phase:
        return self.state.phase

    def asked(self, kind: type[Action]) -> list[Any]:
        return [action for action in self.actions if isinstance(action, kind)]

    def plan(self, boundary: int = W0, repairs_offset: int = 0) -> StartPlan:
        assert self.state.wanted is not None
        return StartPlan(
            engine=self.state.wanted.engine,
            epoch=self.state.wanted.epoch,
            boundary=boundary,
            offsets={0: 7},
            repairs_offset=repairs_offset,
        )

    def condition(self, name: str) -> tuple[str, str]:
        found = self.state.condition(name)
        assert found is not None
        return found.status.value, found.reason


WELL = Observed(kafka=UP, sink=UP, model=UP, flink=UP, dask=UP, latency_ms=1000)


def in_normal(**failover: int) -> Pipeline:
    state = State(
        phase=Phase.NORMAL,
        since=START,
        epoch=1,
        origin=Origin(boundary=W0, offsets={0: 0}),
        flink=live(FLINK, 1),
        active=FLINK,
        active_since=START,
        timers=Timers(phase=START),
    )
    pipeline = Pipeline(state, WELL.model_copy(update={"jobs": (job(FLINK, 1),)}), decision_spec(failover))
    pipeline.see(after=0)
    return pipeline


def in_fallback(**failover: int) -> Pipeline:
    state = State(
        phase=Phase.FALLBACK,
        since=START,
        epoch=2,
        origin=Origin(boundary=W0, offsets={0: 0}),
        dask=live(DASK, 2),
        active=DASK,
        active_since=START,
        reason="latency 8.4 s above 5 s",
        timers=Timers(phase=START),
    )
    return Pipeline(state, WELL.model_copy(update={"jobs": (job(DASK, 2),)}), decision_spec(failover))


def in_resuming(**failover: int) -> Pipeline:
    """Flink's job 3 runs beside Dask's 2, which has published up to W0 + 20 s."""
    pipeline = in_fallback(**failover)
    pipeline.state = pipeline.state.model_copy(
        update={
            "phase": Phase.RESUMING,
            "epoch": 3,
            "flink": live(FLINK, 3, boundary=W0 + 10_000, target=W0 + 20_000),
        }
    )
    rows = (Progress(engine=DASK, epoch=2, frontier=W0 + 20_000, at=START),)
    pipeline.seen = pipeline.seen.model_copy(
        update={"jobs": (job(DASK, 2), job(FLINK, 3, latency=9000)), "progress": rows}
    )
    return pipeline


# Startup


def test_first_start_goes_step_by_step() -> None:
    pipeline = Pipeline(State.initial(START), Observed())
    pipeline.see()
    assert len(pipeline.state.conditions) == 10
    assert pipeline.condition("Ready")[0] == "Unknown"
    assert not pipeline.asked(FixOrigin)  # Kafka is not known to be up
    pipeline.see(kafka=UP, sink=UP, model=UP)
    assert pipeline.asked(FixOrigin)
    assert pipeline.asked(EnsureFlinkCluster) == [EnsureFlinkCluster(up=True)]
    assert pipeline.asked(ScaleDask) == [ScaleDask(workers=0)]
    pipeline.see(origin=Origin(boundary=W0, offsets={0: 0}))
    assert pipeline.state.origin is not None
    assert pipeline.state.wanted is None  # the cluster is not up
    pipeline.see(flink=UP)
    assert pipeline.asked(PlanStart)[0].epoch == pipeline.now // 1000
    pipeline.see(plan=pipeline.plan())
    assert pipeline.state.wanted is None
    assert pipeline.asked(RunEngine)[0].assignment.engine is FLINK
    epoch = pipeline.state.epoch
    pipeline.see(jobs=(job(FLINK, epoch, JobState.STARTING),))
    pipeline.see(jobs=(job(FLINK, epoch, latency=None),))
    assert pipeline.phase() is Phase.STARTUP  # no result yet
    pipeline.see(progress=(Progress(engine=FLINK, epoch=epoch, frontier=W0 + 5000, at=START),), latency_ms=0)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.state.active is FLINK
    assert pipeline.condition("Ready") == ("True", "ResultsFresh")
    assert pipeline.events[-1].phase is Phase.NORMAL


def test_silent_source_counts_as_started() -> None:
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(update={"phase": Phase.STARTUP})
    pipeline.see(jobs=(job(FLINK, 1, latency=0),))
    assert pipeline.phase() is Phase.NORMAL


def test_a_flink_that_never_starts_is_taken_over_from() -> None:
    pipeline = Pipeline(State.initial(START), WELL.model_copy(update={"flink": DOWN}))
    pipeline.see(origin=Origin(boundary=W0, offsets={0: 0}))
    pipeline.see(after=118)
    assert pipeline.phase() is Phase.STARTUP
    pipeline.see()
    assert pipeline.phase() is Phase.TRIGGERING
    assert pipeline.asked(PlanStart)[0].engine is DASK


# Latency


def test_latency_above_the_threshold_at_three_checks_triggers() -> None:
    pipeline = in_normal()
    assert pipeline.checks(20, 20) is Phase.NORMAL
    assert pipeline.asked(ScaleDask) == [ScaleDask(workers=2)]  # warmed up before the third
    assert pipeline.checks(20) is Phase.TRIGGERING
    assert pipeline.state.reason == "latency 20 s above 15 s"
    assert pipeline.state.hand_overs[-1].trigger is TriggerKind.LATENCY
    assert pipeline.asked(PlanStart)[0].engine is DASK
    assert not pipeline.asked(StopEngine)


@pytest.mark.parametrize(
    ("latencies", "phase"),
    [
        ((20, 20, 15, 20, 20), Phase.NORMAL),  # not in a row: 15 is not above 15
        ((90, 80, 70, 60, 50, 40), Phase.NORMAL),  # falling
        ((60, 50, 40, 43, 30), Phase.NORMAL),  # falling, with jitter
        ((20, 25, 22, 27), Phase.TRIGGERING),  # a sawtooth that tends upwards
        ((60, 50, 50, 50), Phase.TRIGGERING),  # a plateau
    ],
)
def test_row_of_checks(latencies: tuple[int, ...], phase: Phase) -> None:
    assert in_normal().checks(*latencies) is phase


def test_a_single_violation_suffices_where_asked_for() -> None:
    pipeline = in_normal(violations=1)
    assert pipeline.checks(16) is Phase.TRIGGERING


def test_ticks_between_checks_do_not_count() -> None:
    pipeline = in_normal()
    for _ in range(9):
        pipeline.see(after=1, latency_ms=20_000)
    assert pipeline.phase() is Phase.NORMAL


def test_unknown_latency_neither_counts_nor_breaks_the_row() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20)
    pipeline.see(after=5, latency_ms=None)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.condition("LatencyWithinObjective") == ("Unknown", "LatencyUnknown")
    assert pipeline.checks(20) is Phase.TRIGGERING


def test_latency_switches_are_limited_per_hour_but_takeovers_after_death_are_not() -> None:
    pipeline = in_normal(max_latency_switches_per_hour=1)
    pipeline.state = pipeline.state.model_copy(update={"latency_switches": (START - 3_598_500,)})
    pipeline.spec = decision_spec(
        {"maxLatencySwitchesPerHour": 1, "checkIntervalSeconds": 1, "violations": 1}
    )
    pipeline.see(after=1, latency_ms=20_000)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.events[-1].reason == "SwitchesExhausted"
    pipeline.see(after=1, latency_ms=20_000)  # now the old switch is an hour ago
    assert pipeline.phase() is Phase.TRIGGERING

    pipeline = in_normal(max_latency_switches_per_hour=0)
    assert pipeline.checks(20, 20, 20, 20) is Phase.NORMAL
    pipeline.see(flink=DOWN)
    pipeline.see(after=11)
    assert pipeline.phase() is Phase.TRIGGERING


# Death of the primary


@pytest.mark.parametrize(
    "sight",
    [
        {"flink": DOWN, "jobs": ()},
        {"flink": UNKNOWN, "jobs": ()},  # silence is evidence
        {"jobs": ()},
        {"jobs": (job(FLINK, 1, JobState.FAILING),)},
        {"jobs": (job(FLINK, 1, JobState.FINISHED),)},
    ],
)
def test_primary_not_running_for_longer_than_allowed_triggers(sight: dict[str, Any]) -> None:
    pipeline = in_normal()
    pipeline.see(**sight)
    assert pipeline.asked(ScaleDask) == [ScaleDask(workers=2)]  # warming up on suspicion
    pipeline.see(after=10)
    assert pipeline.phase() is Phase.NORMAL
    pipeline.see(after=0.1)  # between two checks
    assert pipeline.phase() is Phase.TRIGGERING
    assert pipeline.state.reason.startswith("Flink not running for 10.1 s")
    assert pipeline.condition("PrimaryHealthy")[0] == "False"


def test_a_clock_that_is_set_back_stops_no_rule() -> None:
    pipeline = in_normal()
    pipeline.see(after=-120)
    assert pipeline.checks(16, 16, 16) is Phase.TRIGGERING, "checks go on"

    pipeline = in_normal()
    pipeline.see(flink=DOWN)
    pipeline.see(after=-120)
    pipeline.see(after=10.1)
    assert pipeline.phase() is Phase.TRIGGERING, "the primary's death is counted from then on"

    pipeline = in_normal()
    pipeline.see(kafka=DOWN)
    pipeline.see(after=-120, kafka=UP)
    assert pipeline.state.frozen_since is None
    assert pipeline.state.timers.phase <= pipeline.now


def test_a_short_loss_of_the_primary_does_not_trigger() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN)
    pipeline.see(after=9, flink=UP)
    pipeline.see(after=9, flink=DOWN)
    pipeline.see(after=9)
    assert pipeline.phase() is Phase.NORMAL


def test_a_submitted_job_has_its_grace_only_while_the_cluster_is_up() -> None:
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(
        update={"flink": Live(assignment=assigned(FLINK, 1), at=START), "timers": Timers(phase=START)}
    )
    pipeline.see(after=59, jobs=())
    pipeline.see(after=0.5)
    assert pipeline.asked(ScaleDask) == [ScaleDask(workers=0)]  # no suspicion yet
    assert pipeline.asked(RunEngine)
    pipeline.see(flink=DOWN)
    assert pipeline.state.timers.primary_down == pipeline.now
    assert not pipeline.asked(RunEngine)


def test_a_lost_job_is_not_submitted_again() -> None:
    pipeline = in_normal()
    pipeline.see(jobs=())
    assert not pipeline.asked(RunEngine)


def test_a_job_that_was_seen_is_not_submitted_again_however_old_the_look() -> None:
    pipeline = in_normal()
    assert pipeline.state.flink is not None
    assert pipeline.state.flink.seen
    assert not pipeline.asked(RunEngine)


def test_a_job_that_nobody_saw_and_that_has_published_is_lost_with_its_cluster() -> None:
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(
        update={"flink": Live(assignment=assigned(FLINK, 1), at=START)}
    )
    row = Progress(engine=FLINK, epoch=1, frontier=W0 + 5000, at=START)
    pipeline.see(jobs=(), progress=(row,))
    assert not pipeline.asked(RunEngine)
    pipeline.see(after=11)
    assert pipeline.state.phase is Phase.TRIGGERING


# Shared failures


@pytest.mark.parametrize("part", ["kafka", "sink", "model", "ground"])
@pytest.mark.parametrize("probe", [DOWN, UNKNOWN])
def test_shared_failures_do_not_switch(part: str, probe: Probe) -> None:
    fails: dict[str, Any] = {part: probe}
    recovers: dict[str, Any] = {part: UP}
    pipeline = in_normal()
    pipeline.see(after=5, latency_ms=20_000)
    pipeline.see(flink=DOWN, **fails)
    for _ in range(20):
        pipeline.see(after=5, latency_ms=200_000)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.condition("Ready")[1] == "SharedFailure"
    pipeline.see(flink=UP, latency_ms=1000, **recovers)
    pipeline.see(after=11)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.state.frozen_since is None


def test_clocks_stand_still_in_a_shared_failure() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN)
    pipeline.see(after=6, kafka=DOWN)
    pipeline.see(after=60, kafka=UP)
    pipeline.see(after=4)
    assert pipeline.phase() is Phase.NORMAL  # 6 + 4 s
    pipeline.see()
    assert pipeline.phase() is Phase.TRIGGERING


def test_a_start_that_a_shared_failure_interrupts_gets_its_time_back() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN, jobs=())
    pipeline.see(after=11)
    pipeline.see(plan=pipeline.plan())
    pipeline.see(after=40, kafka=DOWN)
    pipeline.see(after=600, kafka=UP)
    pipeline.see(after=40)
    assert pipeline.phase() is Phase.TRIGGERING
    assert pipeline.state.wanted is None  # 80 s of 90: not tried again yet
    assert pipeline.state.dask is not None
    assert pipeline.state.dask.at == START + 13_000 + 600_000


def test_the_row_of_violations_begins_anew_after_a_long_shared_failure() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20)
    pipeline.see(sink=DOWN)
    pipeline.see(after=60, sink=UP)
    assert pipeline.checks(70, 60) is Phase.NORMAL
    assert pipeline.checks(50, 40, 30, 20) is Phase.NORMAL


def test_latency_that_a_shared_failure_has_left_does_not_trigger_until_the_grace_is_over() -> None:
    pipeline = in_normal()
    pipeline.see(kafka=DOWN)
    pipeline.see(after=12, kafka=UP)
    assert pipeline.checks(22, 24, 26, 28, 20, 20, 20, 20, 20, 20, 20) is Phase.NORMAL  # 55 s
    assert pipeline.checks(20, 20) is Phase.NORMAL
    assert pipeline.checks(20) is Phase.TRIGGERING, "an engine that cannot work it off is slow after all"


def test_a_blink_of_a_shared_probe_excuses_no_latency() -> None:
    pipeline = in_normal()
    pipeline.see(kafka=UNKNOWN)
    pipeline.see(after=2, kafka=UP)
    assert pipeline.checks(16, 16, 16) is Phase.TRIGGERING


def test_a_job_that_restarts_after_a_shared_failure_has_its_grace() -> None:
    pipeline = in_normal()
    pipeline.see(kafka=DOWN, jobs=(job(FLINK, 1, JobState.FAILING),))
    pipeline.see(after=60, kafka=UP)
    pipeline.see(after=40)
    assert pipeline.phase() is Phase.NORMAL
    pipeline.see(after=20)
    pipeline.see(after=11)
    assert pipeline.phase() is Phase.TRIGGERING


def test_what_a_job_is_behind_while_it_restarts_after_a_shared_failure_is_not_held_against_it() -> None:
    pipeline = in_normal()
    failing = (job(FLINK, 1, JobState.FAILING),)
    pipeline.see(kafka=DOWN, jobs=failing)
    pipeline.see(after=600, kafka=UP, latency_ms=600_000)
    assert pipeline.checks(605, 610, 615, 620) is Phase.NORMAL
    pipeline.see(jobs=(job(FLINK, 1),))
    assert pipeline.checks(500, 300, 100, 1) is Phase.NORMAL  # it catches up


def test_a_job_that_restarts_for_too_long_after_a_shared_failure_is_judged_by_its_latency_again() -> None:
    pipeline = in_normal(primaryRecoverySeconds=600)
    pipeline.see(kafka=DOWN, jobs=(job(FLINK, 1, JobState.FAILING),))
    pipeline.see(after=600, kafka=UP, latency_ms=600_000)
    assert pipeline.checks(*range(605, 665, 5)) is Phase.NORMAL  # its grace
    assert pipeline.checks(665, 670, 675) is Phase.TRIGGERING
    assert pipeline.state.hand_overs[-1].trigger is TriggerKind.LATENCY


def test_with_use_default_a_dead_primary_is_taken_over_from_without_a_model() -> None:
    pipeline = in_normal()
    spec = pipeline.spec.model_dump(by_alias=True)
    spec["model"]["onUnavailable"] = {"policy": "UseDefault", "default": 1}
    pipeline.spec = StreamPipelineSpec.model_validate(spec)
    pipeline.state = pipeline.state.model_copy(update={"generations": ()})  # it began with this spec
    pipeline.see(model=DOWN)
    assert pipeline.checks(20, 20, 20, 20) is Phase.NORMAL  # slowness is the model's
    pipeline.see(flink=DOWN)
    pipeline.see(after=11)
    assert pipeline.phase() is Phase.TRIGGERING


# Triggering


def test_takeover_from_a_dead_flink() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN, jobs=())
    pipeline.see(after=11)
    plan = pipeline.plan(boundary=W0 + 10_000, repairs_offset=4)
    assert pipeline.asked(RunEngine) == []
    pipeline.see(plan=plan)
    assert pipeline.state.flink is None  # retired beside, in the same record as Dask's assignment
    names = [type(action) for action in pipeline.actions]
    assert names.index(RunEngine) < names.index(StopEngine) < names.index(Revoke)
    assert pipeline.asked(RunEngine)[0].assignment == plan.assignment(1)
    assert pipeline.phase() is Phase.TRIGGERING
    pipeline.see(jobs=(job(DASK, plan.epoch),))
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.state.active is DASK
    assert pipeline.condition("FallbackActive") == ("True", "DaskActive")
    hand_over = pipeline.state.hand_overs[-1]
    assert hand_over.boundary == W0 + 10_000
    assert hand_over.completed == pipeline.now
    assert hand_over.windows_pending > 0
    pipeline.see(progress=(Progress(engine=DASK, epoch=plan.epoch, frontier=W0 + 15_000, at=77),))
    assert pipeline.state.hand_overs[-1].first_result == 77


def test_a_slow_flink_is_kept_until_dask_runs() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20, 20)
    pipeline.see(plan=pipeline.plan())
    assert pipeline.state.flink is not None
    assert not pipeline.asked(StopEngine)
    pipeline.see(jobs=(job(FLINK, 1), job(DASK, pipeline.state.epoch)))
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.asked(StopEngine) == [StopEngine(engine=FLINK, epoch=1)]


def test_of_several_flink_jobs_of_the_live_epoch_all_but_one_are_ended() -> None:
    pipeline = in_normal()
    assert not pipeline.asked(EndDoubles)
    double = job(FLINK, 1).model_copy(update={"doubles": 1})
    pipeline.see(jobs=(double, job(FLINK, 0, JobState.FINISHED)))
    assert pipeline.asked(EndDoubles) == [EndDoubles(epoch=1)]
    assert not pipeline.asked(RunEngine), "it has published: it is never submitted again"
    assert pipeline.phase() is Phase.NORMAL


def test_a_plan_for_another_epoch_is_ignored() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20, 20)
    pipeline.see(plan=pipeline.plan().model_copy(update={"epoch": 5}))
    assert pipeline.state.dask is None


def test_dask_that_cannot_start_gives_back_to_a_living_flink() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20, 20)
    pipeline.see(plan=pipeline.plan())
    pipeline.see(after=89)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.state.flink is not None
    assert pipeline.state.flink.assignment.epoch == 1
    assert [r.assignment.engine for r in pipeline.state.retiring] == [DASK]
    assert pipeline.state.hand_overs[-1].abandoned == pipeline.now


def test_dask_that_cannot_start_gives_back_to_a_recovered_cluster_with_a_new_assignment() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN, jobs=())
    pipeline.see(after=11)
    pipeline.see(plan=pipeline.plan())
    pipeline.see(after=90, flink=UP)
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.asked(PlanStart)[0].engine is FLINK
    epoch = pipeline.state.epoch
    pipeline.see(plan=pipeline.plan())
    pipeline.see(after=20, jobs=(job(FLINK, epoch),))
    assert pipeline.phase() is Phase.NORMAL
    assert epoch > 1


def test_dask_that_cannot_start_is_tried_again_while_flink_is_dead() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN, jobs=())
    pipeline.see(after=11)
    first = pipeline.state.epoch
    pipeline.see(plan=pipeline.plan())
    pipeline.see(after=90)
    assert pipeline.phase() is Phase.TRIGGERING
    assert pipeline.asked(PlanStart)[0].epoch > first


# Fallback and resuming


def test_resuming_waits_for_minimum_time_checks_and_latency() -> None:
    pipeline = in_fallback()
    assert pipeline.checks(20, 20, 20, 20, 20, 20, 20) is Phase.FALLBACK  # 35 s
    assert pipeline.checks(7, 7) is Phase.FALLBACK
    assert pipeline.checks(7) is Phase.RESUMING
    assert pipeline.state.dask is not None
    assert not pipeline.asked(StopEngine)
    assert pipeline.asked(PlanStart)[0].engine is FLINK

    pipeline = in_fallback()
    assert pipeline.checks(1, 1, 1, 1, 1) is Phase.FALLBACK  # 25 s
    assert pipeline.checks(1) is Phase.RESUMING


def test_a_flapping_cluster_is_not_resumed() -> None:
    pipeline = in_fallback()
    for _ in range(5):
        assert pipeline.checks(1, 1) is Phase.FALLBACK
        pipeline.see(flink=DOWN)
        pipeline.see(flink=UP)


@pytest.mark.parametrize("part", ["kafka", "sink", "model", "ground", "flink"])
def test_unknown_does_not_resume(part: str) -> None:
    pipeline = in_fallback()
    for _ in range(30):
        pipeline.see(after=5, **{part: UNKNOWN})
    assert pipeline.phase() is Phase.FALLBACK


def test_a_dask_that_cannot_get_latency_down_does_not_hold_flink_back_for_ever() -> None:
    pipeline = in_fallback()
    pipeline.see(latency_ms=60_000)
    while pipeline.phase() is Phase.FALLBACK:
        pipeline.see(after=5)
    assert 150 <= (pipeline.now - START) / 1000 <= 170


def test_hand_back_when_flink_has_published_what_dask_had() -> None:
    pipeline = in_resuming()
    pipeline.see()
    rows = (*pipeline.seen.progress, Progress(engine=FLINK, epoch=3, frontier=W0 + 20_000, at=START))
    pipeline.see(progress=rows)
    assert pipeline.phase() is Phase.RESUMING  # its latency is 9 s
    pipeline.see(jobs=(job(DASK, 2), job(FLINK, 3, latency=2000)))
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.state.active is FLINK
    assert pipeline.asked(StopEngine) == [StopEngine(engine=DASK, epoch=2)]
    assert pipeline.asked(ScaleDask) == [ScaleDask(workers=0)]


def test_low_latency_alone_is_not_caught_up_but_nothing_closable_is() -> None:
    pipeline = in_resuming()
    pipeline.see(jobs=(job(DASK, 2), job(FLINK, 3, latency=2000)))
    assert pipeline.phase() is Phase.RESUMING
    pipeline.see(jobs=(job(DASK, 2), job(FLINK, 3, latency=0)))
    assert pipeline.phase() is Phase.NORMAL


def test_unknown_model_does_not_hand_back() -> None:
    pipeline = in_resuming()
    pipeline.see(model=UNKNOWN, jobs=(job(DASK, 2), job(FLINK, 3, latency=0)))
    assert pipeline.phase() is Phase.RESUMING


def test_time_out_goes_back_with_a_backoff_that_doubles() -> None:
    pipeline = in_resuming()
    pauses: list[int] = []
    for _ in range(7):
        pipeline.state = pipeline.state.model_copy(
            update={
                "phase": Phase.RESUMING,
                "flink": live(FLINK, 3, at=pipeline.now),
                "timers": Timers(phase=pipeline.now),
            }
        )
        pipeline.see(after=119)
        assert pipeline.phase() is Phase.RESUMING
        pipeline.see()
        assert pipeline.phase() is Phase.FALLBACK
        assert pipeline.state.flink is None
        pauses.append((pipeline.state.backoff.until - pipeline.now) // 1000)
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


def test_backoff_is_waited_out_and_forgotten_after_a_hand_back() -> None:
    pipeline = in_fallback()
    pipeline.state = pipeline.state.model_copy(update={"backoff": Backoff(count=3, until=START + 60_000)})
    assert pipeline.checks(*[1] * 11) is Phase.FALLBACK
    assert pipeline.checks(1) is Phase.RESUMING
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(DASK, 2), job(FLINK, pipeline.state.epoch, latency=0)))
    assert pipeline.phase() is Phase.NORMAL
    assert pipeline.state.backoff.count == 0


@pytest.mark.parametrize("sight", [{"flink": DOWN}, {"jobs": (job(DASK, 2),)}])
def test_flink_that_dies_while_resuming_gives_back_at_once(sight: dict[str, Any]) -> None:
    pipeline = in_resuming()
    pipeline.see(**sight)
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.state.reason == "latency 8.4 s above 5 s"
    assert [r.assignment.engine for r in pipeline.state.retiring] == [FLINK]


def test_dask_that_dies_while_resuming_leaves_it_to_flink_if_that_runs() -> None:
    pipeline = in_resuming()
    pipeline.see(jobs=(job(FLINK, 3, latency=9000),))
    assert pipeline.phase() is Phase.NORMAL

    pipeline = in_resuming()
    pipeline.see(after=11, jobs=(job(FLINK, 3, JobState.STARTING),))
    assert pipeline.phase() is Phase.FALLBACK
    pipeline.see()
    assert pipeline.asked(PlanStart)[0].engine is DASK


def test_dead_driver_is_replaced_at_the_frontier_with_a_new_epoch() -> None:
    pipeline = in_fallback()
    pipeline.see(after=11, jobs=())
    wanted = pipeline.asked(PlanStart)[0]
    assert (wanted.engine, wanted.epoch > 2) == (DASK, True)
    pipeline.see(plan=pipeline.plan(boundary=W0 + 15_000))
    assert pipeline.state.dask is not None
    assert pipeline.state.dask.assignment.boundary == W0 + 15_000
    assert [r.assignment.epoch for r in pipeline.state.retiring] == [2]
    assert pipeline.phase() is Phase.FALLBACK


def test_a_dask_that_cannot_run_lets_flink_resume_without_its_latency() -> None:
    pipeline = in_fallback()
    pipeline.see(jobs=(), latency_ms=90_000)
    while pipeline.phase() is Phase.FALLBACK:
        pipeline.see(after=5, latency_ms=90_000)
    assert (pipeline.now - START) / 1000 <= 100
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(FLINK, pipeline.state.epoch, latency=90_000),))
    assert pipeline.phase() is Phase.NORMAL


# Retirement, fences and repairs


def test_retired_engines_are_stopped_and_fenced_until_both_are_seen() -> None:
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(
        update={"retiring": (Retiring(assignment=assigned(DASK, 0, repairs_offset=9)),)}
    )
    both = (job(FLINK, 1), job(DASK, 0))
    pipeline.see(jobs=both)
    assert pipeline.asked(StopEngine) == [StopEngine(engine=DASK, epoch=0)]
    assert pipeline.asked(Revoke) == [Revoke(engine=DASK, epoch=0)]
    assert pipeline.condition("Fenced") == ("Unknown", "RetirementPending")
    pipeline.see(fenced=(Writer(engine=DASK, epoch=0),))
    assert pipeline.asked(StopEngine)
    assert not pipeline.asked(Revoke)
    assert pipeline.asked(RewindRepairs) == [RewindRepairs(number=1, offset=9)]
    pipeline.see(jobs=(job(FLINK, 1),))
    assert pipeline.state.retiring == ()
    assert pipeline.asked(RewindRepairs) == [RewindRepairs(number=1, offset=9)]
    pipeline.see(repairs=Repairs(rewound=1))
    assert not pipeline.asked(RewindRepairs)
    pipeline.see(repairs=Repairs())
    assert not pipeline.asked(RewindRepairs), "a ground that begins anew need not repeat it"


def test_two_retirements_rewind_to_the_earlier_offset() -> None:
    pipeline = in_normal()
    retired = (assigned(DASK, 0, repairs_offset=4), assigned(FLINK, 0, repairs_offset=9))
    pipeline.state = pipeline.state.model_copy(
        update={"retiring": tuple(Retiring(assignment=a) for a in retired)}
    )
    pipeline.see(repairs=Repairs(rewound=6), fenced=(Writer(engine=DASK, epoch=0),))
    pipeline.see(fenced=(Writer(engine=DASK, epoch=0), Writer(engine=FLINK, epoch=0)))
    assert pipeline.asked(RewindRepairs) == [RewindRepairs(number=8, offset=4)]


def test_without_tokens_a_stopped_job_counts_as_fenced_and_it_is_said() -> None:
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(update={"retiring": (Retiring(assignment=assigned(DASK, 0)),)})
    pipeline.see(fencing=False, jobs=(job(FLINK, 1), job(DASK, 0)))
    assert pipeline.condition("Fenced") == ("False", "NoTokens")
    assert pipeline.state.retiring
    pipeline.see(jobs=(job(FLINK, 1),))
    assert not pipeline.state.retiring


def test_a_job_behind_a_cluster_that_is_down_is_not_known_to_be_stopped() -> None:
    pipeline = in_fallback()
    pipeline.state = pipeline.state.model_copy(
        update={"retiring": (Retiring(assignment=assigned(FLINK, 1)),)}
    )
    pipeline.see(flink=DOWN, fenced=(Writer(engine=FLINK, epoch=1),))
    assert len(pipeline.state.retiring) == 1
    pipeline.see(flink=UP)
    assert not pipeline.state.retiring


def test_repairs_run_only_while_one_engine_may_write_and_has_reached_the_frontier() -> None:
    pipeline = in_normal()
    row = Progress(engine=DASK, epoch=0, frontier=W0 + 20_000, at=START)
    pipeline.see(repairs=Repairs(pending=3), progress=(row,))
    assert not pipeline.asked(Repair)  # Dask has published more
    own = Progress(engine=FLINK, epoch=1, frontier=W0 + 25_000, at=START)
    pipeline.see(progress=(row, own))
    assert pipeline.asked(Repair) == [Repair(until=W0 + 25_000, generation=1)]
    pipeline.see(jobs=(*pipeline.seen.jobs, job(DASK, 77)))  # nobody knows this one
    assert not pipeline.asked(Repair)
    assert StopEngine(engine=DASK, epoch=77) in pipeline.actions
    pipeline.see(jobs=(job(FLINK, 1),), sink=DOWN)
    assert not pipeline.asked(Repair)
    pipeline.see(sink=UP, repairs=Repairs(pending=0))
    assert not pipeline.asked(Repair)


def test_no_repair_while_two_engines_may_write() -> None:
    pipeline = in_resuming()
    own = Progress(engine=FLINK, epoch=3, frontier=W0 + 25_000, at=START)
    slow = (job(DASK, 2), job(FLINK, 3, latency=9000))
    pipeline.see(repairs=Repairs(pending=3), progress=(*pipeline.seen.progress, own), jobs=slow)
    assert pipeline.phase() is Phase.RESUMING
    assert not pipeline.asked(Repair)


def test_no_repair_before_a_retired_engine_is_fenced() -> None:
    pipeline = in_normal()
    retired = (Retiring(assignment=assigned(DASK, 0)),)
    pipeline.state = pipeline.state.model_copy(update={"retiring": retired})
    pipeline.see(repairs=Repairs(pending=3))
    assert not pipeline.asked(Repair), "its job is gone, but not its right to write"
    pipeline.see(fenced=(Writer(engine=DASK, epoch=0),))
    assert not pipeline.asked(Repair), "what it may have overwritten comes first"
    pipeline.see(repairs=Repairs(pending=3, rewound=1))
    assert pipeline.asked(Repair)


def test_progress_of_another_generation_sets_no_frontier() -> None:
    pipeline = in_normal()
    own = Progress(engine=FLINK, epoch=1, frontier=W0 + 10_000, at=START)
    other = Progress(engine=FLINK, epoch=1, generation=2, frontier=W0 + 90_000, at=START)
    pipeline.see(repairs=Repairs(pending=3), progress=(own, other))
    assert pipeline.asked(Repair) == [Repair(until=W0 + 10_000, generation=1)]


# Controls


def test_drill_fails_over_once_and_hands_back() -> None:
    pipeline = in_normal()
    pipeline.see(controls=Controls(drill="friday"))
    assert pipeline.state.hand_overs[-1].trigger is TriggerKind.DRILL
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(DASK, pipeline.state.epoch),))
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.checks(1, 1, 1, 1, 1, 1, 1) is Phase.RESUMING
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(FLINK, pipeline.state.epoch, latency=0), *pipeline.seen.jobs))
    assert pipeline.phase() is Phase.NORMAL
    pipeline.see(after=60)
    assert pipeline.phase() is Phase.NORMAL
    assert not pipeline.state.latency_switches


def test_in_a_drill_flink_goes_on_until_dask_has_a_result() -> None:
    pipeline = in_normal()
    pipeline.see(controls=Controls(drill="friday"))
    pipeline.see(plan=pipeline.plan())
    epoch = pipeline.state.epoch
    pipeline.see(jobs=(job(FLINK, 1), job(DASK, epoch, latency=9000)))
    assert pipeline.phase() is Phase.TRIGGERING
    assert not pipeline.asked(StopEngine)
    row = Progress(engine=DASK, epoch=epoch, frontier=W0 + 5_000, at=START)
    pipeline.see(progress=(row,))
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.asked(StopEngine) == [StopEngine(engine=FLINK, epoch=1)]


def test_a_drill_of_a_silent_source_waits_for_no_result() -> None:
    pipeline = in_normal()
    pipeline.see(controls=Controls(drill="friday"), latency_ms=0)
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(FLINK, 1, latency=0), job(DASK, pipeline.state.epoch, latency=0)))
    assert pipeline.phase() is Phase.FALLBACK


def test_a_drill_while_flink_is_pinned_does_not_come_as_a_surprise_later() -> None:
    pipeline = in_normal()
    pipeline.see(controls=Controls(drill="friday", pin=FLINK))
    pipeline.see(controls=Controls(drill="friday"))
    assert pipeline.phase() is Phase.NORMAL


def test_a_drill_in_fallback_does_not_come_as_a_surprise_later() -> None:
    pipeline = in_fallback()
    pipeline.see(controls=Controls(drill="friday"))
    assert pipeline.state.drill == "friday"
    assert pipeline.events[-1].reason == "DrillSkipped"


def test_pin_to_dask_switches_and_stays() -> None:
    pipeline = in_normal()
    pipeline.see(controls=Controls(pin=DASK))
    assert pipeline.phase() is Phase.TRIGGERING
    assert pipeline.state.hand_overs[-1].trigger is TriggerKind.PIN
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(DASK, pipeline.state.epoch),))
    assert pipeline.checks(*[1] * 40) is Phase.FALLBACK
    pipeline.see(controls=Controls())
    assert pipeline.checks(1, 1) is Phase.RESUMING


def test_pin_to_flink_forbids_switches_and_restarts_a_lost_job_in_place() -> None:
    pipeline = in_normal()
    pipeline.see(controls=Controls(pin=FLINK))
    assert pipeline.checks(*[60] * 10) is Phase.NORMAL
    pipeline.see(jobs=())
    assert pipeline.asked(PlanStart)[0].engine is FLINK
    pipeline.see(plan=pipeline.plan())
    assert pipeline.state.flink is not None
    assert pipeline.state.flink.assignment.epoch > 1
    pipeline.see(after=600)
    assert pipeline.phase() is Phase.NORMAL


def test_pin_to_flink_hands_back_when_flink_runs() -> None:
    pipeline = in_fallback()
    pipeline.see(controls=Controls(pin=FLINK), latency_ms=60_000)
    assert pipeline.phase() is Phase.RESUMING
    assert pipeline.state.dask is not None
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(DASK, 2), job(FLINK, pipeline.state.epoch, latency=60_000)))
    assert pipeline.phase() is Phase.NORMAL


def test_suspend_retires_all_and_starts_again_at_the_frontier() -> None:
    pipeline = in_resuming()
    pipeline.spec = pipeline.spec.model_copy(update={"suspend": True})
    pipeline.see()
    assert {r.assignment.engine for r in pipeline.state.retiring} == {FLINK, DASK}
    assert pipeline.asked(ScaleDask) == [ScaleDask(workers=0)]
    assert pipeline.asked(EnsureFlinkCluster) == [
        EnsureFlinkCluster(up=True)
    ]  # the job is still to be stopped
    assert pipeline.condition("Ready") == ("False", "Suspended")
    pipeline.see(jobs=(), fenced=(Writer(engine=FLINK, epoch=3), Writer(engine=DASK, epoch=2)))
    assert pipeline.asked(EnsureFlinkCluster) == [EnsureFlinkCluster(up=False)]
    assert not pipeline.asked(PlanStart)
    pipeline.spec = pipeline.spec.model_copy(update={"suspend": False})
    pipeline.see()
    assert pipeline.phase() is Phase.STARTUP
    assert pipeline.asked(PlanStart)[0].engine is FLINK


def test_new_partitions_start_a_new_epoch() -> None:
    pipeline = in_normal()
    pipeline.see(partitions=(0,))
    assert pipeline.state.wanted is None
    pipeline.see(partitions=(0, 1))
    assert pipeline.asked(PlanStart)[0].engine is FLINK
    plan = pipeline.plan().model_copy(update={"offsets": {0: 7, 1: 0}})
    pipeline.see(plan=plan)
    assert [r.assignment.epoch for r in pipeline.state.retiring] == [1]
    assert pipeline.phase() is Phase.NORMAL


# Retention


def test_passed_retention_stops_and_goes_on_only_by_the_users_word() -> None:
    pipeline = in_normal()
    pipeline.see(flink=DOWN, jobs=())
    pipeline.see(after=11)
    epoch = pipeline.state.epoch
    gone = PlanFailed(engine=DASK, epoch=epoch, reason="RetentionPassed", records_gone=1234)
    pipeline.see(plan=gone)
    assert pipeline.condition("Exact") == ("False", "RetentionPassed")
    assert pipeline.condition("Ready") == ("False", "RetentionPassed")
    assert "1234 records" in headline(pipeline.state, pipeline.seen, pipeline.now)
    pipeline.see(after=600)
    assert not pipeline.asked(PlanStart)
    pipeline.see(controls=Controls(accept_loss="yes"))
    assert pipeline.asked(PlanStart)[0].accept_loss
    assert pipeline.state.epoch > epoch
    pipeline.see(plan=pipeline.plan())
    pipeline.see(jobs=(job(DASK, pipeline.state.epoch),))
    assert pipeline.phase() is Phase.FALLBACK
    assert pipeline.condition("Exact") == ("False", "LossAccepted")
    assert pipeline.state.lost_records == 1234


def test_other_failures_of_a_plan_are_tried_again() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20, 20)
    pipeline.see(plan=PlanFailed(engine=DASK, epoch=pipeline.state.epoch, reason="TimedOut"))
    assert pipeline.state.halt is None
    assert pipeline.asked(PlanStart)


def test_retention_does_not_stop_an_engine_that_runs() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20, 20)
    pipeline.see(
        plan=PlanFailed(engine=DASK, epoch=pipeline.state.epoch, reason="RetentionPassed", records_gone=1)
    )
    assert pipeline.state.halt is None
    pipeline.see(after=90)
    assert pipeline.phase() is Phase.NORMAL


# What is stored and said


def test_epochs_follow_the_last_and_the_clock() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20, 20)
    assert pipeline.state.epoch == pipeline.now // 1000
    pipeline = in_normal()
    pipeline.state = pipeline.state.model_copy(update={"epoch": START})
    pipeline.checks(20, 20, 20)
    assert pipeline.state.epoch == START + 1


def test_quiet_looks_are_not_worth_writing() -> None:
    pipeline = in_normal()
    before = pipeline.state
    pipeline.see(after=5, latency_ms=1234)
    assert pipeline.state != before
    assert not worth_writing(before, pipeline.state)
    pipeline.see(kafka=DOWN)
    assert worth_writing(before, pipeline.state)


def test_transition_time_changes_with_the_status_only() -> None:
    pipeline = in_normal()
    first = pipeline.state.condition("SinkReady")
    pipeline.see(after=5)
    assert pipeline.state.condition("SinkReady") == first
    pipeline.see(sink=DOWN)
    changed = pipeline.state.condition("SinkReady")
    assert changed is not None
    assert (changed.status, changed.last_transition_time) == (ConditionStatus.FALSE, pipeline.now)


def test_exact_tells_of_dropped_records_and_of_repairs_that_cannot_be() -> None:
    pipeline = in_normal()
    assert pipeline.condition("Exact") == ("True", "NothingLost")
    pipeline.see(dropped=2)
    assert pipeline.condition("Exact") == ("False", "RecordsDropped")
    pipeline.see(dropped=0, repairs=Repairs(cut=1))
    assert pipeline.condition("Exact") == ("False", "RepairCut")
    pipeline.see(repairs=Repairs())
    assert pipeline.condition("Exact") == ("False", "RepairCut"), "a new operator counts from nothing"


def test_cold_start_keeps_what_exactness_needs() -> None:
    pipeline = in_resuming()
    fresh = cold(pipeline.state, START + 5)
    assert fresh.phase is Phase.STARTUP
    assert fresh.origin == pipeline.state.origin
    assert fresh.epoch == 3
    assert [r.assignment.epoch for r in fresh.retiring] == [3, 2]


def test_headlines() -> None:
    pipeline = in_fallback()
    assert headline(pipeline.state, WELL, START + 192_000) == "Dask active for 3m12s: latency 8.4 s above 5 s"
    pipeline = in_normal()
    assert headline(pipeline.state, pipeline.seen, START + 61_000) == "Flink active for 1m01s: latency 1 s"
    pipeline.see(kafka=DOWN)
    said = headline(pipeline.state, pipeline.seen, pipeline.now + 12_000)
    assert said == "Kafka is down (refused) for 12s: a switch would not help, Flink active"


def test_explanations_agree_with_decisions() -> None:
    pipeline = in_normal()
    pipeline.checks(20, 20)
    rules = {rule.name: rule for rule in explain(pipeline.seen, pipeline.state, pipeline.now, pipeline.spec)}
    assert not any(rule.fires for rule in rules.values())
    assert "2 of 3 checks above 15 s" in rules["Latency"].inputs
    assert rules["Latency"].would.startswith("1 more checks")
    pipeline = in_fallback()
    pipeline.checks(1, 1, 1, 1, 1)
    rule = explain(pipeline.seen, pipeline.state, pipeline.now, pipeline.spec)[-1]
    assert (rule.name, rule.fires) == ("Resume", False)
    assert "minimum time over in 5s" in rule.inputs
