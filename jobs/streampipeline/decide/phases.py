"""The rules of each phase. Every function makes at most one transition.

Startup -> Normal          Flink's job runs and has its first result, or nothing to publish
Normal -> Triggering       latency, death of the primary, a drill, a pin
Triggering -> Fallback     Dask's driver runs
Triggering -> Normal       Dask could not be started
Fallback -> Resuming       Flink's cluster is well, Dask had its minimum time, latency is low
Resuming -> Normal         Flink has caught up (or Dask died and Flink runs)
Resuming -> Fallback       time-out, or Flink died; the next try backs off
"""

from __future__ import annotations

from streampipeline.decide.checks import check, latency_breached, resumable_latency, track_primary, violations
from streampipeline.decide.events import duration, seconds
from streampipeline.decide.facts import (
    RESTART_PAUSE_MS,
    STARTUP_TIMEOUT_MS,
    TAKEOVER_TIMEOUT_MS,
    Running,
    caught_up,
    dask_status,
    flink_status,
    job_state,
    lost,
    own_frontier,
    own_latency,
    shared_failure,
)
from streampipeline.decide.observed import JobState
from streampipeline.decide.state import Backoff, Live, Phase, TriggerKind
from streampipeline.decide.turn import HOUR_MS, Turn
from streampipeline.jobconfig import EngineName

FLINK, DASK = EngineName.FLINK, EngineName.DASK
BACKOFF_FIRST_MS = 30_000
BACKOFF_MOST_MS = 600_000


def step(turn: Turn) -> None:
    """Apply the rules of the phase that the turn began in."""
    rules = {
        Phase.STARTUP: startup,
        Phase.NORMAL: normal,
        Phase.TRIGGERING: triggering,
        Phase.FALLBACK: fallback,
        Phase.RESUMING: resuming,
    }
    rules[turn.state.phase](turn)


def trigger(turn: Turn, kind: TriggerKind, reason: str) -> None:
    """Decide the takeover by Dask."""
    if kind is TriggerKind.LATENCY:
        recent = [at for at in turn.state.latency_switches if turn.now - at < HOUR_MS]
        turn.set(latency_switches=(*recent, turn.now))
    turn.begin_hand_over(kind, reason, DASK)
    turn.set(reason=reason)
    planned = kind in (TriggerKind.PIN, TriggerKind.DRILL)
    turn.enter(Phase.TRIGGERING, "FallbackTriggered", f"Dask is to take over: {reason}", warning=not planned)


def _primary_dead(turn: Turn) -> bool:
    """Trigger the takeover when the primary was down for too long."""
    down_for = track_primary(turn)
    if down_for <= turn.failover.primary_recovery_seconds * 1000 or turn.observed.controls.pin is FLINK:
        return False
    text = flink_status(turn.observed, turn.state, turn.now).text
    trigger(turn, TriggerKind.DEATH, f"Flink not running for {seconds(down_for)}: {text}")
    return True


def _paused(turn: Turn, live: Live) -> bool:
    """Whether an engine that was just assigned must wait before it is replaced by itself."""
    return turn.now - live.at < RESTART_PAUSE_MS


def _replace(turn: Turn, engine: EngineName, why: str) -> None:
    """Start the same engine anew at the frontier; the old assignment goes when the new one is recorded."""
    epoch = turn.want(engine)
    turn.say("EngineRestarted", f"{engine.value} starts anew as epoch {epoch}: {why}", warning=True)


def _restart_lost(turn: Turn, live: Live | None) -> None:
    """Start Flink anew in place, where no switch is to be made."""
    if live is None or turn.state.wanted is not None or _paused(turn, live) or not turn.observed.flink.up:
        return
    if lost(turn.observed, live):
        _replace(turn, FLINK, flink_status(turn.observed, turn.state, turn.now).text)


def _repartitioned(turn: Turn, live: Live | None) -> bool:
    """Start an engine anew that does not read all partitions the topic has."""
    now_there = turn.observed.partitions
    if live is None or now_there is None or turn.state.wanted is not None:
        return False
    missing = sorted(set(now_there) - set(live.assignment.offsets))
    if missing:
        _replace(turn, live.assignment.engine, f"partitions {missing} are new")
    return bool(missing)


