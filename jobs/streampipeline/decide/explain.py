"""Words for people: one sentence about now, and the rules with what would make them fire."""

from __future__ import annotations

from streampipeline.api.spec import Model, StreamPipelineSpec
from streampipeline.decide.checks import falling, latency_breached, resumable_latency, violations
from streampipeline.decide.events import duration, seconds
from streampipeline.decide.facts import caught_up, flink_status, own_frontier, own_latency, shared_failure
from streampipeline.decide.observed import Observed
from streampipeline.decide.state import Phase, State
from streampipeline.decide.turn import Turn
from streampipeline.jobconfig import EngineName

NAMES = {EngineName.FLINK: "Flink", EngineName.DASK: "Dask", EngineName.REPAIR: "repair"}


def headline(state: State, observed: Observed, now: int) -> str:
    """One sentence, such as `Dask active for 3m12s: latency 8.4 s above 5 s`."""
    if state.suspended:
        return f"Suspended for {duration(now - state.since)}"
    if state.halt is not None:
        gone = f"{state.halt.records_gone} records are gone from the topic"
        return f"Stopped for {duration(now - state.halt.since)}: {gone}"
    if state.change is not None:
        stopped = f"{NAMES[state.change.engine]} was stopped, generation {state.generation + 1} follows"
        return f"Changing generations for {duration(now - state.change.since)}: {stopped}"
    failure = shared_failure(observed)
    active = f"{NAMES[state.active]} active" if state.active else "no engine active"
    if failure is not None:
        if state.phase is Phase.STARTUP:
            return f"Starting for {duration(now - state.since)}: {failure}"
        lasts = f" for {duration(now - state.frozen_since)}" if state.frozen_since is not None else ""
        return f"{failure[0].upper()}{failure[1:]}{lasts}: a switch would not help, {active}"
    if state.phase is Phase.STARTUP:
        flink = flink_status(observed, state, now).text or "job runs"
        return f"Starting for {duration(now - state.since)}: Flink's {flink}"
    if state.phase is Phase.TRIGGERING:
        return f"Switching to Dask for {duration(now - state.since)}: {state.reason}"
    for_long = f"{active} for {duration(now - (state.active_since or state.since))}"
    if state.phase is Phase.RESUMING:
        return f"{for_long}, handing back to Flink for {duration(now - state.since)}"
    if state.phase is Phase.FALLBACK:
        return f"{for_long}: {state.reason}"
    latency = "unknown" if observed.latency_ms is None else seconds(observed.latency_ms)
    status = flink_status(observed, state, now)
    return f"{for_long}: " + (f"latency {latency}" if status.ok else f"not running, {status.text}")


class Rule(Model):
    """A rule as it stands."""

    name: str
    inputs: str
    fires: bool
    """Whether it would fire at this look."""
    would: str
    """What would make it fire."""


def explain(observed: Observed, state: State, now: int, spec: StreamPipelineSpec) -> list[Rule]:
    """The rules of the present phase; the shared failures first, as they stop all others."""
    failure = shared_failure(observed)
    rules = [
        Rule(
            name="SharedFailure",
            inputs=failure or "Kafka, sink and model are up",
            fires=failure is not None,
            would="Kafka, the sink or the model down or not probed: nothing switches",
        )
    ]
    free = failure is None and state.halt is None and not state.suspended and state.change is None
    if state.phase in (Phase.STARTUP, Phase.NORMAL):
        rules += _takeover_rules(observed, state, now, spec, free)
    if state.phase is Phase.FALLBACK:
        rules.append(_resume_rule(observed, state, now, spec, free))
    if state.phase is Phase.RESUMING:
        rules.append(_hand_back_rule(observed, state, spec, free))
    return rules


def _latency_text(latency: int | None) -> str:
    return "unknown" if latency is None else seconds(latency)


def _takeover_rules(
    observed: Observed, state: State, now: int, spec: StreamPipelineSpec, free: bool
) -> list[Rule]:
    failover = spec.failover
    unpinned = free and observed.controls.pin is not EngineName.FLINK
    left = Turn(observed, state, now, spec).switches_left()
    down = 0 if state.timers.primary_down is None else now - state.timers.primary_down
    counted = violations(state, failover)
    return [
        Rule(
            name="PrimaryDown",
            inputs=f"Flink {flink_status(observed, state, now).running.value}, down for {duration(down)}",
            fires=unpinned and down > failover.primary_recovery_seconds * 1000,
            would=f"Flink not running for more than {failover.primary_recovery_seconds} s",
        ),
        Rule(
            name="Latency",
            inputs=f"latency {_latency_text(observed.latency_ms)}, "
            f"{counted} of {failover.violations} checks above {failover.latency_seconds} s, "
            f"{'falling' if falling(state, failover) else 'not falling'}, "
            f"{left} switches left this hour",
            fires=unpinned and left > 0 and state.phase is Phase.NORMAL and latency_breached(state, failover),
            would=f"{max(1, failover.violations - counted)} more checks above {failover.latency_seconds} s, "
            "not falling",
        ),
    ]


def _resume_rule(observed: Observed, state: State, now: int, spec: StreamPipelineSpec, free: bool) -> Rule:
    failover, turn = spec.failover, Turn(observed, state, now, spec)
    rest = max(0, failover.minimum_fallback_seconds * 1000 - turn.in_phase_ms())
    backoff = max(0, state.backoff.until - now)
    ready = state.checks.resumes >= failover.resume_checks and resumable_latency(turn) and observed.flink.up
    return Rule(
        name="Resume",
        inputs=f"Flink's cluster {observed.flink.health.value}, "
        f"latency {_latency_text(observed.latency_ms)}, "
        f"{state.checks.resumes} of {failover.resume_checks} good checks, "
        f"minimum time over in {duration(rest)}, backoff over in {duration(backoff)}",
        fires=free and ready and not rest and not backoff and observed.controls.pin is not EngineName.DASK,
        would=f"Flink's cluster up and latency below {failover.resume_latency_seconds} s at "
        f"{failover.resume_checks} checks in a row, after the minimum time and the backoff",
    )


def _hand_back_rule(observed: Observed, state: State, spec: StreamPipelineSpec, free: bool) -> Rule:
    limit = spec.failover.resume_latency_seconds
    live = state.flink
    if live is None or live.target is None:
        inputs = "Flink's job does not run yet"
    else:
        behind = max(0, live.target - own_frontier(observed, state, live))
        inputs = f"Flink {seconds(behind)} behind, its latency {_latency_text(own_latency(observed, live))}"
    return Rule(
        name="HandBack",
        inputs=inputs,
        fires=free and caught_up(observed, state, limit * 1000),
        would=f"Flink publishes what Dask had when it began to run, with its own latency below {limit} s",
    )
