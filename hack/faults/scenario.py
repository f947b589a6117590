"""What a scenario is: a fault, what must be seen while it lasts, and what is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from faults.stack import Stack
from streampipeline.decide.events import Event
from streampipeline.decide.state import ConditionStatus, Phase
from streampipeline.local.view import Frame


class Right(StrEnum):
    """What is right."""

    SWITCH = "switch"
    """The other engine takes over, and hands back."""
    WAIT = "wait"
    """No switch: both engines need what failed, or none of them minds."""
    RESTART = "restart"
    """The same engine starts anew; the other one helps out only where that takes longer than latency may."""
    STOP = "stop"
    """Nothing goes on without the user's word."""


@dataclass(frozen=True)
class Moment:
    """One look at a stack while a scenario is played. `events`: since the fault began."""

    stack: Stack
    frame: Frame
    events: Sequence[Event]

    @property
    def phase(self) -> Phase:
        """Of the pipeline."""
        return self.frame.state.phase

    def told(self, reason: str) -> bool:
        """Whether an event of that reason came."""
        return any(event.reason == reason for event in self.events)

    def condition(self, name: str, status: ConditionStatus = ConditionStatus.TRUE) -> bool:
        """Whether a condition has that status."""
        found = self.frame.state.condition(name)
        return found is not None and found.status is status


def _nothing(_: Stack) -> None:
    pass


def _always(_: Moment) -> bool:
    return True


def _no_complaint(_: Moment) -> str:
    return ""


def fallback(moment: Moment) -> bool:
    """Dask has taken over."""
    return moment.phase is Phase.FALLBACK


@dataclass(frozen=True)
class Scenario:
    """One fault. The functions are called between two turns of the stack's loop; seconds."""

    name: str
    right: Right
    inject: Callable[[Stack], None] = _nothing
    keep: Callable[[Stack], None] = _nothing
    """Called at every turn while the fault lasts."""
    heal: Callable[[Stack], None] = _nothing
    seen: Callable[[Moment], bool] = _always
    """What must be seen before it is healed."""
    within: float = 60
    hold: float = 0
    """It lasts at least so long."""
    on_dask: bool = False
    """Dask has the work (pinned) when it begins, and keeps it."""
    warm: bool = False
    """Workers and a driver stand by when it begins; without it nothing of Dask runs in Normal."""
    check: Callable[[Moment], str] = _no_complaint
    """What is wrong at the end, when all is well again; empty: nothing."""
    shared: bool = False
    """Both engines need what fails: results can be fresh only after it is healed."""
