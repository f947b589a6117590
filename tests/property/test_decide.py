"""The state machine in a small world that carries out its actions late, partly or not at all.

The world holds the truth that no probe sees: retired jobs that still write behind a cluster that is down,
plans that take their time, a control plane that dies between storing a state and acting on it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st
from tests.support.decisions import decision_spec

from streampipeline.api.definition import Definition
from streampipeline.api.spec import Aggregate, Function, StreamPipelineSpec
from streampipeline.decide import Decision, Observed, Phase, State, decide
from streampipeline.decide.actions import (
    Action,
    FixOrigin,
    PlanStart,
    Repair,
    Revoke,
    RewindRepairs,
    RunEngine,
    ScaleDask,
    StopEngine,
)
from streampipeline.decide.observed import (
    Controls,
    Health,
    Job,
    JobState,
    Probe,
    Progress,
    Repairs,
    StartPlan,
    Writer,
)
from streampipeline.decide.state import TriggerKind
from streampipeline.jobconfig import EngineName, Origin

FLINK, DASK = EngineName.FLINK, EngineName.DASK
START = 1_700_000_000_000
SIZE, DELAY, FENCE_WAIT = 5000, 2000, 10_000
SHARED = ("kafka", "sink", "model", "ground")

SPEC = decision_spec({})


@dataclass
class Running:
    engine: EngineName
    epoch: int
    frontier: int
    ready_at: int
    failed: bool = False
    stop_at: int | None = None
    generation: int = 1
    hidden: bool = False
    """Its cluster is gone: no probe sees it, and it may still write until it is fenced."""


@dataclass
class World:
    chance: random.Random
    now: int = START
    spec: StreamPipelineSpec = SPEC
    edits: int = 0
    health: dict[str, Health] = field(
        default_factory=lambda: dict.fromkeys((*SHARED, "flink", "dask"), Health.UP)
    )
    slow: set[EngineName] = field(default_factory=set)
    broken: set[EngineName] = field(default_factory=set)
    """Engines whose new jobs fail at once."""
    jobs: dict[tuple[EngineName, int], Running] = field(default_factory=dict)
    published: dict[tuple[EngineName, int], int] = field(default_factory=dict)
    revoked: dict[tuple[EngineName, int], int] = field(default_factory=dict)
    generations: dict[tuple[EngineName, int], int] = field(default_factory=dict)
    """Of each job that ever was."""
    plan: tuple[int, StartPlan] | None = None
    origin: Origin | None = None
    rewound: int = 0
    workers: int = 0
    controls: Controls = field(default_factory=Controls)

    def closable(self) -> int:
        return (self.now - DELAY) // SIZE * SIZE

    def frontier(self) -> int:
        return max(self.published.values(), default=START // SIZE * SIZE)

    def latency(self, frontier: int) -> int:
        return max(0, self.now - frontier - SIZE - DELAY) if self.closable() > frontier else 0

    def fenced(self) -> set[tuple[EngineName, int]]:
        return {writer for writer, at in self.revoked.items() if self.now - at >= FENCE_WAIT}

    def writers(self) -> set[tuple[EngineName, int]]:
        """Jobs that could write a point now."""
        return set(self.jobs) - self.fenced()

    def pass_time(self, ms: int) -> None:
        self.now += ms
        up = all(self.health[name] is Health.UP for name in SHARED)
        for name, job in list(self.jobs.items()):
            if self.health["flink"] is not Health.UP and job.engine is FLINK:
                job.hidden = True
            if (job.stop_at is not None and self.now >= job.stop_at) or (
                job.hidden and self.chance.random() < 0.05
            ):
                del self.jobs[name]
            elif not job.failed and self.now >= job.ready_at and up and job.engine not in self.slow:
                job.frontier = max(job.frontier, min(self.closable(), job.frontier + 50 * ms))
                if name not in self.revoked and job.frontier // SIZE * SIZE > self.published.get(name, 0):
                    self.published[name] = job.frontier // SIZE * SIZE
                    older = {n for n in self.writers() if self.jobs[n].generation < job.generation}
                    assert not older, "an older generation's engine may still write"

    def look(self) -> Observed:
        def probe(name: str) -> Probe:
            return Probe(health=self.health[name])

        seen = self.health["ground"] is Health.UP
        flink_seen = seen and self.health["flink"] is Health.UP
        jobs = [
            Job(
                engine=job.engine,
                epoch=job.epoch,
                state=self.state_of(job),
                latency_ms=self.latency(job.frontier),
            )
            for job in self.jobs.values()
            if not job.hidden and (flink_seen if job.engine is FLINK else seen)
        ]
        kafka = self.health["kafka"] is Health.UP
        rows = [
            Progress(
                engine=engine,
                epoch=epoch,
                generation=self.generations[engine, epoch],
                frontier=at,
                at=self.now,
            )
            for (engine, epoch), at in self.published.items()
        ]
        return Observed(
            ground=probe("ground"),
            kafka=probe("kafka"),
            sink=probe("sink"),
            model=probe("model"),
            next_model=probe("model"),
            flink=probe("flink") if seen else Probe(),
            dask=probe("dask") if seen else Probe(),
            dask_workers=self.workers,
            jobs=tuple(jobs),
            progress=tuple(rows) if kafka else (),
            latency_ms=self.latency(self.frontier()) if kafka else None,
            fenced=tuple(Writer(engine=engine, epoch=epoch) for engine, epoch in sorted(self.fenced())),
            repairs=Repairs(pending=1, rewound=self.rewound),
            origin=self.origin,
            plan=self.plan[1] if self.plan and self.now >= self.plan[0] else None,
            controls=self.controls,
        )

    def state_of(self, job: Running) -> JobState:
        if job.failed:
            return JobState.FINISHED
        return JobState.RUNNING if self.now >= job.ready_at else JobState.STARTING

    def carry_out(self, action: Action) -> None:
        if isinstance(action, FixOrigin):
            self.origin = self.origin or Origin(boundary=START // SIZE * SIZE, offsets={0: 0})
        elif isinstance(action, PlanStart):
            if self.plan is None or self.plan[1].epoch != action.epoch:
                assert not (action.clear and self.writers()), "points are removed while nobody may write"
                answer = StartPlan(
                    engine=action.engine, epoch=action.epoch, boundary=self.frontier(), offsets={0: 0}
                )
                self.plan = (self.now + self.chance.choice((0, 0, 3000)), answer)
        elif isinstance(action, RunEngine):
            self.run(action)
        elif isinstance(action, StopEngine):
            job = self.jobs.get((action.engine, action.epoch))
            if job is not None and job.stop_at is None and not job.hidden:
                job.stop_at = self.now + self.chance.choice((0, 1000, 20_000))
        elif isinstance(action, Revoke):
            self.revoked.setdefault((action.engine, action.epoch), self.now)
        elif isinstance(action, RewindRepairs):
            self.rewound = max(self.rewound, action.number)
        elif isinstance(action, ScaleDask):
            self.workers = action.workers

    def run(self, action: RunEngine) -> None:
        name = (action.assignment.engine, action.assignment.epoch)
        if name in self.jobs or name in self.revoked or (name[0] is DASK and not self.workers):
            return
        delay = self.chance.choice((7000, 20_000)) if name[0] is FLINK else self.chance.choice((2000, 15_000))
        assert action.generation is not None
        self.generations[name] = action.assignment.generation
        self.jobs[name] = Running(
            engine=name[0],
            epoch=name[1],
            generation=action.assignment.generation,
            frontier=action.assignment.boundary,
            ready_at=self.now + delay,
            failed=name[0] in self.broken,
        )


@dataclass
class Control:
    """The loop of a ground: look, decide, store, act; it may die in between."""

    world: World
    state: State = field(default_factory=lambda: State.initial(START))
    crashes: bool = True

    def turn(self, ms: int) -> Decision:
        world, before = self.world, self.state
        world.pass_time(ms)
        seen = world.look()
        decision = decide(seen, before, world.now, world.spec)
        check_step(world, seen, before, decision)
        again = decide(seen, before, world.now, world.spec)
        assert again == decision
        fate = world.chance.random() if self.crashes else 1.0
        if fate < 0.05:
            return decision  # died before it was stored
        self.state = State.model_validate_json(decision.state.model_dump_json(by_alias=True))
        assert self.state == decision.state
        kept = decision.actions
        if fate < 0.15:
            kept = kept[: world.chance.randrange(len(kept) + 1)]
        for action in kept:
            world.carry_out(action)
        return decision


def names(state: State) -> set[tuple[EngineName, int]]:
    return {(live.assignment.engine, live.assignment.epoch) for live in (state.flink, state.dask) if live}


def check_step(world: World, seen: Observed, before: State, decision: Decision) -> None:
    after = decision.state
    assert after.epoch >= before.epoch
    assert after.flink is None or after.flink.assignment.engine is FLINK
    assert after.dask is None or after.dask.assignment.engine is DASK
    for engine, epoch in names(after) - names(before):
        assert epoch == before.epoch, "an assignment has the epoch given out last"
        assert all(epoch > old for _, old in names(before)), engine
    retired = {(r.assignment.engine, r.assignment.epoch) for r in after.retiring}
    known = {(r.assignment.engine, r.assignment.epoch) for r in before.retiring} | names(before)
    # What is given up is retired, and what is retired is forgotten only when it cannot write any more.
    assert names(before) - names(after) <= retired
    assert not (known - names(after) - retired) & world.writers()

    takeover = {before.phase, after.phase} <= {Phase.NORMAL, Phase.TRIGGERING, Phase.FALLBACK}
    if takeover and before.flink and not after.flink and after.phase is not Phase.NORMAL:
        assert after.dask is not None, "Dask is assigned before Flink is retired"
    for action in decision.actions:
        if isinstance(action, StopEngine | Revoke):
            assert (action.engine, action.epoch) not in names(after)
        if isinstance(action, RunEngine):
            assert (action.assignment.engine, action.assignment.epoch) in names(after)
        if isinstance(action, Repair):
            assert world.writers() <= names(after)
            assert len(names(after)) == 1
            assert action.until <= world.frontier()
    check_phase(world, seen, before, decision)
    check_generation(world, before, decision)
    assert len(after.hand_overs) <= 10
    assert len(after.conditions) == 10


def check_generation(world: World, before: State, decision: Decision) -> None:
    after = decision.state
    assert [each.number for each in after.generations] == list(range(1, len(after.generations) + 1))
    bounds = [each.boundary for each in after.generations]
    assert bounds == sorted(bounds)
    for action in decision.actions:
        if isinstance(action, RunEngine):
            assert action.generation == after.numbered(action.assignment.generation)
        if isinstance(action, PlanStart) and action.clear:
            assert after.change is not None
    if after.change is not None:
        assert not names(after), "the old generation's engine is retired"
        assert after.phase is before.phase
    for live in (after.flink, after.dask):
        if live is not None:
            assert live.assignment.generation == after.generation, "one generation has all engines"
    if after.generation != before.generation:
        assert after.generation == before.generation + 1
        assert not world.writers()
        assert after.newest is not None
        assert after.newest.boundary == world.frontier()
        assert after.newest.definition == Definition.of(world.spec)


def check_phase(world: World, seen: Observed, before: State, decision: Decision) -> None:
    after = decision.state
    changes = [event for event in decision.events if event.phase is not None]
    assert len(changes) <= 1
    if before.phase is after.phase:
        assert not changes
        return
    assert changes[0].phase is after.phase
    assert all(world.health[name] is Health.UP for name in SHARED), "no transition in a shared failure"
    runs = {(job.engine, job.epoch) for job in seen.jobs if job.state is JobState.RUNNING}
    if after.phase is Phase.NORMAL and before.phase is Phase.RESUMING:
        assert after.flink is not None
        assert (FLINK, after.flink.assignment.epoch) in runs
        dask_ran = before.dask is not None and (DASK, before.dask.assignment.epoch) in runs
        if dask_ran and not seen.controls.pin:
            own = next(
                job for job in seen.jobs if job.engine is FLINK and job.epoch == after.flink.assignment.epoch
            )
            assert own.latency_ms is not None
            assert own.latency_ms < SPEC.failover.resume_latency_seconds * 1000
    if after.phase is Phase.TRIGGERING and after.hand_overs[-1].trigger is TriggerKind.LATENCY:
        assert seen.latency_ms is not None
        assert seen.latency_ms > SPEC.failover.latency_seconds * 1000
    if after.phase is Phase.FALLBACK and before.phase is Phase.TRIGGERING:
        assert after.dask is not None
        assert after.flink is None


faults = st.sampled_from(
    [
        *SHARED,
        "unknown-kafka",
        "flink",
        "unknown-flink",
        "dask",
        "slow-flink",
        "slow-dask",
        "broken-flink",
        "broken-dask",
        "kill-flink-job",
        "kill-dask",
        "pin-flink",
        "pin-dask",
        "drill",
        "edit",
        "take-back",
        "none",
    ]
)


def edited(name: str) -> StreamPipelineSpec:
    """Another definition."""
    aggregate = Aggregate(name=name, function=Function.COUNT)
    return SPEC.model_copy(update={"aggregates": [*SPEC.aggregates, aggregate]})


def inject(world: World, fault: str) -> None:
    kind, _, what = fault.rpartition("-")
    if fault == "drill":
        world.controls = world.controls.model_copy(update={"drill": str(world.now)})
    elif fault == "edit":
        world.edits += 1
        world.spec = edited(f"x{world.edits}")
    elif fault == "take-back":
        world.spec = SPEC
    elif kind == "pin":
        world.controls = world.controls.model_copy(update={"pin": FLINK if what == "flink" else DASK})
    elif kind == "slow":
        world.slow.add(FLINK if what == "flink" else DASK)
    elif kind == "broken":
        world.broken.add(FLINK if what == "flink" else DASK)
    elif fault in ("kill-flink-job", "kill-dask"):
        for name in [name for name in world.jobs if name[0] is (DASK if what == "dask" else FLINK)]:
            del world.jobs[name]
    elif fault != "none":
        world.health[what] = Health.UNKNOWN if kind == "unknown" else Health.DOWN


def heal(world: World) -> None:
    world.health.update(dict.fromkeys(world.health, Health.UP))
    world.slow.clear()
    world.broken.clear()
    world.controls = world.controls.model_copy(update={"pin": None})


sequences = st.lists(st.tuples(faults, st.integers(1, 60), st.booleans()), max_size=8)


# Failures are not shrunk: a run takes a second, and the sequence and the seed say all.
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[HypothesisPhase.explicit, HypothesisPhase.reuse, HypothesisPhase.generate],
)
@given(sequences, st.integers(0, 2**32))
def test_whatever_happens_the_rules_hold_and_normal_is_reached_again(
    sequence: list[tuple[str, int, bool]], seed: int
) -> None:
    world = World(random.Random(seed))
    control = Control(world)
    for _ in range(25):
        control.turn(1000)
    for fault, ticks, healed in sequence:
        inject(world, fault)
        for _ in range(ticks):
            control.turn(world.chance.choice((500, 1000, 2000)))
        if healed:
            heal(world)
    heal(world)
    control.crashes = False
    healed_at = world.now
    while not at_rest(control):
        assert world.now - healed_at < 1_200_000, control.state
        control.turn(2000)
    for _ in range(40):
        assert control.turn(2000).state.phase is Phase.NORMAL
    assert world.latency(world.frontier()) < 15_000
    assert any(isinstance(a, Repair) for a in control.turn(1000).actions)


def at_rest(control: Control) -> bool:
    state, world = control.state, control.world
    return (
        state.phase is Phase.NORMAL
        and state.wanted is None
        and state.drill == world.controls.drill
        and not state.retiring
        and state.change is None
        and state.newest is not None
        and state.newest.definition == Definition.of(world.spec)
        and {name for name, job in world.jobs.items() if not job.failed} == names(state)
        and not any(job.hidden for job in world.jobs.values())
        and world.workers == 0
        and state.flink is not None
        and state.flink.ran
        and world.latency(world.frontier()) < 15_000
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 15_000), max_size=60))
def test_latency_up_to_the_threshold_never_switches(latencies: list[int]) -> None:
    control = Control(World(random.Random(1)), crashes=False)
    while control.state.phase is not Phase.NORMAL:
        control.turn(1000)
    state, now = control.state, control.world.now
    for latency in latencies:
        now += 5000
        seen = control.world.look().model_copy(update={"latency_ms": latency})
        state = decide(seen, state, now, SPEC).state
        assert state.phase is Phase.NORMAL


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(8000, 15_000), min_size=1, max_size=25))
def test_latency_between_the_thresholds_does_not_resume(latencies: list[int]) -> None:
    world = World(random.Random(1))
    control = Control(world, crashes=False)
    while control.state.phase is not Phase.FALLBACK:
        if control.state.phase is Phase.NORMAL:
            inject(world, "drill")
        control.turn(1000)
    state, now = control.state, world.now
    for latency in latencies:  # 125 s: shorter than the time after which Flink is tried all the same
        now += 5000
        seen = world.look().model_copy(update={"latency_ms": latency})
        state = decide(seen, state, now, SPEC).state
        assert state.phase is Phase.FALLBACK
