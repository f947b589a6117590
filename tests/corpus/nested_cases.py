"""Fields that are only skipped: every type, nested, repeated, holding itself."""

from __future__ import annotations

from tests.corpus.avro_bytes import data, double, integer, record_schema, text
from tests.corpus.model import UNDECODABLE, Case
from tests.corpus.nurse_cases import MILLIS, E

_INNER = {
    "type": "record",
    "name": "Inner",
    "namespace": "deep",
    "fields": [
        {"name": "label", "type": "string"},
        {"name": "maybe", "type": ["null", "Inner"]},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN"]}},
    ],
}
_POINT = {
    "type": "record",
    "name": "Point",
    "fields": [{"name": "x", "type": "int"}, {"name": "name", "type": ["null", "string"]}],
}
_EMPTY = {"type": "record", "name": "Empty", "fields": []}
_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}

FIELDS: list[tuple[str, object]] = [
    ("flag", "boolean"),
    ("color", {"type": "enum", "name": "Hue", "symbols": ["A", "B", "C"]}),
    ("blob", "bytes"),
    ("price", _DECIMAL),
    ("digest", {"type": "fixed", "name": "Digest", "size": 4}),
    ("other", "Digest"),
    ("uuid", {"type": "string", "logicalType": "uuid"}),
    ("inner", _INNER),
    ("point", _POINT),
    ("union", ["null", "Point", {"type": "array", "items": "Point"}]),
    ("empty", _EMPTY),
    ("empties", {"type": "array", "items": "Empty"}),
    ("nothing", "null"),
    ("nulls", {"type": "array", "items": "null"}),
    ("tags", {"type": "array", "items": "string"}),
    ("samples", {"type": "array", "items": "double"}),
    ("counts", {"type": "map", "values": "long"}),
    ("matrix", {"type": "map", "values": {"type": "array", "items": "int"}}),
]
END = integer(0)
LEAF = text("leaf") + integer(0) + integer(1)
GOOD: dict[str, bytes] = {
    "flag": b"\1",
    "color": integer(2),
    "blob": data(b"\xff\0\xfe"),
    "price": data(b"\x01\x02"),
    "digest": b"\xff\xff\xff\xff",
    "other": b"abcd",
    "uuid": text("not checked"),
    "inner": text("top") + integer(1) + LEAF + integer(0),
    "point": integer(5) + integer(1) + text("p"),
    "union": integer(2) + integer(1) + integer(1) + integer(0) + END,
    "empty": b"",
    "empties": integer(3) + END,
    "nothing": b"",
    "nulls": END,
    "tags": integer(2) + text("a") + text("é") + integer(1) + text("") + END,
    "samples": integer(1) + double(1.5) + END,
    "counts": integer(1) + text("one") + integer(1) + END,
    "matrix": integer(1) + text("row") + integer(2) + integer(1) + integer(2) + END + END,
}


def _sized(count: int, items: bytes, size: int | None = None) -> bytes:
    """A block with its size in bytes, true unless given."""
    return integer(-count) + integer(len(items) if size is None else size) + items


ACCEPTED: dict[str, list[bytes]] = {
    "flag": [b"\0"],
    "color": [integer(0), integer(1, 5)],
    "blob": [data(b""), data(bytes(range(256)))],
    "union": [integer(0), integer(1) + integer(0) + integer(0), integer(2) + END],
    "empties": [END, integer(2**62) + END, integer(7) + integer(9) + END, _sized(5, b"") + END],
    "nulls": [integer(2**63 - 1) + END, _sized(2**63 - 1, b"") + END],
    "tags": [END, _sized(2, text("a") + text("b")) + END, integer(0, 10)],
    "samples": [_sized(2, double(1.0) * 2) + integer(1) + double(2.0) + END],
    "counts": [
        END,
        _sized(1, text("k") + integer(2)) + END,
        (integer(1) + text("same") + integer(1)) * 2 + END,
    ],
    "matrix": [integer(1) + text("") + END + END],
}

