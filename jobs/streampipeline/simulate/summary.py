"""Figures of a run, recorded or simulated, and where two part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from streampipeline.decide import Phase
from streampipeline.decide.events import duration, seconds
from streampipeline.decide.state import TriggerKind
from streampipeline.simulate.trace import Row

EXHAUSTED = "SwitchesExhausted"


@dataclass(frozen=True)
class Transition:
    """A phase entered. `at`: ms, UTC; `trigger`: of a takeover; `message`: with the numbers, where known."""

    at: int
    phase: Phase
    trigger: TriggerKind | None
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Sample:
    """One look."""

    at: int
    phase: Phase
    latency_ms: int | None
    workers: int
    """Of Dask, that were asked for."""


@dataclass(frozen=True)
class Figures:
    """All in ms; each look counts for the time up to the next."""

    lasted: int
    phases: dict[Phase, int]
    above: int
    """Latency above the objective."""
    highest: int
    """The highest latency."""
    workers: int
    """Dask workers asked for, times the time that they were."""


@dataclass
class Meter:
    """Adds up samples in the order of their times."""

    objective_ms: int
    _last: Sample | None = None
    _first_at: int = 0
    _phases: Counter[Phase] = field(default_factory=Counter)
    _above: int = 0
    _highest: int = 0
    _workers: int = 0

    def add(self, sample: Sample) -> None:
        """The next look."""
        last = self._last
        if last is None:
            self._first_at = sample.at
        else:
            ms = sample.at - last.at
            self._phases[last.phase] += ms
            self._workers += ms * last.workers
            if last.latency_ms is not None and last.latency_ms > self.objective_ms:
                self._above += ms
        self._highest = max(self._highest, sample.latency_ms or 0)
        self._last = sample

    def figures(self) -> Figures:
        """Of all samples so far."""
        lasted = self._last.at - self._first_at if self._last else 0
        return Figures(lasted, dict(self._phases), self._above, self._highest, self._workers)


@dataclass(frozen=True)
class Timeline:
    """What happened, or would have."""

    transitions: tuple[Transition, ...]
    events: tuple[str, ...]
    """Reasons of all events."""
    figures: Figures

    @property
    def takeovers(self) -> Counter[TriggerKind]:
        """Switches to Dask that were decided, by what triggered them."""
        return Counter(each.trigger for each in self.transitions if each.trigger is not None)

    def count(self, reason: str) -> int:
        """Events of a reason."""
        return self.events.count(reason)


def recorded(rows: Sequence[Row], objective_ms: int) -> Timeline:
    """What the recording says that happened."""
    meter = Meter(objective_ms)
    transitions: list[Transition] = []
    phase = rows[0].phase
    for row in rows:
        meter.add(Sample(row.at, row.phase, row.latency_ms, row.workers_wanted))
        if row.phase is not phase:
            phase = row.phase
            trigger = row.trigger if phase is Phase.TRIGGERING else None
            transitions.append(Transition(row.at, phase, trigger, row.entered or ""))
    return Timeline(tuple(transitions), tuple(e for row in rows for e in row.events), meter.figures())


def difference(runs: Mapping[str, Timeline], began: int) -> str:
    """In words: whether two runs made the same transitions, and where they part. `began`: ms, UTC."""
    apart = 0
    pairs = zip_longest(*(run.transitions for run in runs.values()))
    for index, (one, other) in enumerate(pairs):
        if one is None or other is None or (one.phase, one.trigger) != (other.phase, other.trigger):
            told = (f"{name}: {_told(at, began)}" for name, at in zip(runs, (one, other), strict=True))
            return f"the same up to transition {index}, then {'; '.join(told)}"
        apart = max(apart, abs(one.at - other.at))
    count = max(len(run.transitions) for run in runs.values())
    return (
        f"the same {count} transitions, at most {seconds(apart)} apart"
        if count
        else "no transition in either"
    )


def _told(transition: Transition | None, began: int) -> str:
    if transition is None:
        return "no more"
    why = f" ({transition.trigger.value})" if transition.trigger else ""
    return f"{transition.phase.value}{why} at +{duration(transition.at - began)}"
