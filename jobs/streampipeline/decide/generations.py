"""The change from one generation to the next: see docs/generations.md."""

from __future__ import annotations

from streampipeline.api.definition import Definition, type_changes
from streampipeline.api.problems import InvalidPipelineError
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide.events import duration
from streampipeline.decide.facts import STARTUP_TIMEOUT_MS, may_write, without_model
from streampipeline.decide.observed import Observed, StartPlan
from streampipeline.decide.state import Change, Checks, Phase, State
from streampipeline.decide.turn import Turn
from streampipeline.jobconfig import EngineName, Generation, Origin

KEPT = 32
"""Generations; their definitions are part of the state."""


def asked(state: State, spec: StreamPipelineSpec) -> bool:
    """Whether the spec asks for another definition than the newest generation has."""
    return state.newest is not None and state.newest.definition != Definition.of(spec)


def model_version(observed: Observed, state: State, spec: StreamPipelineSpec) -> str | None:
    """What the model of the spec is to answer as in the generation that begins; None: not known yet.

    A model that stays may be down: the edit may well be to go on without it.
    """
    if observed.next_model.up:
        return observed.next_model.version
    newest = state.newest
    same = newest is not None and newest.definition.same_model(Definition.of(spec))
    return newest.model_version if newest is not None and same else None


def waits_for(observed: Observed, state: State, spec: StreamPipelineSpec) -> str | None:
    """Why a change that is asked for has not begun, in words; None: it can."""
    if state.phase in (Phase.TRIGGERING, Phase.RESUMING):
        return f"the end of phase {state.phase.value}"
    if state.halt is not None:
        return "a start that is not possible without loss"
    failure = without_model(observed)
    if failure is not None:
        return failure
    if model_version(observed, state, spec) is None:
        return f"the new model, which does not answer ({observed.next_model.message})"
    return None


def adopt(turn: Turn) -> None:
    """Give a pipeline from before there were generations its first: what its engines compute."""
    state = turn.state
    if state.newest is None and state.origin is not None and (state.flink or state.dask or state.retiring):
        turn.set(generations=(_first(turn, state.origin, version=""),))


def follow(turn: Turn) -> None:
    """Begin a change, and want the engine once nothing can write any more."""
    state = turn.state
    if state.change is None:
        if asked(state, turn.spec) and waits_for(turn.observed, state, turn.spec) is None:
            _begin(turn)
    elif state.wanted is None and not may_write(turn.observed, state):
        turn.want(state.change.engine, clear=True)


def _begin(turn: Turn) -> None:
    state = turn.state
    engine = state.active or EngineName.FLINK
    turn.set(change=Change(engine=engine, since=turn.now), wanted=None)
    turn.retire(EngineName.FLINK)
    turn.retire(EngineName.DASK)
    turn.say(
        "GenerationEnding",
        f"aggregates or model differ from generation {state.generation}: {engine.value} is stopped, "
        f"generation {state.generation + 1} follows",
    )


def may_take(turn: Turn) -> bool:
    """Whether a plan can be recorded: the version of a generation's model is known when it begins."""
    state = turn.state
    if state.newest is None:
        return turn.observed.model.up
    begins = state.change is not None and asked(state, turn.spec)
    return not begins or model_version(turn.observed, state, turn.spec) is not None


def take(turn: Turn, plan: StartPlan) -> None:
    """The plan is recorded: so is the generation that begins with it, if one does."""
    state = turn.state
    if state.newest is None:
        assert state.origin is not None
        turn.set(generations=(_first(turn, state.origin, turn.observed.model.version),))
    elif state.change is not None:
        if asked(state, turn.spec):
            _next(turn, plan)
        turn.set(change=None, checks=Checks(at=turn.now))
        turn.set_timers(settling=turn.now)


def _first(turn: Turn, origin: Origin, version: str) -> Generation:
    return Generation(
        number=turn.state.generation,
        boundary=origin.boundary,
        offsets=origin.offsets,
        definition=Definition.of(turn.spec),
        model_version=version,
    )


def _next(turn: Turn, plan: StartPlan) -> None:
    state = turn.state
    assert state.change is not None
    generation = Generation(
        number=state.generation + 1,
        boundary=plan.boundary,
        offsets=plan.offsets,
        definition=Definition.of(turn.spec),
        model_version=model_version(turn.observed, state, turn.spec) or "",
    )
    generations = (*state.generations, generation)[-KEPT:]
    if generations[0] != state.generations[0]:
        turn.set(origin=Origin(boundary=generations[0].boundary, offsets=generations[0].offsets))
    turn.set(generation=generation.number, generations=generations)
    version = f", model {generation.model_version}" if generation.model_version else ""
    turn.say(
        "GenerationStarted",
        f"generation {generation.number} has the windows that end after {plan.boundary}, "
        f"{duration(turn.now - state.change.since)} after generation {state.generation} was stopped{version}",
    )


def settle(turn: Turn) -> bool:
    """Whether latency still tells of a change: its engine has not caught up, and had no time to."""
    since, latency = turn.state.timers.settling, turn.observed.latency_ms
    if since is None:
        return False
    low = latency is not None and latency <= turn.failover.latency_seconds * 1000
    live = turn.state.live(turn.state.active or EngineName.FLINK)
    over = turn.now - since >= STARTUP_TIMEOUT_MS or (low and live is not None and live.ran)
    if over:
        turn.set_timers(settling=None)
    return not over


def refuse_type_changes(spec: StreamPipelineSpec, state: State) -> None:
    """Raises InvalidPipelineError when a value would change its type under its name."""
    problems = type_changes(spec, (generation.definition for generation in state.generations))
    if problems:
        raise InvalidPipelineError(problems)
