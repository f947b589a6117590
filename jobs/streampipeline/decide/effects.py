"""The actions that a state asks for: derived from what is recorded, so a crash between two loses nothing."""

from __future__ import annotations

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import actions as act
from streampipeline.decide.checks import violations
from streampipeline.decide.facts import (
    blocked,
    frontier,
    job_state,
    may_write,
    orphans,
    own_frontier,
    shared_failure,
)
from streampipeline.decide.observed import JobState, Observed
from streampipeline.decide.state import Phase, State
from streampipeline.jobconfig import EngineName, Origin


def actions_for(observed: Observed, state: State, spec: StreamPipelineSpec) -> tuple[act.Action, ...]:
    """In the order in which they are best carried out: what starts an engine before what stops one."""
    return (
        *_places(observed, state, spec),
        *_starts(observed, state, spec),
        *_stops(observed, state),
        *_repairs(observed, state),
    )


def dask_workers(observed: Observed, state: State, spec: StreamPipelineSpec) -> int:
    """How many workers Dask is to have: all while it is needed, or while the primary is under suspicion."""
    if state.suspended:
        return 0
    workers = spec.fallback.dask.workers
    wanted = state.wanted is not None and state.wanted.engine is EngineName.DASK
    needed = wanted or state.dask is not None or state.phase in (Phase.TRIGGERING, Phase.FALLBACK)
    almost = violations(state, spec.failover) >= max(1, spec.failover.violations - 1)
    suspect = state.timers.primary_down is not None or almost
    if observed.controls.pin is EngineName.FLINK and not needed:
        return workers.min
    return max(workers.max, workers.min) if needed or suspect else workers.min


def flink_wanted(state: State) -> bool:
    """Whether Flink's cluster is to be up: also as long as a job in it is still to be stopped."""
    return not state.suspended or any(r.assignment.engine is EngineName.FLINK for r in state.retiring)


def _places(observed: Observed, state: State, spec: StreamPipelineSpec) -> list[act.Action]:
    return [
        act.EnsureFlinkCluster(up=flink_wanted(state)),
        act.ScaleDask(workers=dask_workers(observed, state, spec)),
    ]


def begin_of(state: State) -> Origin | None:
    """Where the newest generation began; None: where the pipeline did."""
    newest = state.newest
    return None if newest is None else Origin(boundary=newest.boundary, offsets=newest.offsets)


def _starts(observed: Observed, state: State, spec: StreamPipelineSpec) -> list[act.Action]:
    asked: list[act.Action] = []
    if not state.suspended and blocked(observed, state, spec) is None:
        if state.origin is None:
            asked.append(act.FixOrigin())
        elif state.wanted is not None and state.halt is None:
            wanted = state.wanted
            asked.append(
                act.PlanStart(
                    engine=wanted.engine,
                    epoch=wanted.epoch,
                    generation=state.generation,
                    begin=begin_of(state),
                    accept_loss=wanted.accept_loss,
                    clear=wanted.clear,
                )
            )
    for live in (state.flink, state.dask):
        # A job that was there is never submitted again: its assignment begins before what it has published.
        if live is None or live.seen:
            continue
        if live.assignment.engine is EngineName.DASK or observed.flink.up:
            computed = state.numbered(live.assignment.generation)
            asked.append(act.RunEngine(assignment=live.assignment, generation=computed))
    return asked


def _stops(observed: Observed, state: State) -> list[act.Action]:
    asked: list[act.Action] = [
        act.EndDoubles(epoch=job.epoch)
        for job in observed.jobs
        if job.doubles and state.flink is not None and job.epoch == state.flink.assignment.epoch
    ]
    for retiring in state.retiring:
        engine, epoch = retiring.assignment.engine, retiring.assignment.epoch
        if not observed.stopped(engine, epoch):
            asked.append(act.StopEngine(engine=engine, epoch=epoch))
        if not retiring.fenced:
            asked.append(act.Revoke(engine=engine, epoch=epoch))
    for engine, epoch in sorted(orphans(observed, state)):
        asked += [act.StopEngine(engine=engine, epoch=epoch), act.Revoke(engine=engine, epoch=epoch)]
    return asked


def rewind_pending(observed: Observed, state: State) -> bool:
    """Whether repairs that a retired engine may have overwritten are still to be asked for again."""
    return not state.rewind.done and observed.repairs.rewound < state.rewind.number


def _repairs(observed: Observed, state: State) -> list[act.Action]:
    if shared_failure(observed) is not None:
        return []
    if rewind_pending(observed, state):
        return [act.RewindRepairs(number=state.rewind.number, offset=state.rewind.offset)]
    until = repairable_until(observed, state)
    if until is None or not observed.repairs.pending:
        return []
    return [act.Repair(until=until, generation=state.generation)]


def repairable_until(observed: Observed, state: State) -> int | None:
    """Windows that end by it may be repaired; None: not now.

    Only while a single engine may write and its own progress has reached the pipeline's frontier: else it may
    still write windows below the frontier, and overwrite their repair.
    """
    live = state.flink or state.dask
    if live is None or state.wanted is not None or rewind_pending(observed, state):
        return None
    if may_write(observed, state) != {(live.assignment.engine, live.assignment.epoch)}:
        return None
    until = frontier(observed, state)
    if until is None or own_frontier(observed, state, live) < until:
        return None
    return until if job_state(observed, live) is JobState.RUNNING else None
