"""What the shipped `decide` says to a look at the world, in the world's terms; each decision is made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model import world as w
from tests.model.normal import canonical, shifted
from tests.model.world import Effect, Look, Plan, World
from tests.support.decisions import decision_spec

from streampipeline import ground
from streampipeline.decide import Observed, State, decide
from streampipeline.decide import actions as act
from streampipeline.decide import state as remembered
from streampipeline.decide.facts import frontier
from streampipeline.decide.observed import (
    RETENTION_PASSED,
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
from streampipeline.jobconfig import EngineName, Origin

NAMES = (EngineName.FLINK, EngineName.DASK, EngineName.REPAIR)
SLIDE = 5000
LOW_MS, HIGH_MS = 3000, 100_000
"""Latencies: of an engine that is one young window behind, and of any other that is behind."""
_JOBS = {
    w.STARTING: JobState.STARTING,
    w.RUNNING: JobState.RUNNING,
    w.FAILING: JobState.FAILING,
    w.ENDED: JobState.FINISHED,
}


_THRESHOLDS = {
    "checkIntervalSeconds": 1,
    "violations": 1,
    "resumeChecks": 1,
    "primaryRecoverySeconds": 1,
    "minimumFallbackSeconds": 0,
    "resumeTimeoutSeconds": 1,
}
_IMPATIENT = {"latencySeconds": 2, "resumeLatencySeconds": 1}

SPECS = (
    decision_spec(_THRESHOLDS),
    decision_spec(_THRESHOLDS, suspend=True),
    decision_spec(_THRESHOLDS | _IMPATIENT),
)
"""In force at first; suspended; with thresholds at which a young window is late already."""


@dataclass(frozen=True)
class Asked:
    """One effect that a decision asks for, and the executor's rule for it."""

    effect: Effect
    identity: str


@dataclass(frozen=True)
class Turned:
    """What a decision comes to."""

    state: int
    worth_writing: bool
    asked: tuple[Asked, ...]
    problem: str | None


@dataclass
class Book:
    """All states of the decisions met so far, by number, and what was decided in them."""

    states: list[State] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _turned: dict[tuple[object, ...], Turned] = field(default_factory=dict)
    _later: dict[int, int] = field(default_factory=dict)
    _identities: dict[Effect, str] = field(default_factory=dict)

    @property
    def decisions(self) -> int:
        """Different ones that were made."""
        return len(self._turned)

    def number(self, state: State) -> int:
        """Of a state in its normal form."""
        normal = canonical(state)
        key = normal.model_dump_json()
        if key not in self._numbers:
            self._numbers[key] = len(self.states)
            self.states.append(normal)
        return self._numbers[key]

    def first(self) -> int:
        """Of a pipeline never seen before."""
        return self.number(State.initial(0))

    def later(self, state: int) -> int:
        """The same state when a step of time is over."""
        if state not in self._later:
            self._later[state] = self.number(shifted(self.states[state]))
        return self._later[state]

    def identity(self, effect: Effect) -> str:
        """The executor's name of an effect that was asked for."""
        return self._identities[effect._replace(stage=0)]

    def turn(self, world: World, look: Look) -> Turned:
        """Decide on `look`; what the operator knows by itself is never stale."""
        own = (world.plan, world.fenced, world.rewound, world.done)
        key = (world.mind, look, own, world.pin, world.drills, world.accepts, world.spec)
        if key not in self._turned:
            self._turned[key] = self._decide(world, look)
        return self._turned[key]

    def _decide(self, world: World, look: Look) -> Turned:
        before, spec = self.states[world.mind], SPECS[world.spec]
        seen = observed(world, look, before)
        decision = decide(seen, before, 0, spec)
        after = canonical(decision.state)
        return Turned(
            state=self.number(after),
            worth_writing=remembered.worth_writing(before, after),
            asked=tuple(self._asked(action) for action in decision.actions if effect_of(action)),
            problem=problem_of(look, before, after),
        )

    def _asked(self, action: act.Action) -> Asked:
        effect = effect_of(action)
        assert effect is not None
        self._identities[effect] = ground.identity(action)
        return Asked(effect, ground.identity(action))


