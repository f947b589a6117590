"""Points: finished windows with their values, the model's answer and where they come from.

Columns of a table of points, in this order: `pipeline`, the key (named by the spec's `keyField`),
`window_start`, `window_end`, each aggregate, the model's output, `source`, `n`, `scored`, `modelVersion`,
`generation`, `datetime`, `hash`, `epoch`, `written_ns`. See "A point" in docs/contracts.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streampipeline.api.spec import Aggregate, Function, OutputType, StreamPipelineSpec
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.windows_schema import aggregate_column

IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]

KEY_COLUMN = 1
"""Position of the key's column, whose name differs from pipeline to pipeline."""


@dataclass(frozen=True)
class Scores:
    """The model's answers for n windows, in their order; each array has length n."""

    output: pa.Array[Any]
    """int64 or float64, as the spec's outputType says."""
    scored: pa.Array[Any]
    """bool: false where the output is the default."""
    model_version: pa.Array[Any]
    """string: empty where not scored."""


def addresses(points: pa.Table) -> list[tuple[str, int]]:
    """(key, window start) of each point."""
    keys = cast("list[str]", points.column(KEY_COLUMN).to_pylist())
    starts = cast("list[int]", points["window_start"].to_pylist())
    return list(zip(keys, starts, strict=True))


def points_schema(spec: StreamPipelineSpec) -> pa.Schema:
    """The columns of a point. Raises ValueError when two of them have one name."""
    columns = _columns(spec)
    twice = [name for name, count in Counter(name for name, _ in columns).items() if count > 1]
    if twice:
        raise ValueError(f"a point would have two columns named {', '.join(twice)}")
    return pa.schema(columns)


def aggregate_values(spec: StreamPipelineSpec, windows: pa.Table) -> dict[str, pa.Array[Any]]:
    """Each aggregate's values, one for each window: float64, for Count int64."""
    n = _int64(windows, "n")
    return {
        aggregate.name: _values(aggregate, _int64(windows, aggregate_column(index)), n)
        for index, aggregate in enumerate(spec.aggregates)
    }


def points_table(
    config: JobConfig,
    source: EngineName,
    windows: pa.Table,
    values: dict[str, pa.Array[Any]],
    scores: Scores,
    written_ns: int,
) -> pa.Table:
    """The points of finished windows. `values`: of `aggregate_values`; `written_ns`: wall clock, ns."""
    rows = windows.num_rows
    columns: dict[str, pa.Array[Any] | pa.ChunkedArray[Any]] = {
        "pipeline": pa.repeat(config.pipeline, rows),
        config.spec.source.key_field: windows["key"],
        "window_start": windows["window_start"],
        "window_end": windows["window_end"],
        **values,
        config.spec.model.output: scores.output,
        "source": pa.repeat(source.value, rows),
        "n": windows["n"],
        "scored": scores.scored,
        "modelVersion": scores.model_version,
        "generation": pa.repeat(config.assignment.generation, rows),
        "datetime": windows["newest"],
        "hash": windows["hash"],
        "epoch": pa.repeat(config.assignment.epoch, rows),
        "written_ns": pa.repeat(written_ns, rows),
    }
    schema = points_schema(config.spec)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _columns(spec: StreamPipelineSpec) -> list[tuple[str, pa.DataType]]:
    output = pa.int64() if spec.model.output_type is OutputType.INTEGER else pa.float64()
    return [
        ("pipeline", pa.string()),
        (spec.source.key_field, pa.string()),
        ("window_start", pa.int64()),
        ("window_end", pa.int64()),
        *((aggregate.name, _value_type(aggregate)) for aggregate in spec.aggregates),
        (spec.model.output, output),
        ("source", pa.string()),
        ("n", pa.int64()),
        ("scored", pa.bool_()),
        ("modelVersion", pa.string()),
        ("generation", pa.int64()),
        ("datetime", pa.int64()),
        ("hash", pa.int64()),
        ("epoch", pa.int64()),
        ("written_ns", pa.int64()),
    ]


def _value_type(aggregate: Aggregate) -> pa.DataType:
    return pa.int64() if aggregate.function is Function.COUNT else pa.float64()


def _values(aggregate: Aggregate, scaled: IntArray, n: IntArray) -> pa.Array[Any]:
    unit = 10**aggregate.decimals
    match aggregate.function:
        case Function.COUNT:
            return pa.array(n, pa.int64())
        case Function.MEAN:
            return pa.array(scaled.astype(np.float64) / (n * unit).astype(np.float64), pa.float64())
        case _:
            return pa.array(scaled.astype(np.float64) / float(unit), pa.float64())


def _int64(table: pa.Table, name: str) -> IntArray:
    """A column of int64 without nulls, shape (rows,)."""
    return np.asarray(table[name].to_numpy(), dtype=np.int64)
