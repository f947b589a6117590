"""How long engines take to start and how fast they catch up: a simulation's assumptions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from streampipeline.decide.observed import Health, JobState
from streampipeline.jobconfig import EngineName
from streampipeline.simulate.trace import Row, Trace

FLINK_START_SECONDS = 20.0
"""From the submission of a job to its tasks running; a cluster that is up."""
DASK_START_SECONDS = 10.0
"""From the first suspicion to a worker and a driver that stands by; no Dask before."""
DRIVER_START_MS = 1_000
"""From the assignment to a driver that runs, with Dask warm."""
RATES = {EngineName.FLINK: 77_875.0, EngineName.DASK: 308_660.0}
"""Records a second (docs/performance.md, Engines)."""


@dataclass(frozen=True)
class Engines:
    """Of one simulation. `speed`: seconds of stream done in a second by an engine that has fallen behind."""

    flink_start_ms: int
    dask_start_ms: int
    speed: dict[EngineName, float]
    sources: dict[str, str]
    """For each assumption, in words, where it is from: option, trace or default."""

    def start_ms(self, engine: EngineName) -> int:
        """Time to start."""
        return self.flink_start_ms if engine is EngineName.FLINK else self.dask_start_ms


def engines_of(
    trace: Trace,
    *,
    flink_start: float | None = None,
    dask_start: float | None = None,
    flink_rate: float | None = None,
    dask_rate: float | None = None,
) -> Engines:
    """What the caller says (seconds, records a second), else what the trace shows, else the defaults."""
    flink, flink_source = _chosen(flink_start, flink_starts(trace.rows), FLINK_START_SECONDS)
    dask, dask_source = _chosen(dask_start, dask_starts(trace.rows), DASK_START_SECONDS)
    arriving = arrival_rate(trace.rows)
    given = {EngineName.FLINK: flink_rate, EngineName.DASK: dask_rate}
    rates = {engine: given[engine] or rate for engine, rate in RATES.items()}
    return Engines(
        flink_start_ms=round(flink * 1000),
        dask_start_ms=round(dask * 1000),
        speed={engine: max(1.0, rate / arriving) for engine, rate in rates.items()},
        sources={
            f"Flink's job starts in {flink:.1f} s": flink_source,
            f"Dask starts in {dask:.1f} s": dask_source,
            f"Flink catches up at {rates[EngineName.FLINK]:,.0f} records/s": _origin(flink_rate),
            f"Dask catches up at {rates[EngineName.DASK]:,.0f} records/s": _origin(dask_rate),
            f"{arriving:,.0f} records/s arrive on average": "trace",
        },
    )


def _origin(option: float | None) -> str:
    return "default" if option is None else "option"


@dataclass(frozen=True)
class Starts:
    """What the trace shows of an engine's starts, in seconds."""

    took: tuple[float, ...] = ()
    at_most: float | None = None
    """One that was ready when it was needed took so long at most."""
    more_than: float | None = None
    """One that was given up had taken so long."""

    def seconds(self, default: float) -> tuple[float, str]:
        """The length to assume, and where it is from."""
        if self.took:
            return median(self.took), f"trace, median of {len(self.took)}"
        if self.more_than is not None and self.more_than > default:
            return self.more_than, "trace, given up after so long"
        if self.at_most is not None and self.at_most < default:
            return self.at_most, "trace, at most"
        return default, "default"


def _chosen(option: float | None, seen: Starts, default: float) -> tuple[float, str]:
    return (option, "option") if option is not None else seen.seconds(default)


def flink_starts(rows: tuple[Row, ...]) -> Starts:
    """From each assignment of Flink to its job running, with its cluster up all the while."""
    took: list[float] = []
    given_up: list[float] = []
    since: int | None = None
    for before, row in pairwise(rows):
        if row.flink_cluster is not Health.UP:
            since = None
        elif row.flink is None:
            if since is not None:
                given_up.append((row.at - since) / 1000)
            since = None
        elif before.flink is None:
            since = row.at
        elif row.flink.job is JobState.RUNNING and since is not None:
            took.append((row.at - since) / 1000)
            since = None
    return Starts(tuple(took), more_than=max(given_up, default=None))


def dask_starts(rows: tuple[Row, ...]) -> Starts:
    """From each first wish for workers to the driver running; soon after it was assigned, it had stood by."""
    took: list[float] = []
    stood_by: list[float] = []
    asked: int | None = None
    assigned: int | None = None
    for before, row in pairwise(rows):
        if not row.workers_wanted:
            asked = None
        elif not before.workers_wanted:
            asked = row.at
        if row.dask is not None and before.dask is None:
            assigned = row.at
        if row.dask is not None and row.dask.job is JobState.RUNNING and asked is not None:
            soon = assigned is not None and row.at - assigned <= 2 * DRIVER_START_MS
            (stood_by if soon else took).append((row.at - asked) / 1000)
            asked = None
    return Starts(tuple(took), at_most=min(stood_by, default=None))


def arrival_rate(rows: tuple[Row, ...]) -> float:
    """Records a second, the mean of the whole trace; 1 when the trace does not say, or none came."""
    known = [(row.at, row.records) for row in rows if row.records is not None]
    if len(known) < 2:
        return 1.0
    (began, first), (ended, last) = known[0], known[-1]
    return max(1.0, (last - first) * 1000 / (ended - began))
