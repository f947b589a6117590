"""What follows from an observation and the state, before any rule is applied."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streampipeline.api.spec import StreamPipelineSpec, UnavailablePolicy
from streampipeline.decide.observed import Health, JobState, Observed
from streampipeline.decide.state import Live, State
from streampipeline.jobconfig import EngineName

START_GRACE_MS = 60_000
"""A submitted Flink job that is not running yet is not held against it for so long, while its cluster is up
(seen: 7 to 20 s). The same for a job that restarts after a shared failure."""
STARTUP_TIMEOUT_MS = 120_000
"""The first start of Flink, cluster and all; then Dask takes over."""
TAKEOVER_TIMEOUT_MS = 90_000
"""Dask from zero workers to a running driver (the aim is 45 s); then another way is tried."""
RESTART_PAUSE_MS = 10_000
"""An engine is not replaced by itself more often than this."""


class Running(StrEnum):
    """Whether an engine runs, all that is known weighed."""

    RUNNING = "Running"
    STARTING = "Starting"
    DOWN = "Down"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Status:
    """Of one engine."""

    running: Running
    text: str = ""
    """For people, behind a colon: why."""

    @property
    def ok(self) -> bool:
        """It runs."""
        return self.running is Running.RUNNING

    @property
    def down(self) -> bool:
        """It does not run, and not because it is only starting."""
        return self.running is Running.DOWN


def _named(observed: Observed) -> dict[str, tuple[Health, str]]:
    probes = {"Kubernetes": observed.ground, "Kafka": observed.kafka, "the sink": observed.sink}
    return {name: (probe.health, probe.message) for name, probe in probes.items()}


def _first_not_up(named: dict[str, tuple[Health, str]]) -> str | None:
    for name, (health, message) in named.items():
        if health is not Health.UP:
            said = "is down" if health is Health.DOWN else "cannot be probed"
            return f"{name} {said}" + (f" ({message})" if message else "")
    return None


def without_model(observed: Observed) -> str | None:
    """As `shared_failure`, the model left out."""
    return _first_not_up(_named(observed))


def shared_failure(observed: Observed) -> str | None:
    """What both engines need and is not known to be up, in words; None: all up.

    While it lasts latency says nothing about an engine.
    """
    return _first_not_up(_named(observed) | {"the model": (observed.model.health, observed.model.message)})


def blocked(observed: Observed, state: State, spec: StreamPipelineSpec) -> str | None:
    """The shared failure that no switch of engines would help against; it stops every clock and transition.

    A model that is down blocks under the policy Wait, and before the first start, which notes its version.
    With UseDefault the other engine would publish, so a dead primary is still taken over from. In a change of
    generation the model that goes does not matter any more.
    """
    newest = state.newest
    model = (newest.definition.model if newest else spec.model).on_unavailable
    needed = newest is None or model.policy is UnavailablePolicy.WAIT
    return shared_failure(observed) if needed and state.change is None else without_model(observed)


def job_state(observed: Observed, live: Live) -> JobState:
    """Of the assignment's job."""
    return observed.job(live.assignment.engine, live.assignment.epoch).state


def lost(observed: Observed, live: Live | None) -> bool:
    """Its job was there and is gone for good."""
    return live is not None and live.seen and observed.stopped(live.assignment.engine, live.assignment.epoch)


def _own_rows(observed: Observed, state: State, live: Live) -> list[int]:
    mine = (live.assignment.engine, live.assignment.epoch, state.generation)
    return [p.frontier for p in observed.progress if (p.engine, p.epoch, p.generation) == mine]


def has_published(observed: Observed, state: State, live: Live) -> bool:
    """Its job was there, even if no look has seen it."""
    return bool(_own_rows(observed, state, live))


def own_frontier(observed: Observed, state: State, live: Live) -> int:
    """All windows of this assignment that end by it are in the sink."""
    return max(_own_rows(observed, state, live), default=live.assignment.boundary)


def frontier(observed: Observed, state: State) -> int | None:
    """The pipeline's: newest committed of this generation, or where an engine, it or the pipeline began."""
    known = [p.frontier for p in observed.progress if p.generation == state.generation]
    known += [live.assignment.boundary for live in (state.flink, state.dask) if live]
    known += [retiring.assignment.boundary for retiring in state.retiring]
    if state.newest is not None:
        known.append(state.newest.boundary)
    if state.origin is not None:
        known.append(state.origin.boundary)
    return max(known, default=None)


