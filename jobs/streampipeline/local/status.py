"""The status of a run, `state.json`: written whole, before what it announces is done."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from streampipeline.api.spec import Model
from streampipeline.decide import State, cold
from streampipeline.jobconfig import TimestampType
from streampipeline.sinks.base import write_secret


class PhaseChange(Model):
    """When (ms, UTC) a phase began."""

    phase: str
    at: int


class Status(Model):
    """What a run remembers in its working directory."""

    uid: str
    pipeline: str
    fingerprint: str
    """Of what must not change under points that are there: source, schema, window, sink."""
    timestamp_type: TimestampType = TimestampType.LOG_APPEND_TIME
    state: State
    phases: tuple[PhaseChange, ...] = ()


class ChangedPipelineError(Exception):
    """The working directory holds another pipeline's results."""


@dataclass
class StatusFile:
    """Reads and writes one status."""

    path: Path

    def load(self, pipeline: str, fingerprint: str, timestamp_type: TimestampType) -> Status:
        """The status to go on from: stored, with the topic's timestamps as they were, or new.

        Raises ChangedPipelineError.
        """
        now = time.time_ns() // 1_000_000
        if not self.path.exists():
            return Status(
                uid=secrets.token_hex(4),
                pipeline=pipeline,
                fingerprint=fingerprint,
                timestamp_type=timestamp_type,
                state=State.initial(now),
            )
        stored = Status.model_validate_json(self.path.read_text())
        if (stored.pipeline, stored.fingerprint) != (pipeline, fingerprint):
            raise ChangedPipelineError(
                f"{self.path.parent} holds results of {stored.pipeline!r} with another source, schema, "
                "window or sink: name another --workdir, or remove this one"
            )
        return stored.model_copy(update={"state": cold(stored.state, now)})

    def store(self, status: Status) -> None:
        """Replace the file in one step. Raises OSError."""
        write_secret(self.path, status.model_dump_json(by_alias=True, indent=1))
