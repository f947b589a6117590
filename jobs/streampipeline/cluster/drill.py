"""`drill`: a planned failover and hand-back, and how long each part of it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streampipeline.api import controls
from streampipeline.cluster.client import Cluster, Object
from streampipeline.cluster.exits import FINE, PROBLEM, ClusterError, TimedOutError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit, now_ms
from streampipeline.cluster.resource import required_memory
from streampipeline.decide.state import HandOver, Phase, State

POLL_SECONDS = 1.0
Tell = Callable[[str], None]


@dataclass
class Course:
    """What has come of a drill so far. Seconds count from the request."""

    name: str
    """The drill's own text, by which the operator knows it."""
    asked: int
    """When it was asked for: ms, UTC."""
    phases: list[tuple[str, float]] = field(default_factory=list)
    outcome: str = ""
    """Completed, Abandoned, Skipped, or empty while it goes on."""
    seconds: dict[str, float] = field(default_factory=dict)

    def follow(self, state: State) -> str | None:
        """Take in what the operator remembers now; returns the phase when it is a new one."""
        if state.drill != self.name:
            return None
        mine = [i for i, each in enumerate(state.hand_overs) if each.reason == f"drill {self.name}"]
        if not mine:
            self.outcome = "Skipped"
            return None
        there, *back = state.hand_overs[mine[-1] :]
        self._measure(there, back[-1] if back else None)
        if there.abandoned is not None:
            self.outcome = "Abandoned"
        elif state.phase is Phase.NORMAL and there.completed is not None:
            self.outcome = "Completed"
        phase = state.phase.value
        if self.phases and self.phases[-1][0] == phase:
            return None
        self.phases.append((phase, self._after(state.since)))
        return phase

    def _measure(self, there: HandOver, back: HandOver | None) -> None:
        moments = {
            "decided": there.decided,
            "firstResult": there.first_result,
            "fallback": there.completed,
            "resuming": back.decided if back else None,
            "normal": back.completed if back else None,
        }
        self.seconds = {name: self._after(at) for name, at in moments.items() if at is not None}

    def _after(self, at: int) -> float:
        return round(max(0, at - self.asked) / 1000, 1)

    def as_data(self) -> dict[str, Any]:
        """All of it."""
        phases = [{"phase": phase, "seconds": seconds} for phase, seconds in self.phases]
        return {"drill": self.name, "outcome": self.outcome, "seconds": self.seconds, "phases": phases}


def drill(
    cluster: Cluster, name: str, wait: bool, timeout: float, output: Output, tell: Tell = lambda _: None
) -> int:
    """Ask for a drill; with `wait` follow it until it is Normal again.

    Returns 0, or 1 when the drill was skipped or abandoned. Raises TimedOutError after `timeout` seconds, and
    ClusterError when no drill can be held now.
    """
    body = cluster.pipeline(name)
    _check(name, body)
    asked = now_ms()
    course = Course(f"{datetime.fromtimestamp(asked / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z", asked)
    cluster.annotate(name, controls.DRILL, course.name)
    where = {"namespace": cluster.namespace, "name": name}
    if not wait:
        emit({**where, "drill": course.name}, f"{name}: drill {course.name} is asked for", output)
        return FINE
    deadline = time.monotonic() + timeout
    while True:
        phase = course.follow(required_memory(cluster.pipeline(name)).state)
        if phase is not None:
            tell(f"{course.phases[-1][1]:7.1f} s  {phase}")
        if course.outcome:
            break
        if time.monotonic() >= deadline:
            raise TimedOutError(_late(course, timeout))
        time.sleep(POLL_SECONDS)
    emit({**where, **course.as_data()}, f"{name}: {summary(course)}", output)
    return FINE if course.outcome == "Completed" else PROBLEM


def summary(course: Course) -> str:
    """One sentence."""
    seconds = course.seconds
    if course.outcome == "Skipped":
        return f"drill {course.name} was skipped: the pipeline was not in Normal any more, or pinned"
    if course.outcome == "Abandoned":
        return f"drill {course.name} was abandoned: `explain` has the reason"
    told = {
        "Dask had the work": seconds.get("fallback"),
        "its first result was there": seconds.get("firstResult"),
        "the hand-back began": seconds.get("resuming"),
        "Normal again": seconds.get("normal"),
    }
    return "drill done: " + ", ".join(f"{what} after {at} s" for what, at in told.items() if at is not None)


def _late(course: Course, timeout: float) -> str:
    if not course.phases:
        return f"no operator has taken the drill up within {timeout:g} s: is it running?"
    return f"the drill is not over after {timeout:g} s: {course.phases[-1][0]}; it goes on"


def _check(name: str, body: Object) -> None:
    state = required_memory(body).state
    pinned = (body["metadata"].get("annotations") or {}).get(controls.PIN_ENGINE)
    if body["spec"].get("suspend"):
        raise ClusterError(f"{name} is suspended: no drill can be held")
    if pinned:
        raise ClusterError(f"{name} is pinned to {pinned}: remove the pin first")
    if state.phase is not Phase.NORMAL:
        raise ClusterError(f"{name} is in phase {state.phase.value}: a drill begins in Normal")
