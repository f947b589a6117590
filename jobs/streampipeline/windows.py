"""Windows of decoded records: partial aggregates of any split of the records merge to the same bits."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from streampipeline.api.spec import Function, StreamPipelineSpec
from streampipeline.record_hash import record_hash
from streampipeline.scaling import scaled_column_of, scaled_columns
from streampipeline.window_time import windows_per_instant
from streampipeline.windows_schema import aggregate_column, windows_schema

_ADDRESS = ["key", "window_start", "window_end"]


def aggregate(decoded: pl.DataFrame, spec: StreamPipelineSpec, *, include_late: bool) -> pl.DataFrame:
    """Partial windows of records as `Decoder.decode` returns them; refused records do not count.

    Columns as in `windows_schema(spec)`; sorted by window start and key. With `include_late` the values
    are final ones, without it an engine's.
    """
    counted = pl.col("reason").is_null()
    if not include_late:
        counted &= ~pl.col("late")
    rows = decoded.filter(counted)
    hashes = record_hash(rows["partition"].to_numpy(), rows["offset"].to_numpy())
    rows = rows.with_columns(pl.Series("hash", hashes))
    grouped = (
        _assign(rows, spec)
        .group_by(_ADDRESS)
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            pl.col("hash").sum(),
            pl.col("e").max().alias("newest"),
            *_partials(spec),
        )
    )
    return _ordered(grouped, spec)


def _assign(rows: pl.DataFrame, spec: StreamPipelineSpec) -> pl.DataFrame:
    """Each row once for every window that holds its event time."""
    size, slide = spec.window.size_ms, spec.window.slide_ms
    newest = pl.col("e") - pl.col("e") % slide
    assigned = [
        rows.with_columns((newest - i * slide).alias("window_start"))
        for i in range(windows_per_instant(spec.window))
    ]
    return (
        pl.concat(assigned)
        .with_columns((pl.col("window_start") + size).alias("window_end"))
        .filter(pl.col("window_end") > pl.col("e"))
    )


def _partials(spec: StreamPipelineSpec) -> list[pl.Expr]:
    columns = scaled_columns(spec)
    partials = []
    for i, a in enumerate(spec.aggregates):
        if a.function is Function.COUNT:
            value = pl.len().cast(pl.Int64)
        else:
            value = _combine(pl.col(scaled_column_of(a, columns)), a.function)
        partials.append(value.alias(aggregate_column(i)))
    return partials


def _combine(values: pl.Expr, function: Function) -> pl.Expr:
    """How values, scaled or partial, of one aggregate become one."""
    match function:
        case Function.MIN:
            return values.min()
        case Function.MAX:
            return values.max()
        case Function.MEAN | Function.SUM | Function.COUNT:
            return values.sum()


def merge(partials: list[pl.DataFrame], spec: StreamPipelineSpec) -> pl.DataFrame:
    """Partial windows of disjoint sets of records, as one; equal to `aggregate` of all records at once."""
    if not partials:
        return pl.from_arrow(windows_schema(spec).empty_table())  # type: ignore[return-value]
    combined = [_combine(pl.col(aggregate_column(i)), a.function) for i, a in enumerate(spec.aggregates)]
    merged = (
        pl.concat(partials)
        .group_by(_ADDRESS)
        .agg(pl.col("n").sum(), pl.col("hash").sum(), pl.col("newest").max(), *combined)
    )
    return _ordered(merged, spec)


def _ordered(windows: pl.DataFrame, spec: StreamPipelineSpec) -> pl.DataFrame:
    return windows.select(windows_schema(spec).names).sort("window_start", "key")


def to_arrow(windows: pl.DataFrame, spec: StreamPipelineSpec) -> pa.Table:
    """The windows as a table of exactly `windows_schema(spec)`. Raises when a column is missing."""
    schema = windows_schema(spec)
    return windows.select(schema.names).to_arrow().cast(schema)
