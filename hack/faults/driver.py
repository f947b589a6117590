"""Plays scenarios on a stack, one after another, in the turns of the stack's own loop, and measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass, field
from time import time_ns
from typing import Any

from faults.scenario import Moment, Right, Scenario
from faults.stack import Stack
from streampipeline.decide.events import Event
from streampipeline.decide.observed import JobState
from streampipeline.decide.state import ConditionStatus, HandOver, Phase, State, TriggerKind
from streampipeline.jobconfig import EngineName
from streampipeline.local.view import Frame

CALM_SECONDS = 3.0
"""All must be well for so long before it counts as well."""
SETTLE_SECONDS = 180.0
WARM_SECONDS = 15.0
"""So long a worker and a driver have to start before they count as warm."""
PROBE_SECONDS = 6.0
"""After a fault is over probes need a moment to see it."""

Turns = Generator[None, None, None]


@dataclass
class Played:
    """How one scenario went. Times in ms, UTC; seconds where the name says so."""

    name: str
    right: Right
    shared: bool = False
    warm: bool = False
    injected: int = 0
    healed: int = 0
    over: int = 0
    seconds_until_seen: float | None = None
    """From the fault to what must be seen; None: it was not seen in time."""
    seconds_until_fresh: float = 0.0
    """Until windows came on time again: from the fault on, of a shared one from its end on."""
    seconds_until_ready: float = 0.0
    """Until the condition Ready was True to stay; counted in the same way."""
    worst_late_seconds: float = 0.0
    """By how much the latest of its windows came late."""
    twice: int = 0
    """Points that both engines wrote."""
    hand_overs: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


class Driver:
    """Implements the run's `View` and its `Faults`: it is shown every look and may act at every turn."""

    def __init__(self, scenarios: Iterable[Scenario], seconds: float, say: Callable[[str], None]) -> None:
        """No scenario begins later than `seconds` into the stream."""
        self.times: dict[str, int] = {}
        self.played: list[Played] = []
        self._seconds = seconds
        self._say = say
        self._stack: Stack | None = None
        self._frame: Frame | None = None
        self._events: list[Event] = []
        self._hand_overs: dict[int, HandOver] = {}
        self._done = False
        self._well_since: float | None = None
        self._unready = 0
        """When the pipeline was last seen not Ready."""
        self._turns = self._all(scenarios)

    def play_on(self, stack: Stack) -> None:
        """The stack, once it has started."""
        self._stack = stack
        stack.faults = self

    # View

    def say(self, text: str) -> None:
        """See `View`."""
        self._say(text)

    def event(self, now: int, event: Event) -> None:
        """See `View`."""
        self._events.append(event)
        self._say(f"  {event.reason}: {event.message}")

    def show(self, frame: Frame) -> None:
        """See `View`."""
        self._frame = frame
        for hand_over in frame.state.hand_overs:
            self._hand_overs[hand_over.epoch] = hand_over
        well = self._well_now(frame)
        self._well_since = (self._well_since or time.monotonic()) if well else None
        if not _is_ready(frame.state):
            self._unready = _now()

    def close(self) -> None:
        """See `View`."""

    # Faults

    def apply(self, elapsed: float) -> None:
        """See `Faults`: one step on."""
        if self._frame is not None and not self._done:
            self._done = next(self._turns, True) is True

    def over(self, elapsed: float) -> bool:
        """See `Faults`."""
        return self._done

    # Playing

    @property
    def stack(self) -> Stack:
        """That it plays on."""
        assert self._stack is not None
        return self._stack

    @property
    def _moment(self) -> Moment:
        assert self._frame is not None
        return Moment(self.stack, self._frame, self._events)

    def _all(self, scenarios: Iterable[Scenario]) -> Turns:
        began = time.monotonic()
        for scenario in scenarios:
            if time.monotonic() - began > self._seconds:
                break
            yield from self._play(scenario)
        self.stack.end_stream()

    def _play(self, scenario: Scenario) -> Turns:
        played = Played(scenario.name, scenario.right, scenario.shared, scenario.warm)
        self.played.append(played)
        self.stack.keep_workers(1 if scenario.warm else 0)
        yield from self._until(played, "well before it", lambda: self._well(Phase.NORMAL), SETTLE_SECONDS)
        earlier = set(self._hand_overs)
        if scenario.warm:
            started = time.monotonic()
            while time.monotonic() - started <= WARM_SECONDS:
                yield
        if scenario.on_dask:
            self.stack.control(pin=EngineName.DASK)
            yield from self._until(played, "Dask at work", lambda: self._well(Phase.FALLBACK), SETTLE_SECONDS)
        self._say(f"{scenario.name}: {scenario.right.value} is right")
        self._events.clear()
        played.injected = self.times[f"{len(self.played)} {scenario.name}"] = _now()
        phase = Phase.FALLBACK if scenario.on_dask else Phase.NORMAL
        before = set(self._hand_overs)
        yield from self._keep(scenario, played)
        scenario.heal(self.stack)
        played.healed = _now()
        healed = time.monotonic()
        yield from self._until(
            played,
            "well after it",
            lambda: time.monotonic() - healed > PROBE_SECONDS and self._well(phase),
            SETTLE_SECONDS,
        )
        played.over = _now()
        since = played.healed if scenario.shared else played.injected
        played.seconds_until_ready = round(max(0, self._unready - since) / 1000, 1)
        switches = [one for epoch, one in self._hand_overs.items() if epoch not in before]
        if scenario.on_dask:
            self.stack.control()
            yield from self._until(played, "Normal", lambda: self._well(Phase.NORMAL), SETTLE_SECONDS)
        self._judge(scenario, played, switches)
        played.hand_overs = [
            one.model_dump(mode="json") for epoch, one in self._hand_overs.items() if epoch not in earlier
        ]
        self.stack.control()
        for complaint in played.complaints:
            self._say(f"{scenario.name}: NOT RIGHT: {complaint}")

    def _keep(self, scenario: Scenario, played: Played) -> Turns:
        """The fault lasts until what must be seen is seen, and for its time."""
        began = time.monotonic()
        scenario.inject(self.stack)
        while True:
            scenario.keep(self.stack)
            yield
            lasted = time.monotonic() - began
            if played.seconds_until_seen is None and scenario.seen(self._moment):
                played.seconds_until_seen = round(lasted, 1)
            if played.seconds_until_seen is not None and lasted >= scenario.hold:
                return
            if lasted >= max(scenario.within, scenario.hold):
                played.complaints.append(f"what must be seen was not within {lasted:.0f} s")
                return

    def _until(self, played: Played, what: str, holds: Callable[[], bool], seconds: float) -> Turns:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                played.complaints.append(f"not {what} within {seconds:.0f} s")
                return
            yield

    def _well(self, phase: Phase) -> bool:
        calm = self._well_since is not None and time.monotonic() - self._well_since >= CALM_SECONDS
        return calm and self._moment.phase is phase

    def _well_now(self, frame: Frame) -> bool:
        """Results are fresh, by the sink too, from a single engine that runs, and nothing is under way."""
        state, latency, limit = (
            frame.state,
            frame.observed.latency_ms,
            frame.spec.failover.latency_seconds * 1000,
        )
        live = state.live(state.active) if state.active else None
        if live is None or self._stack is None or state.retiring or state.wanted or state.frozen_since:
            return False
        running = frame.observed.job(live.assignment.engine, live.assignment.epoch).state is JobState.RUNNING
        fresh = latency is not None and latency <= limit and self.stack.landings.late_now() <= limit
        return running and fresh and _is_ready(state)

    # Judging

    def _judge(self, scenario: Scenario, played: Played, switches: list[HandOver]) -> None:
        stack, landings = self.stack, self.stack.landings
        limit = stack.spec.failover.latency_seconds * 1000
        late = landings.lateness(played.injected, played.over)
        since = played.healed if scenario.shared else played.injected
        last = max((landings.landed(start) for start, by in late.items() if by > limit), default=since)
        played.seconds_until_fresh = round(max(0, last - since) / 1000, 1)
        played.worst_late_seconds = round(max(late.values(), default=0) / 1000, 1)
        played.twice = landings.overlap(played.injected - landings.window_ms, played.over)
        if not late:
            played.complaints.append("no window came")
        switched = any(one.abandoned is None for one in switches)
        if scenario.right is Right.SWITCH and not switched:
            played.complaints.append("no switch")
        wrong = switches if scenario.right is Right.WAIT else []
        if scenario.right is Right.RESTART:
            helped = (TriggerKind.LATENCY, TriggerKind.RECOVERED)
            wrong = [one for one in switches if one.trigger not in helped]
        played.complaints += [f"a switch: {one.reason}" for one in wrong]
        if complaint := scenario.check(self._moment):
            played.complaints.append(complaint)


def _is_ready(state: State) -> bool:
    ready = state.condition("Ready")
    return ready is not None and ready.status is ConditionStatus.TRUE


def _now() -> int:
    return time_ns() // 1_000_000
