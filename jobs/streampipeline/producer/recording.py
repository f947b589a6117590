"""A recording of several nurses (Parquet or CSV), each shifted to a common start, merged by time.

The file is read as a stream and split by nurse into a temporary directory; one nurse at a time is
sorted in memory. The merge then reads memory-mapped arrays, so that memory does not grow with the recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl

from streampipeline.producer.batch import Batch, Floats, Ints
from streampipeline.producer.settings import SIGNALS, ProducerError

ROWS = 2000
"""Rows of each nurse that a batch holds at most, but for rows of one and the same time."""


class Recording:
    """Reads `data` and spools it into the directory `spool`, which the caller removes.

    Raises ProducerError when the file is missing, not of the nurse schema, or without a usable row.
    """

    def __init__(self, data: Path, spool: Path, max_gap_seconds: float | None) -> None:
        self.skipped_rows = 0
        self.gaps_shortened = 0
        self._spool = spool
        self._split(data)
        parts = sorted(spool.glob("id=*"))
        self.keys = [_key(part) for part in parts]
        if not parts:
            raise ProducerError(f"{data} has no row with all of id, datetime, {', '.join(SIGNALS)}")
        order = sorted(range(len(parts)), key=self.keys.__getitem__)
        self.keys = [self.keys[index] for index in order]
        lengths = [self._sort(parts[index], place, max_gap_seconds) for place, index in enumerate(order)]
        self.length: int | None = sum(lengths)

    def span_ms(self, records: int) -> int:
        """Time from the common start to the last of the first `records` records."""
        if self.length is not None and records >= self.length:
            return max(int(self._at(place)[-1]) for place in range(len(self.keys)))
        seen, last = 0, 0
        for batch in self.batches():
            if len(batch) == 0:
                continue
            last = int(batch.at[min(len(batch), records - seen) - 1])
            seen += len(batch)
            if seen >= records:
                break
        return last

    def batches(self) -> Iterator[Batch]:
        """All records, from the start, in the order of time."""
        times = [self._at(place) for place in range(len(self.keys))]
        values = [self._values(place) for place in range(len(self.keys))]
        cursors = [0] * len(self.keys)
        while any(cursor < len(at) for cursor, at in zip(cursors, times, strict=True)):
            ahead = [at[c + ROWS] for c, at in zip(cursors, times, strict=True) if c + ROWS < len(at)]
            ends = [int(np.searchsorted(at, min(ahead), side="right")) if ahead else len(at) for at in times]
            spans = [(place, cursors[place], end) for place, end in enumerate(ends) if end > cursors[place]]
            at = np.concatenate([times[place][start:end] for place, start, end in spans])
            order = np.argsort(at, kind="stable")
            yield Batch(
                np.concatenate([np.full(end - start, place) for place, start, end in spans])[order],
                at[order],
                np.concatenate([values[place][start:end] for place, start, end in spans])[order],
            )
            cursors = [max(cursor, end) for cursor, end in zip(cursors, ends, strict=True)]

    def _split(self, data: Path) -> None:
        """One directory of Parquet files for each nurse, as the rows come."""
        try:
            rows = _rows(data)
            usable = pl.all_horizontal(
                pl.col("id").str.len_bytes() > 0,
                pl.col("datetime").is_not_null(),
                *(pl.col(signal).is_finite() for signal in SIGNALS),
            )
            kept = rows.filter(usable)
            kept.sink_parquet(
                pl.PartitionBy(self._spool, key="id", include_key=False), mkdir=True, compression="lz4"
            )
            total = int(rows.select(pl.len()).collect().item())
            self.skipped_rows = total - int(kept.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ProducerError(f"{data} cannot be read: {error}") from error

    def _sort(self, part: Path, place: int, max_gap_seconds: float | None) -> int:
        """Write the arrays of one nurse, in the order of time; gives their length."""
        rows = pl.read_parquet(sorted(part.rglob("*.parquet")), hive_partitioning=False).sort(
            "datetime", maintain_order=True
        )
        gaps = np.diff(rows["datetime"].to_numpy())
        if max_gap_seconds is not None:
            longest = round(max_gap_seconds * 1000)
            self.gaps_shortened += int((gaps > longest).sum())
            gaps = np.minimum(gaps, longest)
        np.save(self._spool / f"{place}.at.npy", np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64))
        np.save(self._spool / f"{place}.values.npy", np.ascontiguousarray(rows.select(SIGNALS).to_numpy()))
        return rows.height

    def _at(self, place: int) -> Ints:
        at: Ints = np.load(self._spool / f"{place}.at.npy", mmap_mode="r")
        return at

    def _values(self, place: int) -> Floats:
        values: Floats = np.load(self._spool / f"{place}.values.npy", mmap_mode="r")
        return values


def _rows(data: Path) -> pl.LazyFrame:
    """Columns id (text), datetime (ms since 1970 UTC) and the signals of a file."""
    if not data.is_file():
        raise ProducerError(f"{data} is not there")
    if data.suffix.lower() in (".csv", ".gz"):
        rows = pl.scan_csv(data, schema_overrides={"id": pl.String}, try_parse_dates=True)
    else:
        rows = pl.scan_parquet(data)
    schema = rows.collect_schema()
    missing = [name for name in ("id", "datetime", *SIGNALS) if name not in schema]
    if missing:
        raise ProducerError(
            f"{data} lacks the columns {', '.join(missing)}; it has {', '.join(schema.names())}"
        )
    time = pl.col("datetime")
    if schema["datetime"] == pl.String:
        time = time.str.to_datetime(time_unit="us", strict=False, time_zone="UTC")
    if not schema["datetime"].is_integer():
        time = time.dt.epoch("ms")
    return rows.select(
        pl.col("id").cast(pl.String), time.alias("datetime"), *(pl.col(s).cast(pl.Float64) for s in SIGNALS)
    )


def _key(part: Path) -> str:
    """Name of the nurse whose rows a directory holds: Polars writes it percent-encoded."""
    return unquote(part.name.removeprefix("id="))
