"""What a recording shows of one engine, look after look."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from streampipeline.decide.observed import JobState
from streampipeline.jobconfig import EngineName
from streampipeline.simulate.trace import Row

GONE = (JobState.ABSENT, JobState.FINISHED)
PACE_MS = 30_000
"""The pace of an engine is that of its last work of such a length."""


@dataclass
class Recorded:
    """What the recording shows of one engine up to now."""

    position: float | None = None
    """Where it was at the last look at which it worked."""
    step: float = 0.0
    """How far it came since the look before; below 0 where latency grew by more than the time that passed."""
    working: bool = False
    alive: bool = False
    """Its assignment had a job that was seen to exist."""
    died: bool = False
    """It was seen to be gone at this look."""
    track: deque[tuple[int, float]] = field(default_factory=deque)

    def follow(self, row: Row, engine: EngineName) -> None:
        """Take in one look."""
        seen, before = row.engine(engine), self.position if self.working else None
        self.died = seen is not None and self.alive and seen.job in GONE
        if seen is None or seen.job in GONE:
            self.alive = False
        elif seen.job is not JobState.UNKNOWN:
            self.alive = True
        latency = seen.latency_ms if seen is not None and seen.job is JobState.RUNNING else None
        self.working = latency is not None
        if latency is None:
            return
        self.position = row.at - latency
        self.step = 0.0 if before is None else self.position - before
        self.track.append((row.at, self.position))
        while self.track[-1][0] - self.track[0][0] > PACE_MS:
            self.track.popleft()

    def pace(self) -> float:
        """Seconds of stream done in a second, over its last half minute of work; at most 1."""
        if len(self.track) < 2:
            return 0.0
        (began, start), (ended, end) = self.track[0], self.track[-1]
        return min(1.0, max(0.0, (end - start) / (ended - began)))
