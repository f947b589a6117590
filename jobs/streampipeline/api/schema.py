"""What an Avro schema says about the fields of a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NUMBERS = frozenset({"int", "long", "float", "double"})
"""Avro types that can be aggregated."""
KEYS = frozenset({"string", "int", "long"})
"""Avro types that a key can have."""
EVENT_TIMES = frozenset(
    {("long", None), ("long", "timestamp-millis"), ("long", "timestamp-micros"), ("string", None)}
)
"""Avro types, with logical type, that an event time can have."""


class SchemaError(ValueError):
    """The text is not the Avro schema of a record."""


@dataclass(frozen=True)
class FieldType:
    """Type of a field: "long", "record", ..., its logical type, and whether it may be null.

    A union of several types other than null has the type "union".
    """

    type: str
    logical: str | None = None
    nullable: bool = False

    def __str__(self) -> str:
        text = f"{self.type} ({self.logical})" if self.logical else self.type
        return f"{text} or null" if self.nullable else text


def record_fields(text: str) -> dict[str, FieldType]:
    """Fields of the record that a schema (JSON text) describes, by name. Raises SchemaError."""
    # Not at the top: engines import the typed spec in environments that need no Avro library.
    from fastavro import parse_schema
    from fastavro.schema import SchemaParseException, UnknownType

    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise SchemaError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    try:
        parse_schema(schema)
    except (SchemaParseException, UnknownType) as error:
        raise SchemaError(f"not an Avro schema: {_words(error)}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SchemaError(f"not an Avro schema: {type(error).__name__} {error}") from error
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        raise SchemaError(f"the schema of {_name(schema)}, not of a record")
    if "fields" not in schema:
        raise SchemaError("not an Avro schema: the record has no fields")
    return {field["name"]: _field_type(field["type"]) for field in schema["fields"]}


def _words(error: Exception) -> str:
    name = getattr(error, "name", None)
    return f"there is no type {name}" if name else str(error)


def _name(schema: object) -> str:
    return str(schema.get("type", "something else")) if isinstance(schema, Mapping) else type(schema).__name__


def _field_type(declared: Any) -> FieldType:
    if isinstance(declared, list):
        branches = [branch for branch in declared if branch != "null"]
        nullable = len(branches) < len(declared)
        if len(branches) != 1:
            return FieldType("union" if branches else "null", None, nullable)
        inner = _field_type(branches[0])
        return FieldType(inner.type, inner.logical, nullable)
    if isinstance(declared, Mapping):
        inner = _field_type(declared["type"])
        return FieldType(inner.type, declared.get("logicalType"), inner.nullable)
    return FieldType(str(declared))