def flink_status(observed: Observed, state: State, now: int) -> Status:
    """Whether the primary runs. Its silence is evidence: Unknown is down while the ground answers."""
    if not observed.ground.up:
        return Status(Running.UNKNOWN, "cannot be probed")
    if not observed.flink.up:
        said = "cluster down" if observed.flink.health is Health.DOWN else "cluster does not answer"
        return Status(Running.DOWN, said + (f" ({observed.flink.message})" if observed.flink.message else ""))
    live = state.flink
    if live is None:
        starting = now - state.timers.phase < START_GRACE_MS
        return Status(Running.STARTING if starting else Running.DOWN, "no job")
    job = observed.job(live.assignment.engine, live.assignment.epoch)
    why = f" ({job.failure})" if job.failure else ""
    if job.state is JobState.RUNNING:
        return Status(Running.RUNNING)
    if lost(observed, live):
        return Status(Running.DOWN, "job ended" + why)
    if job.state is JobState.FAILING:
        starting = healing(observed, state, now)
        return Status(Running.STARTING if starting else Running.DOWN, "job failing" + why)
    if now - live.at < START_GRACE_MS:
        return Status(Running.STARTING, "job starting")
    return Status(Running.DOWN, "job not running" + why)


def healing(observed: Observed, state: State, now: int) -> bool:
    """Whether Flink's job still restarts after a shared failure: neither it nor its latency counts then."""
    thawed, live = state.timers.thawed, state.flink
    if thawed is None or live is None or now - thawed >= START_GRACE_MS:
        return False
    return job_state(observed, live) is JobState.FAILING


def dask_status(observed: Observed, state: State, now: int) -> Status:
    """Whether the fallback runs: its driver, with a scheduler that is not known to be down."""
    if not observed.ground.up:
        return Status(Running.UNKNOWN, "cannot be probed")
    live = state.dask
    if live is None:
        return Status(Running.DOWN, "no driver")
    job = observed.job(live.assignment.engine, live.assignment.epoch)
    why = f" ({job.failure})" if job.failure else ""
    scheduler_down = observed.dask.health is Health.DOWN
    if job.state is JobState.RUNNING and not scheduler_down:
        return Status(Running.RUNNING)
    if lost(observed, live):
        return Status(Running.DOWN, "driver ended" + why)
    if job.state is JobState.FAILING:
        return Status(Running.DOWN, "driver failing" + why)
    if now - live.at < TAKEOVER_TIMEOUT_MS:
        return Status(Running.STARTING, "driver starting")
    return Status(Running.DOWN, "scheduler down" if scheduler_down else "driver not running" + why)


def own_latency(observed: Observed, live: Live) -> int | None:
    """Latency (ms) from the assignment's own frontier; None: unknown."""
    return observed.job(live.assignment.engine, live.assignment.epoch).latency_ms


def caught_up(observed: Observed, state: State, limit_ms: int) -> bool:
    """Flink has published what Dask had published when it began to run, and keeps up by its own progress.

    Nothing closable from its own frontier on (latency 0) counts too: a silent source gives no progress rows.
    """
    live = state.flink
    if live is None or live.target is None or job_state(observed, live) is not JobState.RUNNING:
        return False
    latency = own_latency(observed, live)
    if latency is None or latency >= limit_ms:
        return False
    return latency == 0 or own_frontier(observed, state, live) >= live.target


def may_write(observed: Observed, state: State) -> set[tuple[EngineName, int]]:
    """Every (engine, epoch) whose points might still land."""
    live = {(x.assignment.engine, x.assignment.epoch) for x in (state.flink, state.dask) if x}
    retiring = {(x.assignment.engine, x.assignment.epoch) for x in state.retiring if not x.fenced}
    return live | retiring | orphans(observed, state)


def orphans(observed: Observed, state: State) -> set[tuple[EngineName, int]]:
    """Jobs that no assignment accounts for: a status was lost, a pipeline recreated."""
    known = {(x.assignment.engine, x.assignment.epoch) for x in (state.flink, state.dask) if x}
    known |= {(x.assignment.engine, x.assignment.epoch) for x in state.retiring}
    found = {(job.engine, job.epoch) for job in observed.jobs}
    return {job for job in found - known if not observed.stopped(*job)}
