"""JSON records: what is an object, which values fit, how far a parser may be lenient (not at all)."""

from __future__ import annotations

import json
import random

from tests.corpus.model import EMPTY_KEY, NAN, RANGE, TIME, UNDECODABLE, Case
from tests.corpus.nurse_cases import MAX_TIME, NURSE, E
from tests.corpus.times import BAD_TIMES, GOOD_TIMES


def json_case(rng: random.Random) -> Case:
    case = Case("json", "Json", NURSE, "id", "datetime", [("X", 6), ("HR", 2)])
    for i in range(40):
        x, hr, key = rng.gauss(0, 1000), rng.randrange(200), f"nurse-{rng.randrange(9)}"
        value = {"id": key, "X": x, "HR": hr, "datetime": E + i, "note": rng.choice([None, [1, {}], "é"])}
        case.good(f"random {i}", json.dumps(value).encode(), key, E + i, x, float(hr))
    _keys(case)
    _times(case)
    _numbers(case)
    _documents(case)
    return case


def _object(key: str = '"k"', x: str = "1.5", hr: str = "2", at: str = str(E), more: str = "") -> bytes:
    return f'{{"id": {key}, "X": {x}, "HR": {hr}, "datetime": {at}{more}}}'.encode()


def _keys(case: Case) -> None:
    for text, key in {
        '"k"': "k",
        '"é"': "é",
        r'"\u00e9"': "é",
        r'"\ud83d\ude00"': "😀",
        r'"\u0000"': "\0",
        r'"\"\\\/\b\f\n\r\t"': '"\\/\b\f\n\r\t',
        "0": "0",
        "-0": "0",
        "-17": "-17",
        "9223372036854775807": "9223372036854775807",
        "-9223372036854775808": "-9223372036854775808",
    }.items():
        case.good(f"key {text!a}", _object(key=text), key, E, 1.5, 2.0)
    for text in ("null", '""'):
        case.bad(f"key {text}", _object(key=text), EMPTY_KEY)
    for text in (
        "9223372036854775808", "-9223372036854775809", "1" * 5000, "1.0", "1e2", "true", "[]", "{}", "k",
        r'"\ud83d"', r'"\ude00\ud83d"', r'"\ud83dx"', r'"\x41"', r'"\u12"', r'"\u00g0"', r'"\u+123"',
        '"a\tb"', '"a\nb"', "'k'", '"k',
    ):  # fmt: skip
        case.bad(f"key {text[:12]!a}", _object(key=text), UNDECODABLE)
    case.bad("key not UTF-8", _object().replace(b'"k"', b'"\xff"'), UNDECODABLE)
    case.bad("key with a surrogate's bytes", _object().replace(b'"k"', b'"\xed\xa0\x80"'), UNDECODABLE)


def _times(case: Case) -> None:
    for text, e in GOOD_TIMES.items():
        if 0 <= e <= MAX_TIME:
            case.good(text, _object(at=json.dumps(text)), "k", e, 1.5, 2.0)
        else:
            case.bad(text, _object(at=json.dumps(text)), TIME)
    for text in BAD_TIMES:
        case.bad(repr(text), _object(at=json.dumps(text)), UNDECODABLE)
    for text, e in {"0": 0, "-0": 0, str(MAX_TIME): MAX_TIME}.items():
        case.good(f"time {text}", _object(at=text), "k", e, 1.5, 2.0)
    for text in ("null", "-1", str(MAX_TIME + 1), "9223372036854775808", "-1" + "0" * 30, "1" * 5000):
        case.bad(f"time {text[:25]}", _object(at=text), TIME)
    for text in ("1.0", "1e3", "1700000000123.0", "true", "[0]", '{"a": 0}', '"1700000000123"'):
        case.bad(f"time {text}", _object(at=text), UNDECODABLE)


def _numbers(case: Case) -> None:
    for text in (
        "0", "-0", "-0.0", "0.0", "1E2", "1e+2", "1e-2", "1.5e-320", "1e-400",
        "0.1000000000000000055511151231257827",
        "8796093", "-8796093", "9007199254740993e-12", "3.0000000000000001", "123456789012345678e-14",
    ):  # fmt: skip
        case.good(f"number {text}", _object(x=text), "k", E, float(text), 2.0)
    long_number = "0." + "3" * 3000
    case.good("number of 3000 digits", _object(x=long_number), "k", E, float(long_number), 2.0)
    for text in ("1e400", "-1e400", "1e308", "9" * 400, "87960930222.08", "8796093022208"):
        case.bad(f"number {text[:15]}", _object(hr=text), RANGE)
    case.bad("null number", _object(x="null"), NAN)
    case.bad("null after a large one", _object(x="1e300", hr="null"), NAN)
    for text in (
        "NaN", "Infinity", "-Infinity", "nan", '"1"', "true", "false", "[]", "{}", "01", "-01", "+1", ".5",
        "1.",
        "-", "1e", "1e+", "0x10", "1_000", "1,5", "1d", "1f", "", "--1", "1 2", '"NaN"',
    ):  # fmt: skip
        case.bad(f"number {text}", _object(x=text), UNDECODABLE)