def startup(turn: Turn) -> None:
    """Both engines cold; Flink is started first. Dask takes over from a Flink that does not start."""
    state, observed, pin = turn.state, turn.observed, turn.observed.controls.pin
    if state.origin is None:
        if observed.origin is None:
            return None
        turn.set(origin=observed.origin)
        turn.say("OriginFixed", f"results begin at {observed.origin.boundary}")
    if pin is DASK:
        return trigger(turn, TriggerKind.PIN, "Dask is pinned")
    live = turn.state.flink
    if live is None:
        if turn.state.wanted is None and observed.flink.up:
            turn.want(FLINK)
    elif live.ran and _primary_dead(turn):
        return None
    elif lost(observed, live):
        _restart_lost(turn, live)
    elif job_state(observed, live) is JobState.RUNNING:
        latency = own_latency(observed, live)
        fresh = latency is not None and latency <= turn.failover.latency_seconds * 1000
        first = own_frontier(observed, state, live) > live.assignment.boundary
        if fresh or first or turn.in_phase_ms() >= STARTUP_TIMEOUT_MS:
            turn.enter(Phase.NORMAL, "Started", f"Flink runs after {duration(turn.in_phase_ms())}")
            turn.activate(FLINK)
        return None
    if turn.in_phase_ms() >= STARTUP_TIMEOUT_MS and pin is not FLINK:
        text = flink_status(observed, turn.state, turn.now).text
        since = seconds(turn.in_phase_ms())
        trigger(turn, TriggerKind.DEATH, f"Flink not running {since} after the start: {text}")
    return None


def normal(turn: Turn) -> None:
    """Flink only. A pin to Flink holds it here: a lost job is started anew in place."""
    controls, live = turn.observed.controls, turn.state.flink
    if live is None and turn.state.wanted is None and turn.observed.flink.up:
        turn.want(FLINK)
    if _repartitioned(turn, live) or _primary_dead(turn):
        return None
    if controls.pin is DASK:
        return trigger(turn, TriggerKind.PIN, "Dask is pinned")
    if controls.pin is FLINK:
        _skip_drill(turn)
        _restart_lost(turn, live)
        return check(turn)
    if controls.drill is not None and controls.drill != turn.state.drill:
        turn.set(drill=controls.drill)
        return trigger(turn, TriggerKind.DRILL, f"drill {controls.drill}")
    before = turn.state.checks.at
    check(turn)
    if turn.state.checks.at == before or not latency_breached(turn.state, turn.failover):
        return None
    latency, limit = turn.state.checks.latencies[-1], turn.failover.latency_seconds * 1000
    reason = f"latency {seconds(latency)} above {seconds(limit)}"
    if turn.switches_left():
        return trigger(turn, TriggerKind.LATENCY, reason)
    if violations(turn.state, turn.failover) == turn.failover.violations:
        most = turn.failover.max_latency_switches_per_hour
        turn.say("SwitchesExhausted", f"{reason}, but {most} switches an hour are allowed", warning=True)
    return None


def triggering(turn: Turn) -> None:
    """Dask is starting. Flink goes when Dask's assignment is recorded, if it is dead; else when Dask runs.

    Where nothing is wrong with Flink (a drill, a pin) it goes when Dask has a first result: no window waits.
    """
    observed, pin = turn.observed, turn.observed.controls.pin
    flink = flink_status(observed, turn.state, turn.now)
    alive = flink.ok and turn.state.flink is not None
    live = turn.state.dask
    if live is not None:
        status = dask_status(observed, turn.state, turn.now)
        published = own_frontier(observed, turn.state, live) > live.assignment.boundary
        if published or (status.ok and not (alive and _planned(turn) and own_latency(observed, live) != 0)):
            turn.retire(FLINK)
            turn.change_hand_over(completed=turn.now)
            took = duration(turn.in_phase_ms())
            message = f"Dask runs {took} after the decision: {turn.state.reason}"
            turn.enter(Phase.FALLBACK, "FallbackActive", message)
            return turn.activate(DASK)
        if flink.down:
            turn.retire(FLINK)
        if lost(observed, live) and not _paused(turn, live) and turn.state.wanted is None:
            _replace(turn, DASK, status.text)
    if alive and pin is FLINK:
        return _abandon_takeover(turn, "Flink is pinned")
    if turn.in_phase_ms() < TAKEOVER_TIMEOUT_MS:
        return None
    why = f"Dask did not run within {seconds(turn.in_phase_ms())}"
    if turn.state.flink is not None and flink.running in (Running.RUNNING, Running.STARTING):
        return _abandon_takeover(turn, why)
    if observed.flink.up and pin is not DASK:
        turn.retire(FLINK)
        _abandon_takeover(turn, why + "; Flink's cluster is up again")
        turn.want(FLINK)
    else:
        _replace(turn, DASK, why)
        turn.set_timers(phase=turn.now)
    return None


def _planned(turn: Turn) -> bool:
    """Whether the takeover was asked for."""
    return any(last.trigger in (TriggerKind.PIN, TriggerKind.DRILL) for last in turn.state.hand_overs[-1:])


def _abandon_takeover(turn: Turn, why: str) -> None:
    turn.retire(DASK)
    turn.set(wanted=None)
    turn.change_hand_over(abandoned=turn.now)
    turn.enter(Phase.NORMAL, "FallbackAbandoned", f"back to Flink: {why}", warning=True)
    turn.activate(FLINK)


