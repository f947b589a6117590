"""What the decoder does with a batch: verdicts that need the Kafka timestamp, shapes of Arrow tables."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from tests.corpus.avro_bytes import double, integer, record_schema, text
from tests.corpus.model import Case

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.avro_schema import AvroSchemaError
from streampipeline.decode import Decoder

SCHEMA = record_schema(("id", "string"), ("X", "double"), ("at", "long"))
CASE = Case("plain", "Avro", SCHEMA, "id", "at", [("X", 6)])
E = 1_700_000_000_000
SECOND = 1000


def spec(**event_time: int) -> StreamPipelineSpec:
    """A spec of the case: 2 s allowed, refused after an hour and from a minute ahead unless given."""
    document: dict[str, Any] = CASE.spec().model_dump(by_alias=True)
    document["source"]["eventTime"] |= event_time
    return StreamPipelineSpec.model_validate(document)


def value(key: str = "k", x: float = 1.5, e: int = E) -> bytes:
    return text(key) + double(x) + integer(e)


def table(values: list[bytes | None], times: list[int] | None = None) -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "value": pa.array(values, pa.binary()),
            "partition": pa.array([3] * count, pa.int32()),
            "offset": pa.array(range(100, 100 + count), pa.int64()),
            "t": pa.array(times or [E] * count, pa.int64()),
        }
    )


def decode(records: pa.Table, **event_time: int) -> pl.DataFrame:
    return Decoder.of(spec(**event_time), SCHEMA).decode(records)


@pytest.mark.parametrize(
    ("age", "reason", "late"),
    [
        (0, None, False),
        (2 * SECOND, None, False),
        (2 * SECOND + 1, None, True),
        (3600 * SECOND, None, True),
        (3600 * SECOND + 1, "TooLate", False),
        (-60 * SECOND, None, False),
        (-60 * SECOND - 1, "TooFarInFuture", False),
    ],
)
def test_the_kafka_timestamp_decides_what_is_late(age: int, reason: str | None, late: bool) -> None:
    row = decode(table([value()], [E + age])).row(0, named=True)
    assert (row["reason"], row["late"]) == (reason, late)


def test_bounds_are_the_specs() -> None:
    records = table([value()] * 3, [E + 1, E + 5001, E - 1])
    decoded = decode(records, allowedDelaySeconds=0, maxLatenessSeconds=5, maxFutureSeconds=0)
    assert decoded["reason"].to_list() == [None, "TooLate", "TooFarInFuture"]
    assert decoded["late"].to_list() == [True, False, False]


def test_a_records_own_fault_comes_before_its_time() -> None:
    ancient = [value(key="", e=0), value(x=float("nan"), e=0), value(x=float("inf"), e=0), b"", value(e=0)]
    reasons = decode(table(list(ancient)))["reason"].to_list()
    assert reasons == ["EmptyKey", "NotANumber", "OutOfRange", "Undecodable", "TooLate"]


def test_columns_and_order() -> None:
    decoded = decode(table([value("b"), b"\1", value("a", x=-0.25, e=E + 1)]))
    assert decoded.schema == {
        "partition": pl.Int32,
        "offset": pl.Int64,
        "t": pl.Int64,
        "reason": pl.String,
        "key": pl.String,
        "e": pl.Int64,
        "s0": pl.Int64,
        "late": pl.Boolean,
    }
    assert decoded.rows() == [
        (3, 100, E, None, "b", E, 1_500_000, False),
        (3, 101, E, "Undecodable", None, None, None, False),
        (3, 102, E, None, "a", E + 1, -250_000, False),
    ]


def test_a_refused_record_that_was_decoded_keeps_its_values() -> None:
    row = decode(table([value("k")], [E + 10**9])).row(0, named=True)
    assert (row["reason"], row["key"], row["e"], row["s0"]) == ("TooLate", "k", E, 1_500_000)


@pytest.mark.parametrize("type_", ["Avro", "ConfluentAvro", "Json"])
def test_no_records_and_only_tombstones(type_: str) -> None:
    document = spec().model_dump(by_alias=True)
    document["source"]["format"]["type"] = type_
    decoder = Decoder.of(StreamPipelineSpec.model_validate(document), SCHEMA)
    assert decoder.decode(table([])).height == 0
    assert decoder.decode(table([None, None]))["reason"].to_list() == ["Undecodable"] * 2


def test_chunks_and_slices_decode_as_the_whole() -> None:
    values = [value(f"k{i}", x=i / 7, e=E + i) for i in range(20)]
    records = table([None if i % 5 == 0 else v + b"x" * (i % 3 == 0) for i, v in enumerate(values)])
    whole = decode(records)
    parts = pa.concat_tables(
        [records.slice(0, 3), records.slice(3, 1), records.slice(4, 0), records.slice(4)]
    )
    assert decode(parts).equals(whole)
    assert decode(records.slice(7, 9)).equals(whole.slice(7, 9))


def test_bytes_behind_a_null_are_not_read() -> None:
    data = value("k")
    offsets = pa.array([0, len(data), 2 * len(data)], pa.int32()).buffers()[1]
    hidden = pa.Array.from_buffers(pa.binary(), 2, [pa.py_buffer(b"\2"), offsets, pa.py_buffer(data * 2)])
    records = table([None, None]).set_column(0, "value", hidden)
    assert decode(records)["reason"].to_list() == ["Undecodable", None]


def test_a_scaled_column_for_each_field_and_decimals() -> None:
    document = spec().model_dump(by_alias=True)
    document["aggregates"] = [
        {"name": "a", "field": "X", "function": "Mean", "decimals": 2},
        {"name": "n", "function": "Count"},
        {"name": "b", "field": "X", "function": "Max", "decimals": 2},
        {"name": "c", "field": "X", "function": "Sum", "decimals": 0},
    ]
    document["model"]["inputs"] = ["a"]
    decoder = Decoder.of(StreamPipelineSpec.model_validate(document), SCHEMA)
    row = decoder.decode(table([value(x=2.5)])).row(0, named=True)
    assert {name: row[name] for name in row if name[0] == "s"} == {"s0": 250, "s1": 3}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "not an Avro schema"),
        ('{"type": "record"}', "not an Avro schema"),
        ('"string"', "not a record"),
        (record_schema(("id", "string"), ("at", "long")), "lacks the fields ['X']"),
        (record_schema(("id", "string"), ("at", "long"), ("X", "string")), "X must be a number"),
        (record_schema(("id", "double"), ("at", "long"), ("X", "double")), "key field id"),
        (record_schema(("id", "string"), ("at", "int"), ("X", "double")), "event time field at"),
        (record_schema(("id", "string"), ("at", "long"), ("X", ["double", "int"])), "one type"),
        (
            record_schema(
                ("id", "string"), ("at", {"type": "long", "logicalType": "timestamp-nanos"}), ("X", "double")
            ),
            "timestamp-nanos",
        ),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(schema: str, message: str) -> None:
    with pytest.raises(AvroSchemaError) as error:
        Decoder.of(spec(), schema)
    assert message in str(error.value)


def test_json_needs_no_schema() -> None:
    document = spec().model_dump(by_alias=True)
    document["source"]["format"]["type"] = "Json"
    decoder = Decoder.of(StreamPipelineSpec.model_validate(document), "")
    good = json.dumps({"id": "k", "X": 1, "at": E}).encode()
    assert decoder.decode(table([good]))["s0"].to_list() == [1_000_000]
