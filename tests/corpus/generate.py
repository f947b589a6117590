"""The golden corpus: run `python -m tests.corpus.generate` to write `records.json` anew.

`... FILE --mutations 5000` writes a larger one, for
`mvn -f flink-decoder/pom.xml test -Dcorpus=FILE` and, with STREAMPIPELINE_CORPUS=FILE in the environment,
for the audit's reader (`test_audit_reading.py`).

The verdict of each hand-made record is stated beside it. Mutations are hand-made records with some bytes
changed at random; their verdict is the Python decoder's, to which the decoder in Flink's JVM is compared.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import struct
from pathlib import Path

import pyarrow as pa
from tests.corpus.json_cases import json_case
from tests.corpus.model import FILE, Case, Record, dump
from tests.corpus.nested_cases import nested_case, tree_case
from tests.corpus.nurse_cases import nurse_case
from tests.corpus.typed_cases import (
    confluent_case,
    int_key_case,
    integer_key_case,
    nullable_case,
    text_time_case,
)

from streampipeline.decode import Decoder
from streampipeline.scaling import scaled_columns

SEED = 20260509


def hand_made() -> list[Case]:
    """The cases whose verdicts are stated."""
    rng = random.Random(SEED)
    return [
        nurse_case(rng),
        nullable_case(rng),
        integer_key_case(),
        int_key_case(),
        text_time_case(),
        nested_case(),
        tree_case(),
        confluent_case([]),
        confluent_case([7, 300]),
        json_case(rng),
    ]


DOUBLES = [
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    8796093.0222,
    -8796093.0222,
    1e13,
]
VARINTS = [
    b"\x80\x00",
    b"\xff" * 4 + b"\x0f",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 10,
    b"\x80" * 9 + b"\x02",
    b"\x01",
]
"""Longer than they need be, the greatest int and long, too long, too great, -1."""
BAD_UTF8 = [b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf"]
"""Among them a surrogate, and a byte-order mark, which is valid."""
JSON_TOKEN = re.compile(rb'"[^"]*"|[-+.\w]+|[{}\[\]:,]')
TOKENS = (
    rb'null true 0 -0 1.5 1e400 -1e400 1e-400 NaN Infinity 01 1. [] {} "" "1" "\ud800" "\u0000" "id" , } '
    rb'"2026-01-01T00:00:00Z" "2026-02-30T00:00:00Z" 9223372036854775807 9223372036854775808 '
    rb"-9223372036854775809 253402300799999 253402300800000 8796093.022208"
).split()


def mutate(value: bytes, rng: random.Random) -> bytes:
    """The value with one to three changes: of bits and bytes, or of what a format has to say about them."""
    out = bytearray(value)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(out) + 1)
        match rng.randrange(9):
            case 0:
                out[place:place] = bytes([rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])])
            case 1:
                del out[place : place + 1]
            case 2:
                out[place : place + 1] = bytes([rng.randrange(256)])
            case 3:
                flipped = 1 << rng.randrange(8)
                out[place : place + 1] = bytes(byte ^ flipped for byte in out[place : place + 1])
            case 4:
                del out[place:]
            case 5:
                out += rng.randbytes(rng.randint(1, 4))
            case 6:
                out[place : place + 8] = struct.pack("<d", rng.choice(DOUBLES))
            case 7:
                out[place : place + 1] = rng.choice(VARINTS)
            case _:
                out[place:place] = rng.choice(BAD_UTF8)
    return bytes(out)


def mutate_json(value: bytes, rng: random.Random) -> bytes:
    """The value with one or two of its tokens replaced; now and then with its bytes changed too."""
    out = value
    for _ in range(rng.randint(1, 2)):
        tokens = list(JSON_TOKEN.finditer(out))
        if tokens:
            token = rng.choice(tokens)
            out = out[: token.start()] + rng.choice(TOKENS) + out[token.end() :]
    return mutate(out, rng) if rng.random() < 0.2 else out


def mutations(case: Case, count: int, rng: random.Random) -> Case:
    """A case of mutated records, judged by the Python decoder."""
    good = [r.value for r in case.records if r.value is not None and r.reason is None]
    short = [value for value in good if len(value) < 500]
    change = mutate_json if case.type == "Json" else mutate
    mutated: list[bytes | None] = [change(rng.choice(short), rng) for _ in range(count)]
    named = Case(
        f"{case.name}, mutated", case.type, case.schema, case.key, case.time, case.scaled, case.schema_ids
    )
    named.records = judged(case, mutated)
    return named


def judged(case: Case, values: list[bytes | None]) -> list[Record]:
    """Records of these values with the Python decoder's verdicts; those that need T do not occur."""
    spec = case.spec()
    count = len(values)
    table = pa.table(
        {
            "value": pa.array(values, pa.binary()),
            "partition": pa.array([0] * count, pa.int32()),
            "offset": pa.array(range(count), pa.int64()),
            "t": pa.array([0] * count, pa.int64()),
        }
    )
    decoded = Decoder.of(spec, case.schema).decode(table)
    columns = [c.column for c in scaled_columns(spec)]
    records = []
    for i, (value, row) in enumerate(zip(values, decoded.iter_rows(named=True), strict=True)):
        if row["reason"] in (None, "TooLate", "TooFarInFuture"):
            records.append(Record(f"{i}", value, None, row["key"], row["e"], [row[c] for c in columns]))
        else:
            records.append(Record(f"{i}", value, row["reason"]))
    return records


def generate(mutations_per_case: int = 200) -> list[Case]:
    """The whole corpus; always the same for the same number."""
    cases = hand_made()
    rng = random.Random(SEED + 1)
    return cases + [mutations(case, mutations_per_case, rng) for case in cases]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the corpus, or a larger one elsewhere.")
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    parser.add_argument("--mutations", type=int, default=200, help="of each case")
    options = parser.parse_args()
    options.file.write_text(dump(generate(options.mutations)))
