"""The audit's own strict readers, against hand-made bytes, the golden corpus and fastavro."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import fastavro
import numpy as np
import pytest
from tests.corpus import model as corpus

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline_audit.avro_reader import AvroBatch
from streampipeline_audit.avro_schema import parse_schema
from streampipeline_audit.errors import AuditError
from streampipeline_audit.event_time import rfc3339_ms
from streampipeline_audit.verdict import Judge, Reason, RecordBatch, Verdicts

E = 1_700_000_000_000


def batch(values: list[bytes | None], timestamp: int = E) -> RecordBatch:
    n = len(values)
    return RecordBatch(np.zeros(n, np.int64), np.arange(n), np.full(n, timestamp), values)


def reasons(verdicts: Verdicts) -> list[str]:
    return [Reason(int(reason)).text for reason in verdicts.reasons]


def spec(format_: dict[str, Any], field: str = "x") -> StreamPipelineSpec:
    return StreamPipelineSpec.model_validate(
        {
            "source": {
                "kafka": {"bootstrapServers": ["127.0.0.1:9"], "topic": "t"},
                "format": format_,
                "keyField": "id",
                "eventTime": {"field": "at"},
            },
            "window": {"tumbling": {"sizeSeconds": 5}},
            "aggregates": [{"name": "x", "field": field, "function": "Sum"}],
            "model": {"external": {"url": "http://127.0.0.1:9"}, "inputs": ["x"], "output": "level"},
            "sinks": [{"parquet": {"path": "unused"}}],
            "deadLetter": {"topic": "d"},
        }
    )


def schema(**types: Any) -> str:
    fields = [{"name": name, "type": type_} for name, type_ in types.items()]
    return json.dumps({"type": "record", "name": "R", "fields": fields})


@pytest.mark.parametrize("case", corpus.load(), ids=lambda case: case.name)
def test_golden_corpus(case: corpus.Case) -> None:
    judge = Judge(case.spec(), case.schema)
    for record in case.records:
        timestamp = 0 if record.e is None else record.e
        verdicts = judge.judge(batch([record.value], timestamp))
        assert reasons(verdicts) == [record.reason or "None"], record.name
        if record.reason is None:
            assert verdicts.keys.to_list() == [record.key], record.name
            assert verdicts.event_times.tolist() == [record.e], record.name
            found = [int(verdicts.scaled[name, decimals][0]) for name, decimals in case.scaled]
            assert found == record.scaled, record.name
    # And all of them at once: one bad value must not shift its neighbours.
    together = judge.judge(batch([record.value for record in case.records]))
    decided = {"Undecodable", "EmptyKey", "EventTimeOutOfRange", "NotANumber", "OutOfRange"}
    found_reasons = [reason if reason in decided else None for reason in reasons(together)]
    assert found_reasons == [record.reason for record in case.records]


NESTED = {
    "type": "record",
    "name": "Nested",
    "namespace": "n",
    "fields": [
        {"name": "flag", "type": "boolean"},
        {"name": "blob", "type": "bytes"},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}},
        {"name": "digest", "type": {"type": "fixed", "name": "Digest", "size": 3}},
        {"name": "other", "type": "Digest"},
        {"name": "list", "type": {"type": "array", "items": ["null", "string", "n.Color"]}},
        {"name": "doubles", "type": {"type": "array", "items": "double"}},
        {"name": "nothing", "type": {"type": "array", "items": "null"}},
        {"name": "map", "type": {"type": "map", "values": {"type": "array", "items": "int"}}},
        {
            "name": "tree",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Tree",
                    "fields": [{"name": "value", "type": "long"}, {"name": "left", "type": ["null", "Tree"]}],
                },
            ],
        },
        {"name": "f", "type": "float"},
    ],
}


def random_nested(rng: random.Random) -> dict[str, Any]:
    def tree(depth: int) -> dict[str, Any] | None:
        return {"value": rng.getrandbits(40), "left": tree(depth - 1)} if depth else None

    return {
        "flag": rng.random() < 0.5,
        "blob": rng.randbytes(rng.randrange(5)),
        "color": rng.choice(["RED", "BLUE"]),
        "digest": rng.randbytes(3),
        "other": rng.randbytes(3),
        "list": [rng.choice([None, "é", "text", ("n.Color", "RED")]) for _ in range(rng.randrange(4))],
        "doubles": [rng.random() for _ in range(rng.randrange(4))],
        "nothing": [None] * rng.randrange(4),
        "map": {f"k{i}": [rng.randrange(-99, 99)] * rng.randrange(3) for i in range(rng.randrange(3))},
        "tree": tree(rng.randrange(4)),
        "f": 1.5,
    }


def readable(node: Any, values: list[bytes]) -> list[bool]:
    read = AvroBatch(values)
    read.expect_end(read.skip(node, read.good()))
    return [not bad for bad in read.bad.tolist()]


def test_every_avro_type_is_read_as_fastavro_writes_it() -> None:
    rng = random.Random(5)
    node, written = parse_schema(json.dumps(NESTED)), []
    parsed = fastavro.parse_schema(NESTED)
    for _ in range(300):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, random_nested(rng))
        written.append(out.getvalue())
    assert all(readable(node, written))
    assert not any(readable(node, [value + b"\0" for value in written]))
    assert not any(readable(node, [value[:-1] for value in written]))
    assert not any(readable(node, [value[: rng.randrange(len(value))] for value in written]))


def test_bytes_that_a_lenient_reader_takes() -> None:
    array = parse_schema(schema(a={"type": "array", "items": "int"}))
    sized = {b"\x03\x04\x02\x04\x00": True, b"\x03\x06\x02\x04\x00": False, b"\x03\x01\x02\x04\x00": False}
    assert readable(array, list(sized)) == list(sized.values())
    huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    doubles = parse_schema(schema(a={"type": "array", "items": "double"}))
    nulls = parse_schema(schema(a={"type": "array", "items": "null"}))
    assert readable(doubles, [huge + b"\0"]) == [False]
    assert readable(nulls, [huge + b"\0"]) == [True]
    assert readable(parse_schema(schema(b="boolean")), [b"\0", b"\1", b"\2"]) == [True, True, False]
    union = parse_schema(schema(u=["null", "boolean"]))
    assert readable(union, [b"\0", b"\2\1", b"\4\1", b"\1"]) == [True, True, False, False]


def test_a_schema_that_holds_itself_without_end_is_refused_by_depth() -> None:
    node = parse_schema(schema(t={"type": "array", "items": "R"}))
    assert readable(node, [b"\2" * 31 + b"\0" * 32, b"\2" * 32 + b"\0" * 33, b"\2" * 5000]) == [
        True,
        False,
        False,
    ]


PLAIN = schema(id="string", at="long", x="double")


def test_confluent_header() -> None:
    judge = Judge(spec({"type": "ConfluentAvro", "schema": PLAIN, "schemaIds": [7]}), PLAIN)
    value = b"\x02k" + _long(E) + b"\0" * 8
    headers = [b"\0\0\0\0\7", b"\1\0\0\0\7", b"\0\0\0\0\6", b"\0\0\0", b""]
    found = reasons(
        judge.judge(batch([header + value if len(header) == 5 else header for header in headers]))
    )
    assert found == ["None"] + ["Undecodable"] * 4
    any_id = Judge(spec({"type": "ConfluentAvro", "schema": PLAIN}), PLAIN)
    assert reasons(any_id.judge(batch([b"\0\1\2\3\4" + value]))) == ["None"]


def _long(value: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, value)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"id": "k", "at": 1700000000000, "x": 1.5}', "None"),
        ('{"id": "k", "at": 1700000000000, "x": 1, "more": [NaN]}', "Undecodable"),
        ('{"id": "k", "at": 1700000000000, "x": 1, "more": [1]}', "None"),
        ('{"id": "k", "at": 1700000000000, "x": NaN}', "Undecodable"),
        ('{"id": "k", "at": 1700000000000, "x": Infinity}', "Undecodable"),
        ('{"id": "k", "at": 1700000000000, "x": 1e999}', "OutOfRange"),
        ('{"id": "k", "at": 1700000000000, "x": "1"}', "Undecodable"),
        ('{"id": "k", "at": 1700000000000, "x": true}', "Undecodable"),
        ('{"id": "k", "at": 1700000000000, "x": null}', "NotANumber"),
        ('{"id": "k", "at": 1700000000000}', "Undecodable"),
        ('{"id": "k", "at": 1.0, "x": 1}', "Undecodable"),
        ('{"id": "k", "at": -1, "x": 1}', "EventTimeOutOfRange"),
        ('{"id": "k", "at": 99999999999999999999, "x": 1}', "EventTimeOutOfRange"),
        ('{"id": "", "at": 1700000000000, "x": 1}', "EmptyKey"),
        ('{"id": 5, "at": 1700000000000, "x": 1}', "None"),
        ('{"id": 5.0, "at": 1700000000000, "x": 1}', "Undecodable"),
        ('{"id": "\\ud800", "at": 1700000000000, "x": 1}', "Undecodable"),
        ('[{"id": "k", "at": 1700000000000, "x": 1}]', "Undecodable"),
        ('{"id": "k", "at": 1700000000000, "x": 1} {}', "Undecodable"),
        ("", "Undecodable"),
    ],
)
def test_json(text: str, reason: str) -> None:
    judge = Judge(spec({"type": "Json", "schema": PLAIN}), PLAIN)
    assert reasons(judge.judge(batch([text.encode()]))) == [reason]


def test_json_in_another_encoding_is_undecodable() -> None:
    judge = Judge(spec({"type": "Json", "schema": PLAIN}), PLAIN)
    good = '{"id": "é", "at": 1700000000000, "x": 1}'
    values: list[bytes | None] = [
        good.encode(encoding) for encoding in ("utf-8", "utf-16", "latin-1", "utf-8-sig")
    ]
    assert reasons(judge.judge(batch(values))) == ["None"] + ["Undecodable"] * 3


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-14T22:13:20.1239999Z", E + 123),
        ("2023-11-14T23:13:20.1+01:00", E + 100),
        ("2023-11-14T21:43:20-00:30", E),
        ("2024-02-29T00:00:00Z", 1709164800000),
        ("0000-03-01T00:00:00Z", -62162035200000),
        ("2023-02-29T00:00:00Z", None),
        ("2023-11-14T22:13:60Z", None),
        ("2023-11-14T24:00:00Z", None),
        ("2023-11-14t22:13:20z", None),
        ("2023-11-14 22:13:20Z", None),
        ("2023-11-14T22:13:20", None),
        ("2023-11-14T22:13:20.Z", None),
        ("2023-11-14T22:13:20.1234567890Z", None),
        ("2023-11-14T22:13:20Z\n", None),
        ("٢٠٢٣-11-14T22:13:20Z", None),
    ],
)
def test_rfc_3339(text: str, ms: int | None) -> None:
    assert rfc3339_ms(text) == ms


def test_whole_number_keys_are_decimal_texts() -> None:
    text = schema(id=["null", "string", "long"], at="long", x="double")
    judge = Judge(spec({"type": "Avro", "schema": text}), text)
    rest = _long(E) + b"\0" * 8
    verdicts = judge.judge(batch([b"\4\x05" + rest, b"\2\x02k" + rest, b"\0" + rest]))
    assert reasons(verdicts) == ["None", "None", "EmptyKey"]
    assert verdicts.keys.to_list() == ["-3", "k"]


@pytest.mark.parametrize(
    "text", ["", "{}", '"string"', '{"type": "record", "name": "R", "fields": 1}', schema(a="b")]
)
def test_a_malformed_schema_is_told(text: str) -> None:
    with pytest.raises(AuditError, match="Avro schema"):
        parse_schema(text)


def test_a_field_that_is_not_there_or_no_number_is_told() -> None:
    with pytest.raises(AuditError, match="no field y"):
        Judge(spec({"type": "Avro", "schema": PLAIN}, field="y"), PLAIN)
    with pytest.raises(AuditError, match="cannot be a number"):
        Judge(spec({"type": "Avro", "schema": PLAIN}, field="id"), PLAIN)
