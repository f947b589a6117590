"""Keys, event times and numbers of every type, each nullable too; Confluent's header."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace

from tests.corpus.avro_bytes import double, floating, integer, record_schema, text
from tests.corpus.model import EMPTY_KEY, NAN, RANGE, TIME, UNDECODABLE, Case
from tests.corpus.nurse_cases import MAX_TIME, MILLIS, NURSE, READINGS, E
from tests.corpus.times import BAD_TIMES, GOOD_TIMES

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
NULLABLE = record_schema(
    ("note", ["null", "string", "int"]),
    ("id", ["null", "string"]),
    ("X", ["double", "null"]),
    ("f", ["null", "float"]),
    ("i", ["null", "int"]),
    ("l", "long"),
    ("at", ["null", MICROS]),
)
NONE, FIRST, SECOND, THIRD = integer(0), integer(0), integer(1), integer(2)
ONE = double(1.0)


@dataclass(frozen=True)
class Nullable:
    """A record of NULLABLE, encoded field by field."""

    note: bytes = NONE
    id: bytes = SECOND + text("k")
    x: bytes = FIRST + double(1.5)
    f: bytes = SECOND + floating(0.25)
    i: bytes = SECOND + integer(-7)
    l: bytes = integer(8)  # noqa: E741
    at: bytes = SECOND + integer(E * 1000 + 999)

    def encode(self) -> bytes:
        return self.note + self.id + self.x + self.f + self.i + self.l + self.at


def nullable_case(rng: random.Random) -> Case:
    """Unions with null, every type of number, one field with two scales, microseconds."""
    case = Case("nullable", "Avro", NULLABLE, "id", "at", [("X", 0), ("f", 3), ("i", 0), ("l", 6), ("X", 9)])
    base = Nullable()
    usual = (1.5, 0.25, -7.0, 8.0, 1.5)
    for n, note in enumerate((NONE, SECOND + text("né"), THIRD + integer(-5), SECOND + text(""))):
        case.good(f"note {n}", replace(base, note=note).encode(), "k", E, *usual)
    for n in range(30):
        _random_nullable(case, n, rng)
    for micros, e in ((0, 0), (999, 0), (1000, 1), (MAX_TIME * 1000 + 999, MAX_TIME)):
        case.good(f"micros {micros}", replace(base, at=SECOND + integer(micros)).encode(), "k", e, *usual)
    for micros in (-1, -1000, -(2**63), (MAX_TIME + 1) * 1000, 2**63 - 1):
        case.bad(f"micros {micros}", replace(base, at=SECOND + integer(micros)).encode(), TIME)
    _nullable_refusals(case, base)
    return case


def _random_nullable(case: Case, n: int, rng: random.Random) -> None:
    x, i, l_ = rng.uniform(-8000, 8000), rng.randrange(-(2**31), 2**31), rng.randrange(-(10**6), 10**6)
    f = floating(rng.gauss(0, 10 ** rng.uniform(-30, 6)))
    record = Nullable(x=FIRST + double(x), f=SECOND + f, i=SECOND + integer(i), l=integer(l_))
    widened = struct.unpack("<f", f)[0]
    case.good(f"random {n}", record.encode(), "k", E, x, widened, float(i), float(l_), x)


def _nullable_refusals(case: Case, base: Nullable) -> None:
    null_x = SECOND
    for name, record, reason in (
        ("null key", replace(base, id=NONE), EMPTY_KEY),
        ("empty key", replace(base, id=SECOND + text("")), EMPTY_KEY),
        ("null time", replace(base, at=NONE), TIME),
        ("null key and time", replace(base, id=NONE, at=NONE), EMPTY_KEY),
        ("null double", replace(base, x=null_x), NAN),
        ("null float", replace(base, f=NONE), NAN),
        ("null int", replace(base, i=NONE), NAN),
        ("null double, large long", replace(base, x=null_x, l=integer(2**60)), NAN),
        ("NaN float", replace(base, f=SECOND + b"\x01\0\x80\x7f"), NAN),
        ("infinite float", replace(base, f=SECOND + b"\0\0\x80\xff"), RANGE),
        ("large float", replace(base, f=SECOND + b"\xff\xff\x7f\x7f"), RANGE),
        ("large long", replace(base, l=integer(2**63 - 1)), RANGE),
        ("in range with 0 decimals, not with 9", replace(base, x=FIRST + double(8797.0)), RANGE),
        ("skipped string not UTF-8", replace(base, note=SECOND + b"\x02\xff"), UNDECODABLE),
        ("skipped int of 33 bits", replace(base, note=THIRD + b"\x80\x80\x80\x80\x10"), UNDECODABLE),
        ("skipped int of 6 bytes", replace(base, note=THIRD + integer(1, 6)), UNDECODABLE),
        ("int of 33 bits", replace(base, i=SECOND + b"\x80\x80\x80\x80\x10"), UNDECODABLE),
        ("int of 6 bytes", replace(base, i=SECOND + integer(1, 6)), UNDECODABLE),
        ("branch 2 of 2", replace(base, id=THIRD + text("k")), UNDECODABLE),
        ("branch 3 of 3", replace(base, note=integer(3)), UNDECODABLE),
        ("branch -1", replace(base, x=integer(-1)), UNDECODABLE),
        ("branch 2^31 - 1", replace(base, f=integer(2**31 - 1)), UNDECODABLE),
        ("branch of 6 bytes", replace(base, f=integer(1, 6) + floating(1.0)), UNDECODABLE),
    ):
        case.bad(name, record.encode(), reason)
    padded = replace(base, i=SECOND + integer(-7, 5), f=integer(1, 5) + floating(0.25))
    case.good("ints of 5 bytes", padded.encode(), "k", E, 1.5, 0.25, -7.0, 8.0, 1.5)
    least = replace(base, i=SECOND + integer(-(2**31)))
    case.good("least int", least.encode(), "k", E, 1.5, 0.25, -(2.0**31), 8.0, 1.5)


def integer_key_case() -> Case:
    """A long as the key and also as a number; a plain long as the time."""
    schema = record_schema(("id", ["null", "long"]), ("at", "long"), ("X", "double"))
    case = Case("long key", "Avro", schema, "id", "at", [("X", 6), ("id", 0)])
    for key in (0, -0, 1, -1, 2**31, 2**43 - 1, -(2**43) + 1, 42):
        case.good(f"key {key}", SECOND + integer(key) + integer(E) + ONE, str(key), E, 1.0, float(key))
    for key in (2**43, -(2**43), 2**63 - 1, -(2**63), 2**53 + 1):
        case.bad(f"key {key}", SECOND + integer(key) + integer(E) + ONE, RANGE)
    case.bad("null key", NONE + integer(E) + ONE, EMPTY_KEY)
    return case


def int_key_case() -> Case:
    schema = record_schema(("id", "int"), ("at", MILLIS), ("X", "float"))
    case = Case("int key", "Avro", schema, "id", "at", [("X", 1)])
    for key in (0, -1, 2**31 - 1, -(2**31)):
        case.good(f"key {key}", integer(key) + integer(E) + floating(0.05), str(key), E, _widen(0.05))
    case.bad("key of 33 bits", integer(2**31) + integer(E) + floating(0.05), UNDECODABLE)
    return case


def _widen(x: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def text_time_case() -> Case:
    """A string as the time, here the key as well."""
    schema = record_schema(("at", ["string", "null"]), ("X", "double"))
    case = Case("text time", "Avro", schema, "at", "at", [("X", 6)])
    for at, e in GOOD_TIMES.items():
        value = FIRST + text(at) + ONE
        if 0 <= e <= MAX_TIME:
            case.good(at, value, at, e, 1.0)
        else:
            case.bad(at, value, TIME)
    for at in BAD_TIMES:
        case.bad(repr(at), FIRST + text(at) + ONE, UNDECODABLE)
    case.bad("null", SECOND + ONE, EMPTY_KEY)
    return case


def confluent_case(schema_ids: list[int]) -> Case:
    name = f"confluent {schema_ids if schema_ids else 'any'}"
    case = Case(name, "ConfluentAvro", NURSE, "id", "datetime", [(f, 6) for f in READINGS], schema_ids)
    body = text("k") + ONE * 6 + integer(E)
    ones = [1.0] * 6
    for schema_id in (0, 7, 300, 2**31 - 1):
        value = b"\0" + schema_id.to_bytes(4, "big") + body
        if schema_ids and schema_id not in schema_ids:
            case.bad(f"id {schema_id}", value, UNDECODABLE)
        else:
            case.good(f"id {schema_id}", value, "k", E, *ones)
    header = b"\0\0\0\0\7"
    for length in range(5):
        case.bad(f"header cut to {length}", header[:length], UNDECODABLE)
    case.bad("header only", header, UNDECODABLE)
    case.bad("magic 1", b"\1" + header[1:] + body, UNDECODABLE)
    case.bad("no header", body, UNDECODABLE)
    case.bad("left over", header + body + b"\0", UNDECODABLE)
    case.bad("little endian", b"\0\7\0\0\0" + body[:-1], UNDECODABLE)
    case.bad("tombstone", None, UNDECODABLE)
    return case
