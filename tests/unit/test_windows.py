"""Windows: which hold a record, what they sum up, what they look like as Arrow."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from tests.corpus.model import Case

from streampipeline.api.spec import Sliding, StreamPipelineSpec, Window
from streampipeline.window_time import align_down, align_up, window_starts, window_starts_between
from streampipeline.windows import aggregate, merge, to_arrow
from streampipeline.windows_schema import windows_schema

TUMBLING: dict[str, Any] = {"tumbling": {"sizeSeconds": 5}}
SLIDING: dict[str, Any] = {"sliding": {"sizeSeconds": 10, "slideSeconds": 5}}
FUNCTIONS = ["Mean", "Sum", "Min", "Max", "Count"]


def spec(window: dict[str, Any]) -> StreamPipelineSpec:
    """Every function, on X with two scales."""
    document: dict[str, Any] = (
        Case("w", "Json", "{}", "id", "at", [("X", 2)]).spec().model_dump(by_alias=True)
    )
    document["window"] = window
    document["aggregates"] = [
        {"name": f, "function": f}
        | ({} if f == "Count" else {"field": "X", "decimals": 1 if f == "Sum" else 2})
        for f in FUNCTIONS
    ]
    document["model"]["inputs"] = ["Mean"]
    return StreamPipelineSpec.model_validate(document)


def decoded(
    *rows: tuple[str | None, int, int], late: bool = False, reason: str | None = None
) -> pl.DataFrame:
    """Records (key, e, X in tenths) at offsets from 0 of partition 0."""
    return pl.DataFrame(
        {
            "partition": pl.Series([0] * len(rows), dtype=pl.Int32),
            "offset": pl.Series(range(len(rows)), dtype=pl.Int64),
            "t": pl.Series([e for _, e, _ in rows], dtype=pl.Int64),
            "reason": pl.Series([reason] * len(rows), dtype=pl.String),
            "key": pl.Series([key for key, _, _ in rows], dtype=pl.String),
            "e": pl.Series([e for _, e, _ in rows], dtype=pl.Int64),
            "s0": pl.Series([x * 10 for _, _, x in rows], dtype=pl.Int64),
            "s1": pl.Series([x for _, _, x in rows], dtype=pl.Int64),
            "late": pl.Series([late] * len(rows), dtype=pl.Boolean),
        }
    )


def test_tumbling_windows_have_every_aggregate() -> None:
    windows = aggregate(
        decoded(("a", 0, 5), ("a", 4999, -7), ("b", 4999, 1), ("a", 5000, 2)),
        spec(TUMBLING),
        include_late=False,
    )
    assert windows.columns == windows_schema(spec(TUMBLING)).names
    assert windows.drop("hash").rows() == [
        ("a", 0, 5000, 2, 4999, -20, -2, -70, 50, 2),
        ("b", 0, 5000, 1, 4999, 10, 1, 10, 10, 1),
        ("a", 5000, 10000, 1, 5000, 20, 2, 20, 20, 1),
    ]
    assert windows["hash"].sum() == 0 + 2974544881792 + _hash(2) + _hash(3)


def _hash(offset: int) -> int:
    mask = 2**64 - 1
    z = offset
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return (z ^ z >> 31) >> 21


def test_a_record_is_in_every_sliding_window_that_holds_it() -> None:
    windows = aggregate(decoded(("a", 12_000, 1)), spec(SLIDING), include_late=False)
    assert windows.select("window_start", "window_end", "n").rows() == [(5000, 15000, 1), (10000, 20000, 1)]


@pytest.mark.parametrize(
    ("size", "slide", "instant", "starts"),
    [
        (5, 5, 0, [0]),
        (5, 5, 4999, [0]),
        (5, 5, 5000, [5000]),
        (10, 5, 0, [-5000, 0]),
        (10, 5, 9999, [0, 5000]),
        (10, 4, 9999, [0, 4000, 8000]),
        (10, 4, 10_000, [4000, 8000]),
        (2, 5, 1999, [0]),
        (2, 5, 2000, []),
    ],
)
def test_windows_of_an_instant(size: int, slide: int, instant: int, starts: list[int]) -> None:
    # A copy: windows that leave gaps are arithmetic, whether or not the spec allows them.
    sliding = Sliding.model_construct(size_seconds=size, slide_seconds=slide)
    window = Window.model_construct(tumbling=None, sliding=sliding)
    assert window_starts(instant, window) == starts
    pipeline = spec(SLIDING).model_copy(update={"window": window})
    found = aggregate(decoded(("a", instant, 1)), pipeline, include_late=False)
    assert found["window_start"].to_list() == starts


def test_windows_of_a_span() -> None:
    window = spec(SLIDING).window
    assert window_starts_between(7000, 16_000, window) == [0, 5000, 10_000, 15_000]
    assert window_starts_between(10_000, 10_001, window) == [5000, 10_000]
    assert window_starts_between(10_000, 10_000, window) == []


@pytest.mark.parametrize(
    ("instant", "down", "up"), [(0, 0, 0), (1, 0, 5), (4, 0, 5), (5, 5, 5), (-1, -5, 0), (-5, -5, -5)]
)
def test_alignment(instant: int, down: int, up: int) -> None:
    assert (align_down(instant, 5), align_up(instant, 5)) == (down, up)


def test_late_records_count_only_in_final_values() -> None:
    records = pl.concat([decoded(("a", 1, 1)), decoded(("a", 2, 10), late=True)])
    engine = aggregate(records, spec(TUMBLING), include_late=False)
    final = aggregate(records, spec(TUMBLING), include_late=True)
    assert engine["n"].to_list() == [1]
    assert final["n"].to_list() == [2]
    assert (engine["agg_1"].item(), final["agg_1"].item()) == (1, 11)


def test_refused_records_count_never() -> None:
    records = decoded(("a", 1, 1), reason="TooLate")
    assert aggregate(records, spec(TUMBLING), include_late=True).height == 0


def test_no_windows_have_the_columns_too() -> None:
    pipeline = spec(TUMBLING)
    empty = aggregate(decoded(), pipeline, include_late=True)
    assert merge([], pipeline).schema == empty.schema
    assert merge([empty, empty], pipeline).height == 0
    assert to_arrow(merge([], pipeline), pipeline).schema == windows_schema(pipeline)


def test_merge_combines_each_function_in_its_own_way() -> None:
    pipeline = spec(TUMBLING)
    one = aggregate(decoded(("a", 1, 5), ("b", 1, 1)), pipeline, include_late=False)
    two = aggregate(decoded(("a", 4000, -7)), pipeline, include_late=False)
    merged = merge([one, two], pipeline)
    assert merged.drop("hash").rows() == [
        ("a", 0, 5000, 2, 4000, -20, -2, -70, 50, 2),
        ("b", 0, 5000, 1, 1, 10, 1, 10, 10, 1),
    ]


def test_sums_of_the_largest_values_are_exact() -> None:
    """They lie beyond what a float64 can tell apart, in an aggregate and in a merge."""
    pipeline = spec(TUMBLING)
    largest, count = 2**43 - 1, 4097
    records = decoded(*[("a", 1, 0)] * count).with_columns(s0=pl.lit(largest))
    whole = aggregate(records, pipeline, include_late=False)
    assert whole["agg_0"].to_list() == [largest * count]
    assert int(float(largest * count)) != largest * count
    merged = merge([whole, aggregate(records.head(1), pipeline, include_late=False)], pipeline)
    assert merged["agg_0"].to_list() == [largest * (count + 1)]


def test_arrow_table_has_exactly_the_schema() -> None:
    pipeline = spec(TUMBLING)
    windows = aggregate(decoded(("é", 1, 5)), pipeline, include_late=False)
    arrow = to_arrow(windows, pipeline)
    assert arrow.schema == windows_schema(pipeline)
    assert arrow.schema.field("key").type == pa.string()
    assert arrow.column("key").to_pylist() == ["é"]