def observed(world: World, look: Look, state: State) -> Observed:
    """The look as decisions are given it."""
    ground_up = look.shared != w.GROUND_UNKNOWN
    rows = tuple(
        Progress(engine=NAMES[engine], epoch=epoch, frontier=at * SLIDE, at=0)
        for (engine, epoch), at in look.rows
    )
    rows += (Progress(engine=EngineName.FLINK, epoch=9, generation=2, frontier=99 * SLIDE, at=0),)
    newest = frontier(Observed(progress=rows), state)
    up, down = Probe(health=Health.UP), Probe(health=Health.DOWN)
    answer: StartPlan | PlanFailed | None = None
    if world.plan is not None:
        answer = plan_of(world.plan)
    return Observed(
        ground=up if ground_up else Probe(),
        kafka=up,
        sink=down if look.shared == w.SINK_DOWN else up,
        model=up,
        flink=up if look.flink_up else down if ground_up else Probe(),
        dask=up,
        jobs=tuple(_job(job, look, state) for job in look.jobs),
        progress=rows,
        latency_ms=None if newest is None else latency(look, newest // SLIDE),
        fenced=tuple(Writer(engine=NAMES[engine], epoch=epoch) for engine, epoch in world.fenced),
        repairs=Repairs(pending=max(0, world.frontier() - world.done), rewound=world.rewound),
        origin=Origin(boundary=0, offsets={0: 0}),
        plan=answer,
        controls=Controls(
            pin=None if world.pin is None else NAMES[world.pin],
            drill=str(world.drills) if world.drills else None,
            accept_loss=str(world.accepts) if world.accepts else None,
        ),
    )


def _job(job: w.Job, look: Look, state: State) -> Job:
    engine, epoch = job.writer
    live = state.live(NAMES[engine])
    own = None
    if live is not None and live.assignment.epoch == epoch:
        own = latency(look, dict(look.rows).get(job.writer, live.assignment.boundary // SLIDE))
    return Job(engine=NAMES[engine], epoch=epoch, state=_JOBS[job.phase], latency_ms=own)


def latency(look: Look, reached: int) -> int:
    """From a frontier on."""
    behind = look.closable - reached
    if behind <= 0:
        return 0
    return LOW_MS if behind == 1 and look.fresh else HIGH_MS


def plan_of(plan: Plan) -> StartPlan | PlanFailed:
    """The plan as the ground reports it."""
    engine, epoch = NAMES[plan.writer[0]], plan.writer[1]
    if plan.boundary < 0:
        return PlanFailed(engine=engine, epoch=epoch, reason=RETENTION_PASSED, records_gone=1)
    return StartPlan(
        engine=engine,
        epoch=epoch,
        boundary=plan.boundary * SLIDE,
        offsets={0: 0},
        repairs_offset=plan.repairs_offset,
    )


def effect_of(action: act.Action) -> Effect | None:
    """The action in the world's terms; None: it does not matter there, or is carried out at once."""
    match action:
        case act.PlanStart():
            return Effect("plan", writer_of(action.engine, action.epoch), int(action.accept_loss))
        case act.RunEngine(assignment=a):
            return Effect("run", writer_of(a.engine, a.epoch), a.boundary // SLIDE, a.repairs_offset)
        case act.StopEngine():
            return Effect("stop", writer_of(action.engine, action.epoch))
        case act.Revoke():
            return Effect("revoke", writer_of(action.engine, action.epoch))
        case act.RewindRepairs():
            return Effect("rewind", number=action.number, offset=action.offset)
        case act.Repair():
            return Effect("repair", number=action.until // SLIDE)
        case _:
            return None


def writer_of(engine: EngineName, epoch: int) -> w.Writer:
    """In the world's terms."""
    return NAMES.index(engine), epoch


def writers(state: State) -> Iterator[w.Writer]:
    """Of the assignments in force."""
    for live in (state.flink, state.dask):
        if live is not None:
            yield writer_of(live.assignment.engine, live.assignment.epoch)


def problem_of(look: Look, before: State, after: State) -> str | None:
    """What is wrong with one decision by itself; None: nothing."""
    if after.epoch < before.epoch:
        return "the epoch goes back"
    retired = {writer_of(r.assignment.engine, r.assignment.epoch) for r in after.retiring}
    for writer in retired.intersection(writers(after)):
        return f"{w.name(writer)} is in force and retired"
    moved = after.phase is not before.phase or after.epoch != before.epoch
    if moved and look.shared != w.UP and not (before.suspended or after.suspended):
        return "a switch in a shared failure"
    return None
