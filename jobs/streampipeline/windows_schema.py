"""The table of finished windows that an engine hands to `publish`; pyarrow only, for Flink's Python."""

from __future__ import annotations

import pyarrow as pa

from streampipeline.api.spec import StreamPipelineSpec


def aggregate_column(index: int) -> str:
    """Name of the column of the spec's aggregate at this place."""
    return f"agg_{index}"


def windows_schema(spec: StreamPipelineSpec) -> pa.Schema:
    """`key`, `window_start`, `window_end`, `n`, `hash`, `newest`, then `agg_<i>` (scaled integers)."""
    integers = ["window_start", "window_end", "n", "hash", "newest"]
    integers += [aggregate_column(i) for i in range(len(spec.aggregates))]
    fields: list[tuple[str, pa.DataType]] = [("key", pa.string())]
    fields += [(name, pa.int64()) for name in integers]
    return pa.schema(fields)
