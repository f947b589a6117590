"""The loop of a simulation: look, decide, carry out, on the recording's clock. Pure: no clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Decision, Observed, Phase, State, decide
from streampipeline.decide.actions import ScaleDask
from streampipeline.decide.events import Event
from streampipeline.decide.state import Live, Timers
from streampipeline.jobconfig import Assignment, EngineName, Origin
from streampipeline.simulate.engines import Engines
from streampipeline.simulate.summary import Meter, Sample, Timeline, Transition
from streampipeline.simulate.trace import Row
from streampipeline.simulate.world import World

TICK_MS = 1000
"""The longest time between two looks; rows that lie further apart are held meanwhile."""
BEGINNINGS = (Phase.STARTUP, Phase.NORMAL, Phase.FALLBACK)
Watch = Callable[[Observed, Decision], None]


@dataclass
class Control:
    """A pipeline that is decided on in a world, one look after the other."""

    world: World
    spec: StreamPipelineSpec
    state: State

    def turn(self, now: int, row: Row) -> tuple[Observed, Decision]:
        """Let time pass up to `now`, look, decide, carry out."""
        self.world.pass_to(now, row)
        observed = self.world.look()
        decision = decide(observed, self.state, now, self.spec)
        self.state = decision.state
        for action in decision.actions:
            self.world.carry_out(action)
        return observed, decision


def replay(
    rows: Sequence[Row],
    spec: StreamPipelineSpec,
    engines: Engines,
    objective_ms: int,
    *,
    tick_ms: int = TICK_MS,
    watch: Watch | None = None,
) -> Timeline:
    """What would have happened under `spec`. `rows`: those of `begun`; `watch` is told every decision."""
    world = World(spec, engines, rows[0])
    control = Control(world, spec, beginning(world, rows[0]))
    meter, transitions, events = Meter(objective_ms), [], []
    for now, row in ticks(rows, tick_ms):
        observed, decision = control.turn(now, row)
        transitions += [_transition(event, decision) for event in decision.events if event.phase]
        events += [event.reason for event in decision.events]
        meter.add(_sample(now, observed, decision))
        if watch is not None:
            watch(observed, decision)
    return Timeline(tuple(transitions), tuple(events), meter.figures())


def begun(rows: Sequence[Row]) -> Sequence[Row]:
    """From the first look on that a simulation can begin at: outside of a switch. Empty: there is none."""
    for index, row in enumerate(rows):
        if row.phase in BEGINNINGS and (row.phase is Phase.STARTUP or row.latency_ms is not None):
            return rows[index:]
    return ()


def ticks(rows: Sequence[Row], tick_ms: int = TICK_MS) -> Iterator[tuple[int, Row]]:
    """(now, newest row): each row at its time, and in between every `tick_ms`."""
    yield rows[0].at, rows[0]
    for before, after in pairwise(rows):
        for now in range(before.at + tick_ms, after.at, tick_ms):
            yield now, before
        yield after.at, after


def beginning(world: World, row: Row) -> State:
    """A state as the recording was in; of a switch back and its history nothing is known."""
    state = State.initial(row.at)
    if row.phase is Phase.STARTUP:
        return state
    engine = EngineName.DASK if row.phase is Phase.FALLBACK else EngineName.FLINK
    epoch, boundary = row.at // 1000, int(world.position)
    assignment = Assignment(engine=engine, epoch=epoch, generation=1, boundary=boundary, offsets={0: 0})
    world.run(assignment, row.at)
    live = Live(assignment=assignment, at=row.at, seen=True, ran=True, target=boundary)
    return state.model_copy(
        update={
            "phase": row.phase,
            "timers": Timers(phase=row.at),
            "epoch": epoch,
            "origin": Origin(boundary=boundary, offsets={0: 0}),
            "active": engine,
            "active_since": row.at,
            "drill": row.drill,
            "dask" if engine is EngineName.DASK else "flink": live,
        }
    )


def _transition(event: Event, decision: Decision) -> Transition:
    assert event.phase is not None
    trigger = None
    if event.phase is Phase.TRIGGERING:
        trigger = decision.state.hand_overs[-1].trigger
    return Transition(event.at, event.phase, trigger, event.reason, event.message)


def _sample(now: int, observed: Observed, decision: Decision) -> Sample:
    wanted = next(action.workers for action in decision.actions if isinstance(action, ScaleDask))
    return Sample(now, decision.state.phase, observed.latency_ms, wanted)
