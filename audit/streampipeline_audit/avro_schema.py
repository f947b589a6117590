"""Avro schemas as nodes: only what is needed to walk over bytes or to check a JSON value."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from streampipeline_audit.errors import AuditError

_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_NAMED = {"record", "error", "enum", "fixed"}


@dataclass(eq=False)
class Node:
    """One type. `kind` is Avro's word for it, or "union"; the other members belong to single kinds."""

    kind: str
    logical: str | None = None
    size: int = 0
    symbols: list[str] = field(default_factory=list)
    branches: list[Node] = field(default_factory=list)
    fields: list[tuple[str, Node]] = field(default_factory=list)
    item: Node | None = None

    def branch_kinds(self) -> set[str]:
        """The kinds that a value may have, null left out."""
        nodes = self.branches if self.kind == "union" else [self]
        return {node.kind for node in nodes} - {"null"}


def parse_schema(text: str) -> Node:
    """The record that a schema's text describes. Raises AuditError."""
    try:
        root = _Parser().node(json.loads(text), "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"the Avro schema cannot be read: {error!r}") from error
    if root.kind != "record":
        raise AuditError(f"the Avro schema is a {root.kind}, not a record")
    return root


def width(node: Node) -> int | None:
    """Bytes of every value of a type that nothing can be wrong with, whatever the bytes are; else None."""
    return _width(node, ())


def _width(node: Node, inside: tuple[Node, ...]) -> int | None:
    fixed = {"null": 0, "float": 4, "double": 8, "fixed": node.size}
    if node.kind in fixed:
        return fixed[node.kind]
    if node.kind != "record" or node in inside:
        return None
    # Of records only those that take no bytes: others count as a level of nesting.
    return 0 if all(_width(part, (*inside, node)) == 0 for _, part in node.fields) else None


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, Node] = {}

    def node(self, schema: Any, namespace: str) -> Node:
        if isinstance(schema, list):
            return Node("union", branches=[self.node(branch, namespace) for branch in schema])
        if isinstance(schema, str):
            return self._reference(schema, namespace)
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.node(kind, namespace)
        if kind in _NAMED:
            return self._definition(schema, kind, namespace)
        if kind == "array":
            return Node("array", item=self.node(schema["items"], namespace))
        if kind == "map":
            return Node("map", item=self.node(schema["values"], namespace))
        found = self._reference(kind, namespace)
        return Node(kind, logical=schema.get("logicalType")) if kind in _PRIMITIVES else found

    def _reference(self, name: str, namespace: str) -> Node:
        if name in _PRIMITIVES:
            return Node(name)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        found = self._named.get(full) or self._named.get(name)
        if found is None:
            raise ValueError(f"unknown type {name}")
        return found

    def _definition(self, schema: dict[str, Any], kind: str, namespace: str) -> Node:
        name: str = schema["name"]
        space = name.rpartition(".")[0] if "." in name else schema.get("namespace", namespace)
        short = name.rpartition(".")[2]
        node = Node("record" if kind == "error" else kind)
        # Known before its fields are: a record may hold itself.
        self._named[f"{space}.{short}" if space else short] = node
        if kind == "enum":
            node.symbols = list(schema["symbols"])
        elif kind == "fixed":
            node.size = int(schema["size"])
        else:
            node.fields = [(part["name"], self.node(part["type"], space)) for part in schema["fields"]]
        return node
