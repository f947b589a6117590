"""One decision in the making: the observation, the state as it becomes, and the moves that rules share."""

from __future__ import annotations

from dataclasses import dataclass, field

from streampipeline.api.spec import Failover, StreamPipelineSpec
from streampipeline.decide.events import Event
from streampipeline.decide.facts import frontier
from streampipeline.decide.observed import Observed
from streampipeline.decide.state import (
    Checks,
    HandOver,
    Live,
    Phase,
    Retiring,
    State,
    Timers,
    TriggerKind,
    Wanted,
)
from streampipeline.jobconfig import EngineName

HAND_OVERS_KEPT = 10
HOUR_MS = 3_600_000


@dataclass
class Turn:
    """Mutable only within one call of `decide`."""

    observed: Observed
    state: State
    now: int
    spec: StreamPipelineSpec
    events: list[Event] = field(default_factory=list)

    @property
    def failover(self) -> Failover:
        """The spec's thresholds."""
        return self.spec.failover

    def set(self, **changes: object) -> None:
        """Change fields of the state."""
        self.state = self.state.model_copy(update=changes)

    def set_timers(self, **changes: object) -> None:
        """Change clocks."""
        self.set(timers=self.state.timers.model_copy(update=changes))

    def set_live(self, engine: EngineName, live: Live | None) -> None:
        """Change an engine's assignment in force."""
        self.set(**{"flink" if engine is EngineName.FLINK else "dask": live})

    def say(self, reason: str, message: str, warning: bool = False, phase: Phase | None = None) -> None:
        """Add an event."""
        self.events.append(Event(at=self.now, reason=reason, message=message, warning=warning, phase=phase))

    def in_phase_ms(self) -> int:
        """How long the phase lasts, shared failures not counted."""
        return self.now - self.state.timers.phase

    def enter(self, phase: Phase, reason: str, message: str, warning: bool = False) -> None:
        """Change the phase; its counters and clocks begin anew."""
        self.set(
            phase=phase,
            since=self.now,
            timers=Timers(phase=self.now, thawed=self.state.timers.thawed, backlog=self.state.timers.backlog),
            checks=Checks(at=self.now),
        )
        self.say(reason, message, warning, phase)

    def activate(self, engine: EngineName | None) -> None:
        """Say which engine the results come from."""
        if self.state.active is not engine:
            self.set(active=engine, active_since=None if engine is None else self.now)

    def want(self, engine: EngineName, accept_loss: bool = False, clear: bool = False) -> int:
        """Ask for a start; returns the new epoch, greater than any before, of a recreated pipeline too."""
        epoch = max(self.state.epoch + 1, self.now // 1000)
        wanted = Wanted(engine=engine, epoch=epoch, accept_loss=accept_loss, clear=clear)
        self.set(epoch=epoch, wanted=wanted)
        return epoch

    def retire(self, engine: EngineName) -> None:
        """Take away the assignment that is in force, if any."""
        live = self.state.live(engine)
        if live is None:
            return
        self.set(retiring=(*self.state.retiring, Retiring(assignment=live.assignment)))
        self.set_live(engine, None)

    def begin_hand_over(self, kind: TriggerKind, reason: str, target: EngineName) -> None:
        """Want `target` and note why."""
        source = EngineName.DASK if target is EngineName.FLINK else EngineName.FLINK
        epoch = self.want(target)
        at = frontier(self.observed, self.state)
        size, slide = self.spec.window.size_ms, self.spec.window.slide_ms
        ended = 0 if at is None else max(0, (self.now - size) // slide - (at - size) // slide)
        hand_over = HandOver(
            trigger=kind,
            reason=reason,
            source=source,
            target=target,
            epoch=epoch,
            decided=self.now,
            windows_pending=ended,
        )
        self.set(hand_overs=(*self.state.hand_overs, hand_over)[-HAND_OVERS_KEPT:])

    def change_hand_over(self, **changes: object) -> None:
        """Change the newest hand-over while it is open; nothing to do when none is."""
        if not self.state.hand_overs:
            return
        last = self.state.hand_overs[-1]
        if last.completed is None and last.abandoned is None:
            self.set(hand_overs=(*self.state.hand_overs[:-1], last.model_copy(update=changes)))

    def switches_left(self) -> int:
        """Latency switches that the hour still allows."""
        recent = [at for at in self.state.latency_switches if self.now - at < HOUR_MS]
        return max(0, self.failover.max_latency_switches_per_hour - len(recent))
