"""Windows do not depend on how records are split, in which order they come, or who adds them up."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.model import Case

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.window_time import window_starts
from streampipeline.windows import aggregate, merge

SIZES = [(5, 5), (10, 5), (6, 2), (60, 60)]
LIMIT = 2**43 - 1
SCHEMA = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "t": pl.Int64,
    "reason": pl.String,
    "key": pl.String,
    "e": pl.Int64,
    "s0": pl.Int64,
    "late": pl.Boolean,
}


def spec(size: int, slide: int) -> StreamPipelineSpec:
    document: dict[str, Any] = (
        Case("p", "Json", "{}", "id", "at", [("X", 6)]).spec().model_dump(by_alias=True)
    )
    document["window"] = {"sliding": {"sizeSeconds": size, "slideSeconds": slide}}
    document["aggregates"] = [
        {"name": f, "field": "X", "function": f} for f in ("Mean", "Sum", "Min", "Max")
    ] + [{"name": "Count", "function": "Count"}]
    document["model"]["inputs"] = ["Mean"]
    return StreamPipelineSpec.model_validate(document)


rows = st.tuples(
    st.integers(0, 5),  # partition
    st.sampled_from([None, None, None, "TooLate"]),
    st.sampled_from(["a", "b", "é"]),
    st.one_of(st.integers(0, 40_000), st.sampled_from([0, 4999, 5000, 9999, 10_000])),
    st.one_of(st.integers(-LIMIT, LIMIT), st.sampled_from([-LIMIT, LIMIT, 0])),
    st.booleans(),
)


def frame(records: list[tuple[Any, ...]]) -> pl.DataFrame:
    data = [
        (p, offset, e, reason, key, e, x, late and reason is None)
        for offset, (p, reason, key, e, x, late) in enumerate(records)
    ]
    return pl.DataFrame(data, schema=SCHEMA, orient="row")


batches = st.lists(rows, max_size=60).map(frame)
pipelines = st.sampled_from(SIZES).map(lambda sizes: spec(*sizes))


@given(batches, pipelines, st.data())
@settings(deadline=None)
def test_any_split_in_any_order_merges_to_the_whole(
    records: pl.DataFrame, pipeline: StreamPipelineSpec, data: st.DataObject
) -> None:
    parts = data.draw(st.lists(st.integers(0, 3), min_size=records.height, max_size=records.height))
    shuffled = data.draw(st.permutations(range(records.height)))
    split = records.with_columns(pl.Series("part", parts, dtype=pl.Int64))[shuffled]
    partials = [
        aggregate(split.filter(pl.col("part") == i).drop("part"), pipeline, include_late=True)
        for i in range(4)
    ]
    nested = merge(
        [merge(partials[:2], pipeline), merge([], pipeline), merge(partials[2:], pipeline)], pipeline
    )
    assert nested.equals(aggregate(records, pipeline, include_late=True))


@given(batches, pipelines, st.booleans())
@settings(deadline=None)
def test_windows_are_those_of_plain_arithmetic(
    records: pl.DataFrame, pipeline: StreamPipelineSpec, include_late: bool
) -> None:
    expected: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for row in records.iter_rows(named=True):
        if row["reason"] is None and (include_late or not row["late"]):
            for start in window_starts(row["e"], pipeline.window):
                assert start <= row["e"] < start + pipeline.window.size_ms
                expected[row["key"], start].append((row["e"], row["s0"]))
    found = aggregate(records, pipeline, include_late=include_late)
    assert {(w["key"], w["window_start"]) for w in found.iter_rows(named=True)} == set(expected)
    for w in found.iter_rows(named=True):
        held = expected[w["key"], w["window_start"]]
        values = [x for _, x in held]
        assert w["window_end"] == w["window_start"] + pipeline.window.size_ms
        assert (w["n"], w["newest"]) == (len(held), max(e for e, _ in held))
        assert [w[f"agg_{i}"] for i in range(5)] == [
            sum(values),
            sum(values),
            min(values),
            max(values),
            len(values),
        ]


@given(st.integers(-(10**15), 10**15), st.sampled_from(SIZES))
def test_an_instant_is_in_size_by_slide_windows(instant: int, sizes: tuple[int, int]) -> None:
    window = spec(*sizes).window
    starts = window_starts(instant, window)
    assert len(starts) == window.size_ms // window.slide_ms
    assert all(s % window.slide_ms == 0 and s <= instant < s + window.size_ms for s in starts)