def _keep_dask(turn: Turn) -> int:
    """Replace a Dask that does not run; returns for how many ms it has not."""
    live, status = turn.state.dask, dask_status(turn.observed, turn.state, turn.now)
    since = turn.state.timers.dask_down
    since = None if status.ok else turn.now if since is None else since
    if since != turn.state.timers.dask_down:
        turn.set_timers(dask_down=since)
    if since is None:
        _repartitioned(turn, live)
        return 0
    if turn.state.wanted is None:
        if live is None:
            turn.want(DASK)
        elif lost(turn.observed, live) or job_state(turn.observed, live) is JobState.FAILING:
            if not _paused(turn, live):
                _replace(turn, DASK, status.text)
        elif status.down and turn.now - max(live.at, since) >= TAKEOVER_TIMEOUT_MS:
            _replace(turn, DASK, status.text)
    return turn.now - since


def fallback(turn: Turn) -> None:
    """Dask only; Flink's cluster is kept up. A Dask that cannot run for long no longer holds Flink back."""
    _skip_drill(turn)
    dask_down_for = _keep_dask(turn)
    check(turn)
    pin, observed = turn.observed.controls.pin, turn.observed
    if pin is DASK or not observed.flink.up or shared_failure(observed) is not None:
        return
    if turn.now < turn.state.backoff.until:
        return
    if pin is FLINK:
        reason = "Flink is pinned"
    elif dask_down_for >= TAKEOVER_TIMEOUT_MS:
        reason = f"Flink's cluster is up and Dask not running for {seconds(dask_down_for)}"
        turn.retire(DASK)
    else:
        if turn.state.wanted is not None or dask_down_for:
            return
        if turn.in_phase_ms() < turn.failover.minimum_fallback_seconds * 1000:
            return
        if turn.state.checks.resumes < turn.failover.resume_checks or not resumable_latency(turn):
            return
        latency = observed.latency_ms or 0
        active = duration(turn.in_phase_ms())
        reason = f"Flink's cluster is up, latency {seconds(latency)}, Dask active for {active}"
    turn.begin_hand_over(TriggerKind.PIN if pin is FLINK else TriggerKind.RECOVERED, reason, FLINK)
    turn.enter(Phase.RESUMING, "ResumeStarted", f"Flink starts beside Dask: {reason}")


def resuming(turn: Turn) -> None:
    """Flink restarts at the frontier while Dask goes on."""
    _skip_drill(turn)
    observed, pin = turn.observed, turn.observed.controls.pin
    if pin is DASK:
        return _abandon_resume(turn, "Dask is pinned")
    down_for = track_primary(turn)
    status = flink_status(observed, turn.state, turn.now)
    if not observed.flink.up or lost(observed, turn.state.flink):
        return _abandon_resume(turn, f"Flink: {status.text}")
    if down_for > turn.failover.primary_recovery_seconds * 1000:
        return _abandon_resume(turn, f"Flink not running for {seconds(down_for)}: {status.text}")
    running = status.ok and turn.state.flink is not None
    dask_gone = turn.state.dask is None or lost(observed, turn.state.dask)
    if dask_gone:
        if running:
            return _hand_back(turn, "Dask is gone and Flink runs")
        if turn.state.dask is not None:
            return _abandon_resume(turn, "Dask is gone and Flink does not run yet")
    if running and pin is FLINK:
        return _hand_back(turn, "Flink is pinned and runs")
    limit = turn.failover.resume_latency_seconds * 1000
    if caught_up(observed, turn.state, limit) and shared_failure(observed) is None:
        live = turn.state.flink
        latency = own_latency(observed, live) if live else None
        return _hand_back(turn, f"Flink has caught up, its latency is {seconds(latency or 0)}")
    if turn.in_phase_ms() >= turn.failover.resume_timeout_seconds * 1000:
        return _abandon_resume(turn, f"Flink has not caught up within {seconds(turn.in_phase_ms())}")
    return None


def _hand_back(turn: Turn, why: str) -> None:
    turn.retire(DASK)
    turn.set(backoff=Backoff())
    turn.change_hand_over(completed=turn.now)
    turn.enter(Phase.NORMAL, "ResumeCompleted", f"Flink only, after {duration(turn.in_phase_ms())}: {why}")
    turn.activate(FLINK)


def _abandon_resume(turn: Turn, why: str) -> None:
    turn.retire(FLINK)
    count = turn.state.backoff.count + 1
    pause = min(BACKOFF_FIRST_MS * 2 ** min(count - 1, 16), BACKOFF_MOST_MS)
    turn.set(wanted=None, backoff=Backoff(count=count, until=turn.now + pause))
    turn.change_hand_over(abandoned=turn.now)
    turn.enter(Phase.FALLBACK, "ResumeAbandoned", f"{why}; next try in {duration(pause)}", warning=True)


def _skip_drill(turn: Turn) -> None:
    """A drill asked for when it cannot be held is done with: it must not come as a surprise later."""
    drill = turn.observed.controls.drill
    if drill is not None and drill != turn.state.drill:
        pinned = turn.observed.controls.pin is FLINK
        why = "Flink is pinned" if pinned else f"phase {turn.state.phase.value}"
        turn.set(drill=drill)
        turn.say("DrillSkipped", f"drill {drill} skipped: {why}")
