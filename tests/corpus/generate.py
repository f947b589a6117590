"""The golden corpus: run `python -m tests.corpus.generate` to write `records.json` anew.

The verdict of each hand-made record is stated beside it. Mutations are hand-made records with some bytes
changed at random; their verdict is the Python decoder's, to which the decoder in Flink's JVM is compared.
"""

from __future__ import annotations

import random

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


def mutate(value: bytes, rng: random.Random) -> bytes:
    """The value with one to three bytes changed, put in or taken out."""
    out = bytearray(value)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(out) + 1)
        match rng.randrange(4):
            case 0:
                out[place:place] = bytes([rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])])
            case 1:
                del out[place : place + 1]
            case 2:
                out[place : place + 1] = bytes([rng.randrange(256)])
            case _:
                flipped = 1 << rng.randrange(8)
                out[place : place + 1] = bytes(byte ^ flipped for byte in out[place : place + 1])
    return bytes(out)


def mutations(case: Case, count: int, rng: random.Random) -> Case:
    """A case of mutated records, judged by the Python decoder."""
    good = [r.value for r in case.records if r.value is not None and r.reason is None]
    short = [value for value in good if len(value) < 500]
    mutated: list[bytes | None] = [mutate(rng.choice(short), rng) for _ in range(count)]
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


def generate(mutations_per_case: int = 50) -> list[Case]:
    """The whole corpus; always the same for the same number."""
    cases = hand_made()
    rng = random.Random(SEED + 1)
    return cases + [mutations(case, mutations_per_case, rng) for case in cases]


if __name__ == "__main__":
    FILE.write_text(dump(generate()))