def _documents(case: Case) -> None:
    good = _object()
    spaced = b" \t\r\n" + good.replace(b",", b" \n,\t") + b"\r\n "
    last = _object(more=', "X": 7, "id": "last"')
    inside = _object(more=', "more": {"X": null, "id": 5, "datetime": {}}')
    escaped_name = good.replace(b'"X"', rb'"\u0058"')
    case.good("usual", good, "k", E, 1.5, 2.0)
    case.good("spaced", spaced, "k", E, 1.5, 2.0)
    case.good("last of two", last, "last", E, 7.0, 2.0)
    case.good("wrong, then right", _object(x="true", more=', "X": 1.5'), "k", E, 1.5, 2.0)
    case.bad("right, then wrong", _object(more=', "X": true'), UNDECODABLE)
    case.good("same names inside", inside, "k", E, 1.5, 2.0)
    case.good("escaped name", escaped_name, "k", E, 1.5, 2.0)
    case.good("long name", _object(more=f', "{"n" * 60_0}": 1'), "k", E, 1.5, 2.0)
    for name, value in {
        "empty": b"",
        "space": b" ",
        "array": b"[" + good + b"]",
        "string": b'"k"',
        "number": b"5",
        "null": b"null",
        "empty object": b"{}",
        "two objects": good + good,
        "two lines": good + b"\n" + good,
        "something left over": good + b" x",
        "NUL left over": good + b"\0",
        "byte-order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16-le"),
        "UTF-16 with mark": good.decode().encode("utf-16"),
        "UTF-32": good.decode().encode("utf-32-be"),
        "comma at the end": good[:-1] + b",}",
        "two commas": good.replace(b", ", b",, ", 1),
        "comment": good[:-1] + b"/* */}",
        "line comment": good + b"// end",
        "name without quotes": good.replace(b'"X"', b"X"),
        "name in single quotes": good.replace(b'"X"', b"'X'"),
        "no colon": good.replace(b":", b" ", 1),
        "form feed as space": good.replace(b", ", b",\f", 1),
        "no-break space": good.replace(b", ", ",\u00a0".encode(), 1),
        "not UTF-8 in what is skipped": good[:-1] + b', "note": "\xc0\x80"}',
        "half a pair in what is skipped": good[:-1] + rb', "note": ["\ud800"]}',
        "half a pair in a name": good[:-1] + rb', "a": {"\udc00": 1}}',
        "half a pair, then overwritten": good[:-1] + rb', "a": "\udc00", "a": 1}',
        "bad escape in what is skipped": good[:-1] + rb', "note": "\q"}',
        "NaN in what is skipped": good[:-1] + b', "note": NaN}',
        "Infinity in what is skipped": good[:-1] + b', "note": [-Infinity]}',
        "literal in capitals": good[:-1] + b', "note": True}',
        "brackets crossed": good[:-1] + b', "note": [{]}}',
        "a null": None,
    }.items():
        case.bad(name, value, UNDECODABLE)
    for field in (b'"id"', b'"X"', b'"HR"', b'"datetime"'):
        case.bad(f"without {field!r}", good.replace(field, b'"other"'), UNDECODABLE)
        case.bad(f"with capitals {field!r}", good.replace(field, field.swapcase()), UNDECODABLE)
    for length in range(1, len(good), 4):
        case.bad(f"cut to {length}", good[:length], UNDECODABLE)
    for depth in (62, 63, 64, 200, 2000):
        value = good[:-1] + b', "deep": ' + b"[" * depth + b"]" * depth + b"}"
        if depth <= 63:  # the object itself is the 64th level
            case.good(f"depth {depth}", value, "k", E, 1.5, 2.0)
        else:
            case.bad(f"depth {depth}", value, UNDECODABLE)
    wide = _object(more=', "wide": [' + ", ".join(["[]", "{}", '"[[{"'] * 50) + "]")
    case.good("wide, not deep", wide, "k", E, 1.5, 2.0)
    case.bad("more closed than opened", good[:-1] + b', "note": ' + b"[" * 70 + b"]" * 71 + b"}", UNDECODABLE)
