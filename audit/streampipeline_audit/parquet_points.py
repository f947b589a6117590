"""Points in a folder of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from streampipeline_audit.errors import AuditError
from streampipeline_audit.points import Point

_NOT_FIELDS = {"pipeline", "window_start", "window_end", "epoch", "written_ns"}


@dataclass(frozen=True)
class _File:
    path: Path
    first: int
    last: int
    """Least and greatest window start, ms."""


class ParquetPoints:
    """The files that were there when it was made. Raises AuditError when one cannot be read."""

    def __init__(self, folder: Path, pipeline: str, key_field: str) -> None:
        if not folder.is_dir():
            raise AuditError(f"there is no folder {folder} with results")
        self._pipeline = pipeline
        self._key_field = key_field
        paths = sorted(folder.glob("epoch=*/*.parquet"))
        self._files = [file for path in paths if not path.name.startswith(".") if (file := _file(path))]

    def points(self, begin: int, end: int) -> Iterator[Point]:
        """Of each address the row with the greatest (generation, source is repair, epoch, written_ns)."""
        frames = [
            _read(file.path, self._pipeline, begin, end)
            for file in self._files
            if file.first < end and file.last >= begin
        ]
        if not frames:
            return
        rank = ["generation", "_repaired", "epoch", "written_ns"]
        rows = (
            pl.concat(frames, how="diagonal_relaxed")
            .with_columns((pl.col("source") == "repair").alias("_repaired"))
            .sort(rank)
            .unique([self._key_field, "window_start"], keep="last")
            .sort("window_start", self._key_field)
            .drop("_repaired")
        )
        for row in rows.iter_rows(named=True):
            fields = {name: value for name, value in row.items() if name not in _NOT_FIELDS}
            yield Point(str(fields.pop(self._key_field)), row["window_start"], fields)


def _file(path: Path) -> _File | None:
    """None for a file without rows."""
    try:
        metadata = pq.ParquetFile(path).metadata
        column = metadata.schema.names.index("window_start")
        if not metadata.num_rows:
            return None
        bounds: list[int] = []
        for i in range(metadata.num_row_groups):
            statistics: Any = metadata.row_group(i).column(column).statistics
            if statistics is None or not statistics.has_min_max:
                bounds = pl.read_parquet(path, hive_partitioning=False)["window_start"].to_list()
                break
            bounds += [statistics.min, statistics.max]
        return _File(path, min(bounds), max(bounds))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise AuditError(f"{path} cannot be read: {error}") from error


def _read(path: Path, pipeline: str, begin: int, end: int) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise AuditError(f"{path} cannot be read: {error}") from error
    start = pl.col("window_start")
    return frame.filter((pl.col("pipeline") == pipeline) & (start >= begin) & (start < end))
