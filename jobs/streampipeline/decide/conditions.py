"""The conditions of `.status`, all set from the first decision on.

Messages hold no live numbers: a condition changes when its truth does, not with every look.
"""

from __future__ import annotations

import re

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import generations
from streampipeline.decide.events import seconds
from streampipeline.decide.facts import Running, Status, dask_status, flink_status, shared_failure
from streampipeline.decide.observed import RETENTION_PASSED, Health, Observed, PlanFailed, Probe
from streampipeline.decide.state import Condition, ConditionStatus, Phase, State
from streampipeline.jobconfig import EngineName

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
Verdict = tuple[ConditionStatus, str, str]
"""Status, reason (CamelCase), message."""


def conditions(observed: Observed, state: State, now: int, spec: StreamPipelineSpec) -> tuple[Condition, ...]:
    """`lastTransitionTime` changes only when the status does."""
    verdicts: dict[str, Verdict] = {
        "Ready": _ready(observed, state, now, spec),
        "PrimaryHealthy": _primary(observed, state, now),
        "FallbackActive": _fallback(state),
        "ModelReady": _probe("Model", observed.model),
        "SinkReady": _probe("Sink", observed.sink),
        "SourceReady": _probe("Source", observed.kafka),
        "LatencyWithinObjective": _latency(observed, spec),
        "Exact": _exact(observed, state),
        "Fenced": _fenced(observed, state),
        "GenerationCurrent": _generation(observed, state, spec),
    }
    return tuple(_condition(name, verdict, state, now) for name, verdict in verdicts.items())


def _condition(name: str, verdict: Verdict, state: State, now: int) -> Condition:
    status, reason, message = verdict
    before = state.condition(name)
    since = before.last_transition_time if before and before.status is status else now
    return Condition(type=name, status=status, reason=reason, message=message, last_transition_time=since)


def _probe(name: str, probe: Probe) -> Verdict:
    if probe.up:
        return TRUE, f"{name}Answers", ""
    if probe.health is Health.DOWN:
        return FALSE, f"{name}Changed" if probe.version else f"{name}Down", probe.message
    return UNKNOWN, f"{name}NotProbed", probe.message


def _latency(observed: Observed, spec: StreamPipelineSpec) -> Verdict:
    limit = spec.failover.latency_seconds * 1000
    if observed.latency_ms is None:
        return UNKNOWN, "LatencyUnknown", "latency could not be measured"
    if observed.latency_ms > limit:
        return FALSE, "LatencyHigh", f"latency above {seconds(limit)}"
    return TRUE, "LatencyLow", f"latency at most {seconds(limit)}"


def active_status(observed: Observed, state: State, now: int) -> Status:
    """Whether the engine that the results come from runs."""
    if state.active is EngineName.FLINK and state.flink is not None:
        return flink_status(observed, state, now)
    if state.active is EngineName.DASK and state.dask is not None:
        return dask_status(observed, state, now)
    return Status(Running.DOWN, "no engine is assigned")


def _ready(observed: Observed, state: State, now: int, spec: StreamPipelineSpec) -> Verdict:
    """Results are fresh, from whichever engine."""
    if state.suspended:
        return FALSE, "Suspended", "spec.suspend is set"
    if state.halt is not None:
        return FALSE, RETENTION_PASSED, _gone(state.halt.records_gone)
    if state.change is not None:
        return FALSE, "GenerationChanging", _changing(state)
    failure = shared_failure(observed)
    within, reason, message = _latency(observed, spec)
    if failure is not None:
        return (UNKNOWN if "cannot be probed" in failure else FALSE), "SharedFailure", failure
    if state.phase is Phase.STARTUP:
        if isinstance(observed.plan, PlanFailed):
            return FALSE, _camel(observed.plan.reason), observed.plan.message
        return FALSE, "Starting", "no result yet"
    status = active_status(observed, state, now)
    if status.running is Running.UNKNOWN:
        return UNKNOWN, "EngineNotProbed", status.text
    if status.down:
        return FALSE, "NoEngineRunning", status.text
    return within, ("ResultsFresh" if within is TRUE else reason), message


def _camel(reason: str) -> str:
    """A reason as Kubernetes wants it, whatever a ground said."""
    words = re.findall(r"[A-Za-z0-9]+", reason)
    return "".join(word[0].upper() + word[1:] for word in words) or "PlanFailed"


def _primary(observed: Observed, state: State, now: int) -> Verdict:
    status = flink_status(observed, state, now)
    if status.running is Running.UNKNOWN:
        return UNKNOWN, "FlinkNotProbed", status.text
    if not observed.flink.up:
        return FALSE, "ClusterDown", status.text
    if state.flink is None:
        return TRUE, "ClusterUp", "Flink's cluster is up and has no job to run"
    if status.ok:
        return TRUE, "JobRunning", ""
    if status.down:
        return FALSE, "JobDown", status.text
    return FALSE, "JobStarting", status.text


def _fallback(state: State) -> Verdict:
    if state.active is EngineName.DASK:
        return TRUE, "DaskActive", state.reason
    return FALSE, "DaskInactive", "Dask is starting" if state.phase is Phase.TRIGGERING else ""


def _gone(records: int) -> str:
    return f"{records} records before the start position are gone from the topic; goes on only by accept-loss"


def _exact(observed: Observed, state: State) -> Verdict:
    if state.halt is not None:
        return FALSE, RETENTION_PASSED, _gone(state.halt.records_gone)
    if state.lost_records:
        return FALSE, "LossAccepted", f"the loss of {state.lost_records} records was accepted"
    if state.windows_cut:
        return FALSE, "RepairCut", f"{state.windows_cut} windows cannot be repaired: records are gone"
    if state.unscorable:
        gone = f"{state.unscorable} repairs of older generations could not be made"
        return FALSE, "ModelGone", f"{gone}: their model does not answer any more, or as another version"
    if observed.dropped:
        return FALSE, "RecordsDropped", "an engine dropped records beyond the timestamp disorder"
    return TRUE, "NothingLost", ""


def _fenced(observed: Observed, state: State) -> Verdict:
    if not observed.fencing:
        return FALSE, "NoTokens", "write tokens cannot be made here: a retired engine is only stopped"
    if any(not retiring.fenced for retiring in state.retiring):
        return UNKNOWN, "RetirementPending", "a retired engine's writes are not yet known to be over"
    return TRUE, "TokensRevoked", ""


def _changing(state: State) -> str:
    return f"generation {state.generation} is stopped, generation {state.generation + 1} follows"


def _generation(observed: Observed, state: State, spec: StreamPipelineSpec) -> Verdict:
    """Results are computed as the spec in force says."""
    if state.change is not None:
        return FALSE, "GenerationChanging", _changing(state)
    if not generations.asked(state, spec):
        return TRUE, "GenerationInForce", ""
    if state.suspended:
        return FALSE, "GenerationWaits", "the next generation begins when spec.suspend is no longer set"
    waits = generations.waits_for(observed, state, spec) or "the next decision"
    return FALSE, "GenerationWaits", f"generation {state.generation} goes on; the next one waits for {waits}"
