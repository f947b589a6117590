"""Faults by flag: `kill-flink@30s+60s` kills Flink 30 s after the stream began and holds it down for 60 s."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What goes wrong: a part killed and held down, crashing again and again, slowed, frozen, or full."""

    KILL_FLINK = "kill-flink"
    KILL_JOBMANAGER = "kill-jobmanager"
    KILL_TASKMANAGER = "kill-taskmanager"
    CRASH_JOB = "crash-job"
    FREEZE_FLINK = "freeze-flink"
    KILL_DASK = "kill-dask"
    KILL_SCHEDULER = "kill-scheduler"
    KILL_WORKER = "kill-worker"
    KILL_DRIVER = "kill-driver"
    STOP_MODEL = "stop-model"
    SLOW_MODEL = "slow-model"
    STOP_KAFKA = "stop-kafka"
    STOP_SINK = "stop-sink"
    SLOW_SINK = "slow-sink"
    FULL_SINK = "full-sink"


@dataclass(frozen=True)
class Fault:
    """One fault; times in seconds since the stream began."""

    kind: FaultKind
    at: float
    hold: float

    def __str__(self) -> str:
        return f"{self.kind}@{self.at:g}s+{self.hold:g}s"

    def active(self, elapsed: float) -> bool:
        """Whether it is in force `elapsed` seconds into the stream."""
        return self.at <= elapsed < self.at + self.hold


_FORM = re.compile(r"(?P<kind>[a-z-]+)@(?P<at>\d+(\.\d+)?)s?(\+(?P<hold>\d+(\.\d+)?)s?)?")
DEFAULT_HOLD_SECONDS = 30.0


def parse_fault(text: str) -> Fault:
    """Read one `--fault`. Raises ValueError with the accepted form."""
    match = _FORM.fullmatch(text)
    kinds = [kind.value for kind in FaultKind]
    if match is None or match["kind"] not in kinds:
        raise ValueError(
            f"--fault {text!r}: write KIND@START[+HOLD], for example kill-flink@30s+60s; "
            f"KIND is one of {', '.join(kinds)}"
        )
    hold = float(match["hold"]) if match["hold"] else DEFAULT_HOLD_SECONDS
    return Fault(FaultKind(match["kind"]), float(match["at"]), hold)
