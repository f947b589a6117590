"""Passes over one Avro value and checks all of it: for arrays, maps and schemas that hold themselves.

The twin of `AvroSkipper.java`: what one takes, the other takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streampipeline.avro_schema import AvroSchema

MAX_DEPTH = 64
"""Records, arrays and maps inside one another, the record itself included."""


class MalformedError(ValueError):
    """The bytes are not a value of the schema."""


class Scanner:
    """A position in one record's bytes."""

    __slots__ = ("data", "depth", "end", "position")

    def __init__(self, data: bytes, position: int, depth: int) -> None:
        self.data = data
        self.position = position
        self.end = len(data)
        self.depth = depth

    def varint(self, max_bytes: int) -> int:
        """An unsigned varint of at most `max_bytes` (5: 32 bits, 10: 64 bits)."""
        value = shift = 0
        for i in range(self.position, min(self.position + max_bytes, self.end)):
            byte = self.data[i]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> (32 if max_bytes == 5 else 64):
                    raise MalformedError
                self.position = i + 1
                return value
            shift += 7
        raise MalformedError

    def integer(self, max_bytes: int) -> int:
        """A signed (zigzag) varint."""
        raw = self.varint(max_bytes)
        return (raw >> 1) ^ -(raw & 1)

    def skip(self, length: int) -> None:
        """Move over so many bytes."""
        if not 0 <= length <= self.end - self.position:
            raise MalformedError
        self.position += length

    def skip_bytes(self) -> None:
        """Move over bytes that follow their length."""
        self.skip(self.integer(10))

    def skip_string(self) -> None:
        """Move over a string, which is UTF-8."""
        length = self.integer(10)
        start = self.position
        self.skip(length)
        try:
            str(self.data[start : self.position], "utf-8")
        except UnicodeDecodeError:
            raise MalformedError from None

    def index(self, count: int) -> int:
        """The index of a union's branch or of an enum's symbol."""
        index = self.integer(5)
        if not 0 <= index < count:
            raise MalformedError
        return index

    def enter(self) -> None:
        """Go one level down; the caller takes it off `depth` again."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise MalformedError


Skip = Callable[[Scanner], None]


def _skip_boolean(scanner: Scanner) -> None:
    start = scanner.position
    scanner.skip(1)
    if scanner.data[start] > 1:
        raise MalformedError


def _skip_nothing(_: Scanner) -> None:
    """Null, or a value of no bytes."""


_PRIMITIVES: dict[str, Skip] = {
    "null": _skip_nothing,
    "boolean": _skip_boolean,
    "int": lambda scanner: _discard(scanner.integer(5)),
    "long": lambda scanner: _discard(scanner.integer(10)),
    "float": lambda scanner: scanner.skip(4),
    "double": lambda scanner: scanner.skip(8),
    "bytes": Scanner.skip_bytes,
    "string": Scanner.skip_string,
}


def _discard(_: int) -> None:
    """A value that is read only to be checked."""


class SkipCompiler:
    """Makes skips; a named type is made once, so that a schema may refer to itself."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema
        self._records: dict[str, Skip] = {}

    def compile(self, type_: Any) -> Skip:
        """A function that passes over one value of the type, or raises MalformedError."""
        kind = self._schema.kind(type_)
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        definition = self._schema.resolve(type_)
        match kind:
            case "fixed":
                size = definition["size"]
                return (lambda scanner: scanner.skip(size)) if size else _skip_nothing
            case "enum":
                symbols = len(definition["symbols"])
                return lambda scanner: _discard(scanner.index(symbols))
            case "union":
                branches = [self.compile(branch) for branch in definition]
                return lambda scanner: branches[scanner.index(len(branches))](scanner)
            case "array":
                return _blocks(self.compile(definition["items"]))
            case "map":
                return _blocks(_keyed(self.compile(definition["values"])))
            case _:
                return self._record(definition)

    def _record(self, definition: Any) -> Skip:
        name = definition["name"]
        if name in self._records:
            return self._records[name]
        fields: list[Skip] = []

        def skip(scanner: Scanner) -> None:
            scanner.enter()
            for field in fields:
                field(scanner)
            scanner.depth -= 1

        self._records[name] = skip
        fields += [self.compile(f["type"]) for f in definition["fields"]]
        if all(field is _skip_nothing for field in fields):
            self._records[name] = _skip_nothing
        return self._records[name]


def _keyed(value: Skip) -> Skip:
    """An entry of a map: a string, then the value."""

    def skip(scanner: Scanner) -> None:
        scanner.skip_string()
        value(scanner)

    return skip


def _blocks(item: Skip) -> Skip:
    """Blocks of items, ended by one of none; a negative count is followed by the block's true size."""

    def skip_items(scanner: Scanner, count: int) -> None:
        # Every other item takes a byte at least: a count too large ends where the bytes end.
        if item is not _skip_nothing:
            while count:
                item(scanner)
                count -= 1

    def skip(scanner: Scanner) -> None:
        scanner.enter()
        while count := scanner.integer(10):
            if count > 0:
                skip_items(scanner, count)
                continue
            if count == -(2**63):
                raise MalformedError
            size = scanner.integer(10)
            end = scanner.position + size
            if not scanner.position <= end <= scanner.end:
                raise MalformedError
            skip_items(scanner, -count)
            if scanner.position != end:
                raise MalformedError
        scanner.depth -= 1

    return skip
