"""What a worker does: read offset ranges, decode, judge, aggregate. Pure: equal ranges give equal results.

Only the result leaves a worker; what it keeps (a reader, a decoder, counters) makes it fast and can be lost.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

import polars as pl
import pyarrow as pa

from streampipeline import windows
from streampipeline.deadletters import DeadLetter
from streampipeline.decode import Decoder
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.reading import Range, RangeReader, Records
from streampipeline.refusals import letters_of
from streampipeline.requests import RepairReason, RepairRequest


@dataclass(frozen=True)
class Result:
    """What some ranges hold."""

    windows: pa.Table
    """Partial windows (`windows_schema`) of the on-time records, those below the boundary too."""
    requests: tuple[RepairRequest, ...]
    """Of late records and of those that no engine can have counted."""
    dead: tuple[DeadLetter, ...]
    newest: dict[int, int]
    """Newest Kafka timestamp (ms) of each partition that had records."""
    records: int
    late: int


@dataclass
class Counters:
    """What this worker process has done so far."""

    tasks: int = 0
    records_read: int = 0
    records_aggregated: int = 0
    busy_seconds: float = 0.0


COUNTERS = Counters()


def counters() -> dict[str, float]:
    """The counters of this process, as in the worker's metrics under `streampipeline`."""
    return asdict(COUNTERS)


@dataclass
class _Job:
    """What is kept for one JobConfig."""

    text: str
    config: JobConfig = field(init=False)
    decoder: Decoder = field(init=False)
    reader: RangeReader = field(init=False)

    def __post_init__(self) -> None:
        self.config = JobConfig.model_validate_json(self.text)
        self.decoder = Decoder.of(self.config.spec, self.config.avro_schema)
        self.reader = RangeReader(self.config, group=self.config.group(EngineName.DASK))


_kept: _Job | None = None


def _job(text: str) -> _Job:
    global _kept
    if _kept is None or _kept.text != text:
        _forget()
        _kept = _Job(text)
    return _kept


def _forget() -> None:
    global _kept
    if _kept is not None:
        _kept.reader.close()
        _kept = None


def read_and_aggregate(config: str, ranges: tuple[Range, ...], settled: dict[int, int]) -> Result:
    """One share of a wave. `config`: a JobConfig as JSON.

    `settled[p]`: an offset of partition p by which the engines before had closed every window that ends by
    the boundary: an on-time record from there on in such a window is in no engine's value and asks for a
    repair.

    Raises RangeGone, confluent_kafka.KafkaException.
    """
    started = time.perf_counter()
    job = _job(config)
    try:
        records = job.reader.read(ranges)
    except BaseException:
        _forget()  # the reader may stand anywhere
        raise
    result = _aggregate(job, records, settled)
    COUNTERS.tasks += 1
    COUNTERS.records_read += result.records
    COUNTERS.records_aggregated += result.records - len(result.dead) - result.late
    COUNTERS.busy_seconds += time.perf_counter() - started
    return result


def _aggregate(job: _Job, records: Records, settled: dict[int, int]) -> Result:
    spec = job.config.spec
    decoded = job.decoder.decode(records.table)
    late = decoded.filter(pl.col("reason").is_null() & pl.col("late"))
    dropped = _dropped(decoded, job.config, settled)
    newest = decoded.group_by("partition").agg(pl.col("t").max())
    return Result(
        windows=windows.to_arrow(windows.aggregate(decoded, spec, include_late=False), spec),
        requests=(
            *_requests(late, job.config, RepairReason.LATE),
            *_requests(dropped, job.config, RepairReason.DROPPED),
        ),
        dead=letters_of(decoded.filter(pl.col("reason").is_not_null()), records),
        newest=dict(newest.iter_rows()),
        records=decoded.height,
        late=late.height,
    )


def _dropped(decoded: pl.DataFrame, config: JobConfig, settled: dict[int, int]) -> pl.DataFrame:
    """On-time records after `settled` with a window that ends by the assignment's boundary."""
    size, slide = config.spec.window.size_ms, config.spec.window.slide_ms
    first_end = (pl.col("e") - size).floordiv(slide) * slide + slide + size
    suspects = decoded.filter(
        pl.col("reason").is_null() & ~pl.col("late") & (first_end <= config.assignment.boundary)
    )
    if suspects.is_empty():
        return suspects
    since = pl.col("partition").cast(pl.Int64).replace_strict(settled, default=0, return_dtype=pl.Int64)
    return suspects.filter(pl.col("offset") >= since)


def _requests(rows: pl.DataFrame, config: JobConfig, reason: RepairReason) -> list[RepairRequest]:
    """One request for each key and set of windows: records that ask for the same are one question."""
    if rows.is_empty():
        return []
    size, slide = config.spec.window.size_ms, config.spec.window.slide_ms
    newest_start, before_oldest = pl.col("e").floordiv(slide), (pl.col("e") - size).floordiv(slide)
    distinct = rows.with_columns(_newest=newest_start, _before=before_oldest).unique(
        ["key", "_newest", "_before"], keep="first", maintain_order=True
    )
    return [
        RepairRequest(reason=reason, key=key, start=e, end=e + 1, partition=partition, offset=offset)
        for key, e, partition, offset in distinct.select("key", "e", "partition", "offset").iter_rows()
    ]
