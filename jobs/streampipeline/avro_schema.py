"""An Avro schema as parsed once: named types resolved, and the fields that a pipeline reads checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import fastavro.schema

INTEGERS = frozenset({"int", "long"})
NUMBERS = frozenset({"int", "long", "float", "double"})
_TIME_DIVISORS = {None: 1, "timestamp-millis": 1, "timestamp-micros": 1000}


class AvroSchemaError(ValueError):
    """The text is not an Avro schema, or lacks or mistypes a field that the pipeline reads."""


class AvroSchema:
    """A record schema. `fields` are (name, type) in order; a type is a name, a dict, or a union's list."""

    def __init__(self, text: str) -> None:
        """Raises AvroSchemaError."""
        self._named: dict[str, Any] = {}
        try:
            parsed = fastavro.schema.parse_schema(json.loads(text), named_schemas=self._named)
        except Exception as error:  # fastavro lets KeyError and TypeError out of a malformed schema
            raise AvroSchemaError(f"not an Avro schema: {error}") from error
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            raise AvroSchemaError("the Avro schema is not a record")
        self.fields: list[tuple[str, Any]] = [(f["name"], f["type"]) for f in parsed["fields"]]

    def resolve(self, type_: Any) -> Any:
        """A named type's definition; every other type as it is."""
        return self._named.get(type_, type_) if isinstance(type_, str) else type_

    def kind(self, type_: Any) -> str:
        """Its kind: `null`, ..., `double`, `record`, `enum`, `array`, `map`, `fixed`, `union`."""
        resolved = self.resolve(type_)
        if isinstance(resolved, list):
            return "union"
        return str(resolved["type"]) if isinstance(resolved, dict) else str(resolved)


@dataclass(frozen=True)
class Role:
    """What a field is read for."""

    key: bool
    time: bool
    number: bool


def check_role(name: str, kind: str, role: Role) -> None:
    """Raises AvroSchemaError when a value of this kind cannot play the role."""
    if role.number and kind not in NUMBERS:
        raise AvroSchemaError(f"the field {name} must be a number, not {kind}")
    if role.key and kind not in INTEGERS | {"string"}:
        raise AvroSchemaError(f"the key field {name} must be a string, int or long, not {kind}")
    if role.time and kind not in {"long", "string"}:
        raise AvroSchemaError(f"the event time field {name} must be a long or a string, not {kind}")


def time_divisor(name: str, type_: Any) -> int:
    """By what a long event time is divided to give ms. Raises AvroSchemaError."""
    logical_type = type_.get("logicalType") if isinstance(type_, dict) else None
    if logical_type not in _TIME_DIVISORS:
        raise AvroSchemaError(f"the event time field {name} must not be a {logical_type}")
    return _TIME_DIVISORS[logical_type]
