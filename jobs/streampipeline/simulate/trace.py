"""A trace: what each look of a run saw and what was decided, one JSON line each, below one about the run.

It holds times, latencies, healths and counts; no record, no message of a probe (it may quote one), no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import ValidationError

from streampipeline.api.spec import Failover, Model, StreamPipelineSpec
from streampipeline.decide import Decision, Observed, Phase, State
from streampipeline.decide.effects import dask_workers
from streampipeline.decide.observed import Health, Job, JobState
from streampipeline.decide.state import Live, TriggerKind
from streampipeline.jobconfig import EngineName


class Header(Model):
    """The first line."""

    trace: Literal[1] = 1
    """Version of the format."""
    pipeline: str
    failover: Failover
    """The thresholds that the run was decided by."""


class EngineSeen(Model):
    """The job of an engine's assignment in force."""

    job: JobState
    latency_ms: int | None = None
    """From its own frontier; None: unknown."""


class Row(Model):
    """One look. Times are ms, UTC; None: unknown, or not there."""

    at: int
    phase: Phase
    """After the decision."""
    active: EngineName | None = None
    trigger: TriggerKind | None = None
    """Why Dask has, or is given, the work; None in Normal."""
    entered: str | None = None
    """Reason of the event by which the phase was entered, at this look."""
    events: tuple[str, ...] = ()
    """Reasons of all events of the decision."""
    latency_ms: int | None = None
    """Of the pipeline."""
    ground: Health
    kafka: Health
    sink: Health
    model: Health
    flink_cluster: Health
    dask_cluster: Health
    flink: EngineSeen | None = None
    dask: EngineSeen | None = None
    workers: int = 0
    """Of Dask, that were there."""
    workers_wanted: int = 0
    records: int | None = None
    """In the topic, all partitions together: the sum of the end offsets."""
    pin: EngineName | None = None
    drill: str | None = None

    def engine(self, name: EngineName) -> EngineSeen | None:
        """What was seen of one engine."""
        return self.flink if name is EngineName.FLINK else self.dask


def row_of(
    now: int, observed: Observed, decision: Decision, ends: Mapping[int, int], spec: StreamPipelineSpec
) -> Row:
    """The row of one decision. `ends`: end offsets of the topic's partitions, empty when not known."""
    state = decision.state
    return Row(
        at=now,
        phase=state.phase,
        active=state.active,
        trigger=_trigger(state),
        entered=next((event.reason for event in decision.events if event.phase), None),
        events=tuple(event.reason for event in decision.events),
        latency_ms=observed.latency_ms,
        ground=observed.ground.health,
        kafka=observed.kafka.health,
        sink=observed.sink.health,
        model=observed.model.health,
        flink_cluster=observed.flink.health,
        dask_cluster=observed.dask.health,
        flink=_engine(observed, state.flink),
        dask=_engine(observed, state.dask),
        workers=observed.dask_workers,
        workers_wanted=dask_workers(observed, state, spec),
        records=sum(ends.values()) if ends else None,
        pin=observed.controls.pin,
        drill=observed.controls.drill,
    )


def _trigger(state: State) -> TriggerKind | None:
    if state.phase not in (Phase.TRIGGERING, Phase.FALLBACK, Phase.RESUMING):
        return None
    takeovers = [each.trigger for each in state.hand_overs if each.target is EngineName.DASK]
    return takeovers[-1] if takeovers else None


def _engine(observed: Observed, live: Live | None) -> EngineSeen | None:
    if live is None:
        return None
    job: Job = observed.job(live.assignment.engine, live.assignment.epoch)
    return EngineSeen(job=job.state, latency_ms=job.latency_ms)


Line = TypeVar("Line", Header, Row)


class TraceError(Exception):
    """A file that holds no trace; the message says where and why."""


@dataclass(frozen=True)
class Trace:
    """One run; `rows` in the order of their times, at least two."""

    header: Header
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file; a last line that was cut off is left out. Raises OSError, TraceError."""
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise TraceError(f"{path} is no trace: not UTF-8") from None
        lines = text.split("\n")[:-1]
        if not lines:
            raise TraceError(f"{path} is no trace: it is empty")
        header = _line(Header, lines[0], path, 1)
        rows = [_line(Row, line, path, number) for number, line in enumerate(lines[1:], start=2)]
        for number, (before, after) in enumerate(pairwise(rows), start=3):
            if after.at <= before.at:
                raise TraceError(f"{path}: line {number}: `at` is not after that of the line before")
        if len(rows) < 2:
            raise TraceError(f"{path} holds {len(rows)} looks: too few to simulate anything")
        return cls(header, tuple(rows))


def _line(model: type[Line], line: str, path: Path, number: int) -> Line:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"{path}: line {number}: {field}: " if field else f"{path}: line {number}: "
        raise TraceError(where + first["msg"]) from None


class TraceWriter:
    """Writes a trace while the run goes on; a killed run loses its last line at most."""

    def __init__(self, path: Path, header: Header) -> None:
        """Replaces the file. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._at = 0
        self._write(header)

    def add(self, row: Row) -> None:
        """One look; one that is not later than the last is left out. Raises OSError."""
        if row.at > self._at:
            self._at = row.at
            self._write(row)

    def _write(self, line: Header | Row) -> None:
        self._file.write(line.model_dump_json(by_alias=True, exclude_none=True) + "\n")

    def close(self) -> None:
        """The file is complete."""
        self._file.close()
