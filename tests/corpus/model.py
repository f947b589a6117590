"""What the golden corpus is made of: cases, each a format and what is read from it, with judged records."""

from __future__ import annotations

import base64
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streampipeline.api.spec import StreamPipelineSpec

FILE = Path(__file__).with_name("records.json")
UNDECODABLE, EMPTY_KEY, TIME, NAN, RANGE = (
    "Undecodable",
    "EmptyKey",
    "EventTimeOutOfRange",
    "NotANumber",
    "OutOfRange",
)


@dataclass
class Record:
    """One record and what is to be found in it; `key`, `e`, `scaled` only without a reason."""

    name: str
    value: bytes | None
    reason: str | None
    key: str | None = None
    e: int | None = None
    scaled: list[int] = field(default_factory=list)


@dataclass
class Case:
    """A format. `scaled` are (field, decimals), distinct; the column of the i-th is `s<i>`."""

    name: str
    type: str
    schema: str
    key: str
    time: str
    scaled: list[tuple[str, int]]
    schema_ids: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def good(self, name: str, value: bytes, key: str, e: int, *numbers: float) -> None:
        """A record that is not refused: `numbers` are the values of the scaled fields, in their order."""
        scaled = [math.floor(x * 10.0**d + 0.5) for x, (_, d) in zip(numbers, self.scaled, strict=True)]
        self.records.append(Record(name, value, None, key, e, scaled))

    def bad(self, name: str, value: bytes | None, reason: str) -> None:
        self.records.append(Record(name, value, reason))

    def spec(self) -> StreamPipelineSpec:
        """A spec that reads what the case reads: a sum over each scaled column."""
        aggregates = [
            {"name": f"sum{i}", "field": name, "function": "Sum", "decimals": decimals}
            for i, (name, decimals) in enumerate(self.scaled)
        ]
        document: dict[str, Any] = {
            "source": {
                "kafka": {"bootstrapServers": ["kafka:9092"], "topic": "corpus"},
                "format": {"type": self.type, "schema": self.schema, "schemaIds": self.schema_ids},
                "keyField": self.key,
                "eventTime": {"field": self.time},
            },
            "window": {"tumbling": {"sizeSeconds": 5}},
            "aggregates": aggregates,
            "model": {"external": {"url": "http://model:3000"}, "inputs": ["sum0"], "output": "level"},
            "sinks": [{"parquet": {"path": "results"}}],
            "deadLetter": {"topic": "corpus-dead-letter"},
        }
        return StreamPipelineSpec.model_validate(document)


def dump(cases: list[Case]) -> str:
    """The corpus as JSON, a record on each line."""
    return "[\n" + ",\n".join(map(_dump_case, cases)) + "\n]\n"


def _dump_case(case: Case) -> str:
    head = {
        "name": case.name,
        "type": case.type,
        "schema": case.schema,
        "schemaIds": case.schema_ids,
        "keyField": case.key,
        "eventTimeField": case.time,
        "scaled": [
            {"column": f"s{i}", "field": name, "decimals": d} for i, (name, d) in enumerate(case.scaled)
        ],
    }
    records = ",\n".join(json.dumps(_dump_record(r)) for r in case.records)
    return json.dumps(head)[:-1] + ', "records": [\n' + records + "\n]}"


def _dump_record(record: Record) -> dict[str, Any]:
    value = None if record.value is None else base64.b64encode(record.value).decode()
    head = {"name": record.name, "value": value, "reason": record.reason}
    if record.reason is not None:
        return head
    return head | {"key": record.key, "e": record.e, "scaled": record.scaled}


def load() -> list[Case]:
    """The committed corpus, or that of STREAMPIPELINE_CORPUS."""
    path = Path(os.environ.get("STREAMPIPELINE_CORPUS", FILE))
    return [_load_case(c) for c in json.loads(path.read_text())]


def _load_case(c: dict[str, Any]) -> Case:
    scaled = [(s["field"], s["decimals"]) for s in c["scaled"]]
    case = Case(c["name"], c["type"], c["schema"], c["keyField"], c["eventTimeField"], scaled, c["schemaIds"])
    for r in c["records"]:
        value = None if r["value"] is None else base64.b64decode(r["value"])
        rest = (r.get("key"), r.get("e"), r.get("scaled", []))
        case.records.append(Record(r["name"], value, r["reason"], *rest))
    return case
