"""Numbers as scaled integers: sums of them are exact, and the same in every engine.

Pure Python: Flink's job builder imports it too; the vectorised form is `scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streampipeline.api.spec import Aggregate, StreamPipelineSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LIMIT = float(2**43)
"""Scaled values are smaller: 2^20 of them add up within an int64."""


@dataclass(frozen=True)
class ScaledColumn:
    """One int64 column of decoded records: `floor(field * 10^decimals + 0.5)`."""

    column: str
    field: str
    decimals: int


def scaled_columns(spec: StreamPipelineSpec) -> list[ScaledColumn]:
    """A column `s<i>` for each distinct (field, decimals) of the aggregates, in order of first appearance."""
    distinct = dict.fromkeys((a.field, a.decimals) for a in spec.aggregates if a.field is not None)
    return [ScaledColumn(f"s{i}", field, decimals) for i, (field, decimals) in enumerate(distinct)]


def scaled_column_of(aggregate: Aggregate, columns: list[ScaledColumn]) -> str:
    """Name of the column that an aggregate with a field reads."""
    return next(c.column for c in columns if (c.field, c.decimals) == (aggregate.field, aggregate.decimals))


def scale(x: npt.NDArray[np.float64], decimals: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Scaled values of `x`, and which of them are none: NaN, infinite, too large (their value is 0)."""
    import numpy as np

    with np.errstate(all="ignore"):
        scaled = np.floor(x * 10.0**decimals + 0.5)
        bad = ~(np.abs(scaled) < LIMIT)
    return np.where(bad, 0.0, scaled).astype(np.int64), bad
