"""What the audit takes from the values of a batch, whatever their format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class Wanted:
    """The fields of a record that decide: its key, its event time, and the numbers that aggregates read."""

    key: str
    event_time: str
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Fields:
    """The wanted fields of n values. Where `undecodable`, the rest means nothing."""

    undecodable: NDArray[np.bool_]
    key_missing: NDArray[np.bool_]
    """The key is null or empty."""
    time: NDArray[np.int64]
    """Milliseconds since 1970 UTC; -1 for null, which is out of range like every time before 1970."""
    numbers: dict[str, NDArray[np.float64]]
    """By field; NaN for null."""
    keys: Callable[[NDArray[np.int64]], pl.Series]
    """The keys, as text, of the given rows, which are decodable and have one."""
