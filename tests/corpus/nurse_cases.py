"""The nurses' schema: keys, times, numbers and bytes at every limit."""

from __future__ import annotations

import math
import random

from tests.corpus.avro_bytes import data, double, double_bits, integer, raw_varint, record_schema, text
from tests.corpus.model import EMPTY_KEY, NAN, RANGE, TIME, UNDECODABLE, Case

E = 1_700_000_000_123
MAX_TIME = 253402300799999
READINGS = ("X", "Y", "Z", "EDA", "HR", "TEMP")


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
NURSE = record_schema(
    ("id", "string"), *((f, "double") for f in READINGS), ("datetime", MILLIS), name="Nurse"
)


def nurse(key: bytes, readings: list[bytes], time: bytes) -> bytes:
    return key + b"".join(readings) + time


def nurse_case(rng: random.Random) -> Case:
    case = Case("nurse", "Avro", NURSE, "id", "datetime", [(f, 6) for f in READINGS])
    zeros = [double(0.0)] * 5
    for i in range(120):
        numbers = [rng.gauss(0, 10 ** rng.uniform(-6, 6)) for _ in READINGS]
        key, e = f"nurse-{rng.randrange(20)}", rng.randrange(MAX_TIME)
        case.good(f"random {i}", nurse(text(key), [double(x) for x in numbers], integer(e)), key, e, *numbers)
    _nurse_keys(case, zeros)
    _nurse_times(case, zeros)
    _nurse_numbers(case, zeros)
    _nurse_bytes(case, zeros)
    return case


def _nurse_keys(case: Case, zeros: list[bytes]) -> None:
    rest = [*zeros, double(1.0)]
    for key in ("a", "\0", " ", "é", "病人", "😀", "\ufeff", "\U0010ffff", "k" * 200):
        case.good(f"key {key[:3]!a}", nurse(text(key), rest, integer(E)), key, E, 0, 0, 0, 0, 0, 1.0)
    case.bad("empty key", nurse(text(""), rest, integer(E)), EMPTY_KEY)
    case.bad("empty key before time", nurse(text(""), rest, integer(-1)), EMPTY_KEY)
    invalid = {
        "lone byte": b"\xff",
        "continuation alone": b"a\x80",
        "cut": b"\xe2\x82",
        "cut inside": b"\xe2\x82a",
        "overlong NUL": b"\xc0\x80",
        "overlong slash": b"\xe0\x80\xaf",
        "surrogate": b"\xed\xa0\x80",
        "pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
        "above Unicode": b"\xf4\x90\x80\x80",
        "five bytes": b"\xf8\x88\x80\x80\x80",
        "ASCII then bad": b"abcdefgh\xc3",
    }
    for name, key_bytes in invalid.items():
        case.bad(f"UTF-8: {name}", nurse(data(key_bytes), rest, integer(E)), UNDECODABLE)


def _nurse_times(case: Case, zeros: list[bytes]) -> None:
    rest = [*zeros, double(1.0)]
    for e in (0, 1, 999, MAX_TIME - 1, MAX_TIME):
        case.good(f"time {e}", nurse(text("k"), rest, integer(e)), "k", e, 0, 0, 0, 0, 0, 1.0)
    for e in (-1, -1000, MAX_TIME + 1, 2**63 - 1, -(2**63)):
        case.bad(f"time {e}", nurse(text("k"), rest, integer(e)), TIME)
    nan = [*zeros, double(math.nan)]
    case.bad("time before NaN", nurse(text("k"), nan, integer(-1)), TIME)
    for length in (7, 8, 9, 10):
        value = nurse(text("k"), rest, integer(E, length))
        case.good(f"time in {length} bytes", value, "k", E, 0, 0, 0, 0, 0, 1.0)
    case.bad("time in 11 bytes", nurse(text("k"), rest, integer(E, 11)), UNDECODABLE)
    case.bad("time of 65 bits", nurse(text("k"), rest, b"\x80" * 9 + b"\x02"), UNDECODABLE)
    case.bad("time without end", nurse(text("k"), rest, b"\x80" * 10), UNDECODABLE)


def _nurse_numbers(case: Case, zeros: list[bytes]) -> None:
    limit = 2.0**43 / 1e6
    just_in = [(2.0**43 - 1) / 1e6, -(2.0**43 - 1) / 1e6]
    near = [limit, -limit, *just_in]
    near += [math.nextafter(x, towards) for x in near for towards in (math.inf, -math.inf)]
    near += [(2.0**43 - 0.5) / 1e6, (2.0**43 - 0.25) / 1e6, (2.0**43 - 0.75) / 1e6]
    near += [-x for x in near[-3:]]
    for x in near:
        value = nurse(text("k"), [*zeros, double(x)], integer(E))
        if abs(math.floor(x * 1e6 + 0.5)) < 2**43:
            case.good(f"limit {x!r}", value, "k", E, 0, 0, 0, 0, 0, x)
        else:
            case.bad(f"limit {x!r}", value, RANGE)
    small = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 5e-7, -5e-7, 4.9999999999999e-7, 1.5e-6]
    small += [0.1, -0.1, 2.5e-6, -2.5e-6, 0.49999999999999994, 1 / 3, 1e-300, 1234567.8912345]
    for x in small:
        value = nurse(text("k"), [double(x), *zeros], integer(E))
        case.good(f"number {x!r}", value, "k", E, x, 0, 0, 0, 0, 0)
    for x in (math.inf, -math.inf, 1e308, -1e308, 1.7976931348623157e308, 1e7, -1e7):
        case.bad(f"number {x!r}", nurse(text("k"), [double(x), *zeros], integer(E)), RANGE)
    for bits in (0x7FF8 << 48, 0xFFF8 << 48, (0x7FF0 << 48) + 1, (0xFFF0 << 48) + 1, 2**64 - 1):
        case.bad(f"NaN {bits:x}", nurse(text("k"), [double_bits(bits), *zeros], integer(E)), NAN)
    both = [double(math.inf), *zeros[1:], double(math.nan)]
    case.bad("NaN after infinity", nurse(text("k"), both, integer(E)), NAN)


def _nurse_bytes(case: Case, zeros: list[bytes]) -> None:
    good = nurse(text("nurse-1"), [*zeros, double(1.0)], integer(E))
    case.good("whole", good, "nurse-1", E, 0, 0, 0, 0, 0, 1.0)
    for length in range(len(good)):
        case.bad(f"cut to {length}", good[:length], UNDECODABLE)
    case.bad("byte left over", good + b"\0", UNDECODABLE)
    case.bad("twice", good + good, UNDECODABLE)
    case.bad("tombstone", None, UNDECODABLE)
    rest = good[len(text("nurse-1")) :]
    case.good("long key length", integer(1, 10) + b"k" + rest, "k", E, 0, 0, 0, 0, 0, 1.0)
    lengths = {
        "-1": integer(-1),
        "least": integer(-(2**63)),
        "2^31": integer(2**31),
        "greatest": integer(2**63 - 1),
        "all but one": integer(len(rest) + 2),
        "to the end": integer(len(rest) + 1),
        "11 bytes": raw_varint(2, 11),
    }
    for name, encoded in lengths.items():
        case.bad(f"key length {name}", encoded + b"k" + rest, UNDECODABLE)