REFUSED: dict[str, list[bytes]] = {
    "flag": [b"\2", b"\xff"],
    "color": [integer(3), integer(-1), integer(2**31 - 1), integer(0, 6)],
    "blob": [integer(-1), integer(2**40), integer(2**63 - 1)],
    "uuid": [data(b"\xc3\x28")],
    "inner": [
        data(b"\xff") + integer(0) + integer(0),
        text("a") + integer(2) + integer(0),
        text("a") + integer(0) + integer(2),
        text("a") + integer(1) + data(b"\x80") + integer(0) + integer(0) + integer(0),
    ],
    "point": [b"\x80\x80\x80\x80\x10" + integer(0), integer(5) + integer(1) + data(b"\xe9")],
    "union": [integer(3), integer(-1), integer(1) + integer(0) + integer(2)],
    "empties": [_sized(5, b"", 1) + END, _sized(5, b"", -1) + END, integer(-(2**63)) + integer(0) + END],
    "nulls": [_sized(1, b"", 2**62) + END],
    "tags": [
        integer(1) + data(b"\xff") + END,
        integer(2**40) + text("a") + END,
        integer(2**63 - 1) + text("a") + END,
        _sized(2, text("a") + text("b"), 3) + END,
        _sized(2, text("a") + text("b"), 5) + text("") + END,
        _sized(1, text("a") + text("b")) + END,
        _sized(3, text("a") + text("b")) + END,
        integer(-(2**63)) + integer(0) + END,
    ],
    "samples": [integer(2**61) + double(1.0) + END, _sized(1, double(1.0), 2**63 - 1) + END],
    "counts": [
        integer(1) + data(b"\xff") + integer(1) + END,
        integer(1) + text("k") + b"\xff" * 10,
        integer(2**50) + text("k") + integer(1) + END,
    ],
    "matrix": [integer(1) + text("k") + integer(1) + b"\xff\xff\xff\xff\x7f" + END + END],
}


def nested_case() -> Case:
    schema = record_schema(("id", "string"), *FIELDS, ("X", "double"), ("at", MILLIS))
    case = Case("nested", "Avro", schema, "id", "at", [("X", 6)])

    def encode(**changed: bytes) -> bytes:
        return text("k") + b"".join({**GOOD, **changed}.values()) + double(2.5) + integer(E)

    case.good("usual", encode(), "k", E, 2.5)
    for name, values in ACCEPTED.items():
        for i, value in enumerate(values):
            case.good(f"{name} {i}", encode(**{name: value}), "k", E, 2.5)
    for name, values in REFUSED.items():
        for i, value in enumerate(values):
            case.bad(f"{name} refused {i}", encode(**{name: value}), UNDECODABLE)
    whole = encode()
    for length in range(0, len(whole), 3):
        case.bad(f"cut to {length}", whole[:length], UNDECODABLE)
    for levels in (1, 61, 62, 63, 64, 65, 5000):
        value = encode(inner=(text("l") + integer(1)) * (levels - 1) + LEAF + integer(0) * (levels - 1))
        if levels <= 63:  # the record itself is the 64th
            case.good(f"{levels} levels", value, "k", E, 2.5)
        else:
            case.bad(f"{levels} levels", value, UNDECODABLE)
    return case


def tree_case() -> Case:
    """A schema that holds itself at the top, in arrays and maps; the pipeline reads the root's fields."""
    schema = record_schema(
        ("id", "string"),
        ("at", "long"),
        ("X", "double"),
        ("children", {"type": "array", "items": "Reading"}),
        ("by", {"type": "map", "values": ["null", "Reading"]}),
    )
    case = Case("tree", "Avro", schema, "id", "at", [("X", 2)])
    head = text("k") + integer(E) + double(0.125)
    leaf = head + END + END
    case.good("leaf", leaf, "k", E, 0.125)
    case.good("children", head + integer(2) + leaf + leaf + END + END, "k", E, 0.125)
    by = integer(2) + text("a") + integer(1) + leaf + text("b") + integer(0) + END
    case.good("by name", head + END + by, "k", E, 0.125)
    case.bad("child's key not UTF-8", head + integer(1) + data(b"\xff") + leaf[2:] + END + END, UNDECODABLE)
    for levels in (31, 32, 33):
        value = (head + integer(1)) * (levels - 1) + leaf + (END + END) * (levels - 1)
        if levels <= 32:  # each is a record and an array in it
            case.good(f"{levels} levels", value, "k", E, 0.125)
        else:
            case.bad(f"{levels} levels", value, UNDECODABLE)
    return case
