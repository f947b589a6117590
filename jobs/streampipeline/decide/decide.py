"""The decision: a pure function of what was observed, what is remembered, the time and the spec.

A ground calls it in a loop: look, decide, store the state (when `worth_writing`), carry out the actions.
It may die between any two of these: the actions follow from the stored state alone and are asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import generations
from streampipeline.decide.actions import Action
from streampipeline.decide.conditions import conditions
from streampipeline.decide.effects import actions_for, rewind_pending
from streampipeline.decide.events import Event, duration
from streampipeline.decide.facts import blocked, dask_status, flink_status, frontier, has_published, job_state
from streampipeline.decide.observed import RETENTION_PASSED, JobState, Observed, PlanFailed, StartPlan
from streampipeline.decide.phases import step
from streampipeline.decide.state import Backoff, Checks, Halt, Live, Phase, Retiring, Rewind, State
from streampipeline.decide.turn import Turn
from streampipeline.jobconfig import EngineName


@dataclass(frozen=True)
class Decision:
    """Store `state` before `actions` are carried out; tell `events` when it is stored."""

    state: State
    actions: tuple[Action, ...]
    events: tuple[Event, ...]


def decide(observed: Observed, state: State, now: int, spec: StreamPipelineSpec) -> Decision:
    """Decide what holds from `now` (ms) on. Pure, total: raises nothing."""
    turn = Turn(observed, _not_in_the_future(state, now), now, spec)
    _follow_rewind(turn)
    _follow_jobs(turn)
    _follow_retirements(turn)
    # A ground counts from its own start: what was known before stays true.
    turn.set(
        windows_cut=max(turn.state.windows_cut, observed.repairs.cut),
        unscorable=max(turn.state.unscorable, observed.repairs.unscorable),
    )
    generations.adopt(turn)
    if spec.suspend:
        _suspend(turn)
    else:
        _unsuspend(turn)
        generations.follow(turn)
        if not _frozen(turn):
            _take_plan(turn)
            if turn.state.halt is not None:
                _halted(turn)
            elif turn.state.change is None:
                step(turn)
    turn.set(conditions=conditions(observed, turn.state, now, spec))
    return Decision(turn.state, actions_for(observed, turn.state, spec), tuple(turn.events))


def _not_in_the_future(state: State, now: int) -> State:
    """What runs since later than now runs since now: a clock that is set back stops no rule."""
    ahead = [name for name, at in state.timers if at is not None and at > now]
    frozen = state.frozen_since
    changes = {
        "timers": state.timers.model_copy(update=dict.fromkeys(ahead, now)),
        "checks": state.checks.model_copy(update={"at": min(state.checks.at, now)}),
        "frozen_since": None if frozen is None else min(frozen, now),
    }
    return state.model_copy(update=changes)


def cold(state: State, now: int) -> State:
    """The state to begin with when none of the engines survived (one machine, restarted).

    Nothing is forgotten that exactness needs: epochs, origin, hand-overs; old assignments are fenced as ever.
    """
    gone = [Retiring(assignment=live.assignment) for live in (state.flink, state.dask) if live]
    fresh = State.initial(now)
    changes = {
        "phase": fresh.phase,
        "since": fresh.since,
        "timers": fresh.timers,
        "checks": fresh.checks,
        "backoff": fresh.backoff,
        "wanted": None,
        "change": None,
        "flink": None,
        "dask": None,
        "active": None,
        "active_since": None,
        "frozen_since": None,
        "retiring": (*state.retiring, *gone),
    }
    return state.model_copy(update=changes)


def _follow_jobs(turn: Turn) -> None:
    """Note the first sight of each assigned job, and the first result after a hand-over."""
    for engine in (EngineName.FLINK, EngineName.DASK):
        live = turn.state.live(engine)
        if live is None:
            continue
        state = job_state(turn.observed, live)
        there = state not in (JobState.ABSENT, JobState.UNKNOWN)
        if not live.seen and (there or has_published(turn.observed, turn.state, live)):
            live = live.model_copy(update={"seen": True})
        if state is JobState.RUNNING and not live.ran:
            live = live.model_copy(update={"ran": True, "target": frontier(turn.observed, turn.state)})
        if live != turn.state.live(engine):
            turn.set_live(engine, live)
    _follow_first_result(turn)


def _follow_first_result(turn: Turn) -> None:
    last = turn.state.hand_overs[-1] if turn.state.hand_overs else None
    if last is None or last.boundary is None or last.first_result is not None:
        return
    results = [
        row.at
        for row in turn.observed.progress
        if row.engine is last.target and row.epoch >= last.epoch and row.frontier > last.boundary
    ]
    if results:
        changed = last.model_copy(update={"first_result": min(results)})
        turn.set(hand_overs=(*turn.state.hand_overs[:-1], changed))


def _follow_retirements(turn: Turn) -> None:
    """Note who is fenced, ask for the repairs since its start again, forget who is stopped too."""
    fenced = {(writer.engine, writer.epoch) for writer in turn.observed.fenced}
    kept = []
    for retiring in turn.state.retiring:
        name = (retiring.assignment.engine, retiring.assignment.epoch)
        stopped = turn.observed.stopped(*name)
        if not retiring.fenced and (name in fenced if turn.observed.fencing else stopped):
            _rewind(turn, retiring.assignment.repairs_offset)
            retiring = retiring.model_copy(update={"fenced": True})
        if not (retiring.fenced and stopped):
            kept.append(retiring)
    if tuple(kept) != turn.state.retiring:
        turn.set(retiring=tuple(kept))


def _follow_rewind(turn: Turn) -> None:
    rewind = turn.state.rewind
    if not rewind.done and 0 < rewind.number <= turn.observed.repairs.rewound:
        turn.set(rewind=rewind.model_copy(update={"done": True}))


def _rewind(turn: Turn, offset: int) -> None:
    """Ask for the repairs since `offset` again; one that is still to be done is taken in."""
    before = turn.state.rewind
    if rewind_pending(turn.observed, turn.state):
        offset = min(offset, before.offset)
    number = max(before.number, turn.observed.repairs.rewound) + 1
    turn.set(rewind=Rewind(number=number, offset=offset))


def _suspend(turn: Turn) -> None:
    if turn.state.suspended:
        return
    turn.set(suspended=True, wanted=None, change=None, halt=None, frozen_since=None, backoff=Backoff())
    turn.retire(EngineName.FLINK)
    turn.retire(EngineName.DASK)
    turn.change_hand_over(abandoned=turn.now)
    turn.enter(Phase.STARTUP, "Suspended", "spec.suspend is set: engines are stopped")
    turn.activate(None)


def _unsuspend(turn: Turn) -> None:
    if turn.state.suspended:
        turn.set(suspended=False)
        turn.enter(Phase.STARTUP, "Unsuspended", "spec.suspend is no longer set")


def _frozen(turn: Turn) -> bool:
    """Whether a shared failure stops everything; at its end all clocks are moved on by its length."""
    failure, since = blocked(turn.observed, turn.state, turn.spec), turn.state.frozen_since
    if failure is not None and since is None:
        turn.set(frozen_since=turn.now)
        if turn.state.phase is Phase.STARTUP:
            turn.say("Waiting", f"for what both engines need: {failure}")
        else:
            turn.say("SharedFailure", f"{failure}: both engines need it, no switch", warning=True)
    if failure is None and since is not None:
        _thaw(turn, turn.now - since)
    return failure is not None


def _thaw(turn: Turn, length: int) -> None:
    timers, checks, backoff = turn.state.timers, turn.state.checks, turn.state.backoff
    turn.set(frozen_since=None, backoff=backoff.model_copy(update={"until": backoff.until + length}))
    turn.set_timers(
        phase=timers.phase + length,
        primary_down=None if timers.primary_down is None else timers.primary_down + length,
        dask_down=None if timers.dask_down is None else timers.dask_down + length,
        settling=None if timers.settling is None else timers.settling + length,
        thawed=turn.now,
    )
    for engine in (EngineName.FLINK, EngineName.DASK):
        live = turn.state.live(engine)
        if live is not None:
            turn.set_live(engine, live.model_copy(update={"at": live.at + length}))
    failover = turn.failover
    if length >= failover.check_interval_seconds * 1000:
        turn.set_timers(backlog=turn.now)
    if length >= failover.violations * failover.check_interval_seconds * 1000:
        # The row from before says nothing about the catching up that follows now.
        checks = Checks(at=turn.now)
    turn.set(checks=checks)
    turn.say("SharedFailureOver", f"all that both engines need is up again after {duration(length)}")


def _take_plan(turn: Turn) -> None:
    """Record the assignment that a plan makes possible. From then on its effects follow."""
    plan, wanted = turn.observed.plan, turn.state.wanted
    if plan is None or wanted is None or (plan.engine, plan.epoch) != (wanted.engine, wanted.epoch):
        return
    if isinstance(plan, StartPlan):
        if not generations.may_take(turn):
            return
        generations.take(turn, plan)
        turn.retire(plan.engine)
        turn.set_live(plan.engine, Live(assignment=plan.assignment(turn.state.generation), at=turn.now))
        turn.set(wanted=None)
        last = turn.state.hand_overs[-1] if turn.state.hand_overs else None
        if last is not None and last.target is plan.engine:
            turn.change_hand_over(boundary=plan.boundary)
    elif plan.reason == RETENTION_PASSED and not _any_running(turn):
        _halt(turn, plan)


def _any_running(turn: Turn) -> bool:
    flink = turn.state.flink is not None and flink_status(turn.observed, turn.state, turn.now).ok
    return flink or dask_status(turn.observed, turn.state, turn.now).ok


def _halt(turn: Turn, plan: PlanFailed) -> None:
    if turn.state.halt is None:
        turn.set(halt=Halt(since=turn.now, records_gone=plan.records_gone))
        gone = f"{plan.records_gone} records that {plan.engine.value} had to read are gone"
        turn.say(RETENTION_PASSED, f"{gone}: stopped until the loss is accepted", warning=True)


def _halted(turn: Turn) -> None:
    """Nothing moves but by the user's word, or by an engine that turns out to run after all."""
    halt, wanted, accept = turn.state.halt, turn.state.wanted, turn.observed.controls.accept_loss
    if halt is None:
        return
    if wanted is None or _any_running(turn):
        turn.set(halt=None)
    elif accept is not None and accept != turn.state.accepted_loss:
        turn.set(halt=None, accepted_loss=accept, lost_records=turn.state.lost_records + halt.records_gone)
        turn.want(wanted.engine, accept_loss=True, clear=wanted.clear)
        turn.set_timers(phase=turn.now)
        turn.say("LossAccepted", f"goes on without {halt.records_gone} records: {accept}", warning=True)
