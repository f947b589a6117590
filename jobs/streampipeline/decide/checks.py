"""The periodic check: latency over its threshold, and the readiness to resume.

Latency triggers when it was above `latencySeconds` at `violations` checks in a row and is not falling over
them: the newest is not below the first of the row (with one or two violations: not below the check before).
So a recovering pipeline is left alone, jitter included, while a sawtooth that tends upwards, or a plateau,
triggers. Checks without an answer, during a shared failure, or while Flink's job still restarts after one, do
not count and break no row; nor do violations while an engine works off what a shared failure has left.
"""

from __future__ import annotations

from streampipeline.api.spec import Failover
from streampipeline.decide.facts import START_GRACE_MS, Running, flink_status, healing, shared_failure
from streampipeline.decide.generations import settle
from streampipeline.decide.state import Checks, Phase, State
from streampipeline.decide.turn import Turn


def violations(state: State, failover: Failover) -> int:
    """Checks in a row, up to the newest, with latency above the threshold."""
    count = 0
    for latency in reversed(state.checks.latencies):
        if latency <= failover.latency_seconds * 1000:
            break
        count += 1
    return count


def falling(state: State, failover: Failover) -> bool:
    """Whether latency goes down over the row that would trigger."""
    latencies = state.checks.latencies
    back = max(1, failover.violations - 1)
    return len(latencies) > back and latencies[-1] < latencies[-1 - back]


def latency_breached(state: State, failover: Failover) -> bool:
    """Whether the latency rule holds, apart from pins and the limit per hour."""
    return violations(state, failover) >= failover.violations and not falling(state, failover)


def resumable_latency(turn: Turn) -> bool:
    """Latency is low enough to hand back, or Dask had its time and cannot get it there.

    Without the second half a fallback that is slower than the primary would keep the pipeline for ever: after
    minimumFallbackSeconds and resumeTimeoutSeconds Flink is tried beside it; the hand-back itself still needs
    Flink's own latency below the limit.
    """
    failover, latency = turn.failover, turn.observed.latency_ms
    if latency is None:
        return False
    tried_for = (failover.minimum_fallback_seconds + failover.resume_timeout_seconds) * 1000
    return latency < failover.resume_latency_seconds * 1000 or turn.in_phase_ms() >= tried_for


def check(turn: Turn) -> None:
    """Run the periodic check when it is due."""
    state, failover = turn.state, turn.failover
    in_fallback = state.phase is Phase.FALLBACK
    cluster_up = turn.observed.flink.up
    if in_fallback and not cluster_up and state.checks.resumes:
        turn.set(checks=state.checks.model_copy(update={"resumes": 0}))
        state = turn.state
    if turn.now - state.checks.at < failover.check_interval_seconds * 1000:
        return
    latencies, resumes = state.checks.latencies, state.checks.resumes
    latency = turn.observed.latency_ms
    judged = shared_failure(turn.observed) is None and not healing(turn.observed, state, turn.now)
    if latency is not None and judged and not _backlog(turn, latency) and not settle(turn):
        latencies = (*latencies, latency)[-(failover.violations + 1) :]
        resumes = resumes + 1 if in_fallback and cluster_up and resumable_latency(turn) else 0
    turn.set(checks=Checks(at=turn.now, latencies=latencies, resumes=resumes))


def _backlog(turn: Turn, latency: int) -> bool:
    """Whether latency above the threshold is what a shared failure has left: the other engine had it too."""
    since = turn.state.timers.backlog
    above = latency > turn.failover.latency_seconds * 1000
    return above and since is not None and turn.now - since < START_GRACE_MS


def track_primary(turn: Turn) -> int:
    """Run the clock of a primary that is down, in every decision; returns for how many ms it is."""
    status = flink_status(turn.observed, turn.state, turn.now)
    since = turn.state.timers.primary_down
    if status.down:
        since = turn.now if since is None else since
    elif status.running is not Running.UNKNOWN:
        since = None
    if since != turn.state.timers.primary_down:
        turn.set_timers(primary_down=since)
    return 0 if since is None else turn.now - since
