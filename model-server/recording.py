"""A recording of nurses' wristbands, made into the windows that the pipeline would score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

INPUTS = ["X", "Y", "Z", "EDA", "HR", "TEMP"]
CLASSES = ["low", "medium", "high"]
NOT_COVERED = -1
"""Label of a record that no answer of the nurse covers."""
SCALE = 10.0**6


class RecordingError(Exception):
    """The recording cannot be trained on; the message says why."""


@dataclass(frozen=True)
class Windows:
    """Labelled windows, ordered by (nurse, start), and what was left out to get them."""

    rows: NDArray[np.float64]
    """(n, 6): the mean of each of INPUTS."""
    labels: NDArray[np.int64]
    """(n,): index into CLASSES."""
    nurses: NDArray[np.str_]
    """(n,)"""
    records: int
    """Records in the recording."""
    uncovered: int
    """Records without a label."""
    unusable: int
    """Records with a missing or non-finite value: the pipeline refuses them."""
    mixed: int
    """Windows left out because their records differ in label, or are labelled only in part."""


def read_windows(path: Path, window_seconds: int) -> Windows:
    """Read a Parquet recording (X, Y, Z, EDA, HR, TEMP, id, datetime, label) and cut it into windows.

    `datetime` is UTC. Windows start at multiples of their size since 1970, one for each nurse; means are
    those of scaled integers, as the pipeline's. Raises RecordingError, OSError.
    """
    try:
        frame = pl.read_parquet(path, columns=[*INPUTS, "id", "datetime", "label"])
    except pl.exceptions.PolarsError as error:
        raise RecordingError(f"{path}: {error}") from error
    return cut(frame, window_seconds)


def cut(frame: pl.DataFrame, window_seconds: int) -> Windows:
    """The windows of a recording's records. Raises RecordingError."""
    _check(frame)
    size = window_seconds * 1000
    usable = frame.drop_nulls().filter(pl.all_horizontal(pl.col(INPUTS).cast(pl.Float64).is_finite()))
    scaled = [(pl.col(name).cast(pl.Float64) * SCALE + 0.5).floor().cast(pl.Int64) for name in INPUTS]
    windows = (
        usable.with_columns(scaled)
        .group_by("id", start=pl.col("datetime").dt.epoch("ms") // size)
        .agg(
            [pl.col(name).sum().cast(pl.Float64) / (pl.len() * SCALE) for name in INPUTS],
            label=pl.col("label").first(),
            pure=pl.col("label").n_unique() == 1,
        )
        .sort("id", "start")
    )
    pure = windows.filter("pure", pl.col("label") != NOT_COVERED)
    if pure.get_column("id").n_unique() < 2:
        raise RecordingError("fewer than two nurses have labelled windows: none can be left out")
    return Windows(
        rows=pure.select(INPUTS).to_numpy(),
        labels=pure.get_column("label").cast(pl.Int64).to_numpy(),
        nurses=pure.get_column("id").to_numpy().astype(np.str_),
        records=frame.height,
        uncovered=frame.filter(pl.col("label") == NOT_COVERED).height,
        unusable=frame.height - usable.height,
        mixed=windows.filter(~pl.col("pure")).height,
    )


def _check(frame: pl.DataFrame) -> None:
    if not isinstance(frame.schema["datetime"], pl.Datetime):
        raise RecordingError(f"datetime must be a time stamp, not {frame.schema['datetime']}")
    if not frame.schema["label"].is_integer():
        raise RecordingError(f"label must be an integer, not {frame.schema['label']}")
    unknown = set(frame.get_column("label").drop_nulls().unique()) - {NOT_COVERED, *range(len(CLASSES))}
    if unknown:
        raise RecordingError(f"label must be -1 (not covered), 0, 1 or 2, not {sorted(unknown)}")
