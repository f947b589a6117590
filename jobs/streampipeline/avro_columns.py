"""Avro records to columns: one walk over a batch, field by field, all records at once.

Every record has a position of its own in the batch's bytes. A step reads one field of all records that are
still good, moves their positions, and drops those whose bytes are no value: a bad record costs its batch
nothing.
Arrays, maps and schemas that hold themselves are passed over record by record (`avro_skip`).

The twin of `AvroReader.java`: what one takes, the other takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streampipeline.avro_schema import AvroSchema, AvroSchemaError, Role, check_role, time_divisor
from streampipeline.avro_skip import MAX_DEPTH, MalformedError, Scanner, Skip, SkipCompiler
from streampipeline.record_fields import FieldNames, Fields
from streampipeline.rfc3339 import parse_rfc3339

Rows = npt.NDArray[np.int64]
"""Places of records in the batch, ascending."""
Bytes = npt.NDArray[np.uint8]
Text = Any
"""An array of large_string."""


class Batch:
    """The bytes of a batch's values and the position of each record in them."""

    def __init__(self, data: Bytes, start: Rows, end: Rows) -> None:
        # Readers of 8 bytes may look past the last record; what they see there is never used.
        self.data = np.concatenate([data, np.zeros(8, np.uint8)])
        self.position = start.copy()
        self.end = end

    def advance(self, rows: Rows, length: Any) -> tuple[Rows, Rows]:
        """Move over `length` bytes (0 or more). Returns the rows that have so many, and where those began."""
        start = self.position[rows]
        good = length <= self.end[rows] - start
        if not good.all():
            rows, start = rows[good], start[good]
            length = length[good] if isinstance(length, np.ndarray) else length
        self.position[rows] = start + length
        return rows, start

    def varint(self, rows: Rows, max_bytes: int) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Signed (zigzag) varints of at most `max_bytes` (5: 32 bits, 10: 64 bits)."""
        position, end = self.position[rows], self.end[rows]
        raw = np.zeros(len(rows), np.uint64)
        done = np.zeros(len(rows), bool)
        pending = np.arange(len(rows))
        for i in range(max_bytes):
            pending = pending[position[pending] < end[pending]]
            if not len(pending):
                break
            byte = self.data[position[pending]]
            position[pending] += 1
            if i == max_bytes - 1:
                fits = byte <= (0x0F if max_bytes == 5 else 0x01)
                pending, byte = pending[fits], byte[fits]
            raw[pending] |= (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * i)
            more = byte >= 0x80
            done[pending[~more]] = True
            pending = pending[more]
        rows, raw = rows[done], raw[done]
        self.position[rows] = position[done]
        return rows, (raw >> np.uint64(1)).view(np.int64) ^ -(raw & np.uint64(1)).view(np.int64)

    def index(self, rows: Rows, count: int) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Indices of a union's branches or of an enum's symbols."""
        rows, index = self.varint(rows, 5)
        good = (index >= 0) & (index < count)
        return rows[good], index[good]

    def slices(self, rows: Rows) -> tuple[Rows, Rows, Rows]:
        """Strings or bytes: rows, starts and lengths."""
        rows, length = self.varint(rows, 10)
        good = length >= 0
        rows, length = rows[good], length[good]
        fits = length <= self.end[rows] - self.position[rows]
        length = length[fits]
        rows, start = self.advance(rows[fits], length)
        return rows, start, length

    def strings(self, rows: Rows) -> tuple[Rows, Text]:
        """Strings that are valid UTF-8."""
        rows, start, length = self.slices(rows)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(length, out=offsets[1:])
        text = self.data[np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], length)]
        if len(text) and text.max() >= 0x80:
            good = _valid_utf8(text, offsets)
            if not good.all():
                text = text[np.repeat(good, length)]
                rows, length = rows[good], length[good]
                offsets = np.zeros(len(rows) + 1, np.int64)
                np.cumsum(length, out=offsets[1:])
        buffers = pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())
        return rows, pa.LargeStringArray.from_buffers(len(rows), *buffers)

    def fixed(self, rows: Rows, dtype: str) -> tuple[Rows, npt.NDArray[Any]]:
        """Little-endian values of a numpy type."""
        size = np.dtype(dtype).itemsize
        rows, start = self.advance(rows, size)
        windows = np.lib.stride_tricks.sliding_window_view(self.data, size)
        return rows, windows[start].view(dtype)[:, 0]


def _valid_utf8(text: Bytes, offsets: Rows) -> npt.NDArray[np.bool_]:
    """Which of the strings text[offsets[i]:offsets[i + 1]] are UTF-8; those in ASCII are not looked at."""
    high = np.concatenate([[0], np.cumsum(text >= 0x80)])
    good = np.ones(len(offsets) - 1, bool)
    data = text.tobytes()
    for i in np.flatnonzero(high[offsets[1:]] > high[offsets[:-1]]):
        try:
            str(data[offsets[i] : offsets[i + 1]], "utf-8")
        except UnicodeDecodeError:
            good[i] = False
    return good


Step = Callable[[Batch, Rows, Fields], Rows]
"""Reads one value of each of the rows; returns the rows whose bytes were a value."""


class AvroColumns:
    """Reads batches of one schema: keeps the fields of the pipeline, checks and skips the others."""

    def __init__(self, text: str, names: FieldNames) -> None:
        """Raises AvroSchemaError when the text is no schema, or lacks or mistypes a field of the pipeline."""
        schema = AvroSchema(text)
        missing = names.all() - {name for name, _ in schema.fields}
        if missing:
            raise AvroSchemaError(f"the Avro schema lacks the fields {sorted(missing)}")
        skips = _SkipSteps(schema)
        captures = _CaptureSteps(schema, names)
        self._steps: list[Step] = [
            captures.compile(name, type_) if name in names.all() else skips.compile(type_, depth=1)
            for name, type_ in schema.fields
        ]

    def read(self, data: Bytes, start: Rows, end: Rows, fields: Fields) -> Rows:
        """Read the records data[start[i]:end[i]] (start <= end) into place i of `fields`.

        Returns the places whose bytes are a value of the schema, ascending; the others hold nothing of use.
        """
        batch = Batch(data, start, end)
        rows = np.arange(len(start))
        for step in self._steps:
            rows = step(batch, rows, fields)
        at_end: npt.NDArray[np.bool_] = batch.position[rows] == batch.end[rows]
        return rows[at_end]


class _CaptureSteps:
    """Makes steps for the fields that are kept."""

    def __init__(self, schema: AvroSchema, names: FieldNames) -> None:
        self._schema = schema
        self._names = names

    def compile(self, name: str, type_: Any) -> Step:
        if self._schema.kind(type_) != "union":
            return self._value(name, type_)
        types = self._schema.resolve(type_)
        branches = [_nothing if self._schema.kind(t) == "null" else self._value(name, t) for t in types]
        if sum(branch is not _nothing for branch in branches) != 1:
            raise AvroSchemaError(f"the field {name} must be of one type, with or without null")
        return _union(branches)

    def _value(self, name: str, type_: Any) -> Step:
        kind = self._schema.kind(type_)
        role = self._names.role(name)
        check_role(name, kind, role)
        if kind == "string":
            return _string(role)
        if kind in ("float", "double"):
            return _real(name, "<f4" if kind == "float" else "<f8")
        divisor = time_divisor(name, type_) if role.time else 1
        return _integer(name, role, 5 if kind == "int" else 10, divisor)


def _nothing(_: Batch, rows: Rows, __: Fields) -> Rows:
    return rows


def _string(role: Role) -> Step:
    def step(batch: Batch, rows: Rows, fields: Fields) -> Rows:
        rows, text = batch.strings(rows)
        if role.key:
            fields.set_key(rows, text)
        return _set_times(rows, text, fields) if role.time else rows

    return step


def _set_times(rows: Rows, text: Text, fields: Fields) -> Rows:
    good = []
    for row, value in zip(rows.tolist(), text.to_pylist(), strict=True):
        try:
            fields.time[row] = parse_rfc3339(value)
        except ValueError:
            continue
        good.append(row)
    rows = np.array(good, np.int64)
    fields.has_time[rows] = True
    return rows


def _integer(name: str, role: Role, max_bytes: int, divisor: int) -> Step:
    def step(batch: Batch, rows: Rows, fields: Fields) -> Rows:
        rows, value = batch.varint(rows, max_bytes)
        if role.key:
            fields.set_key(rows, pa.array(value).cast(pa.large_string()))
        if role.time:
            fields.time[rows] = value // divisor
            fields.has_time[rows] = True
        if role.number:
            fields.set_number(name, rows, value.astype(np.float64))
        return rows

    return step


def _real(name: str, dtype: str) -> Step:
    def step(batch: Batch, rows: Rows, fields: Fields) -> Rows:
        rows, value = batch.fixed(rows, dtype)
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            fields.set_number(name, rows, value.astype(np.float64))
        return rows

    return step


def _union(branches: list[Step]) -> Step:
    def step(batch: Batch, rows: Rows, fields: Fields) -> Rows:
        rows, index = batch.index(rows, len(branches))
        good = [branch(batch, rows[index == i], fields) for i, branch in enumerate(branches)]
        return np.sort(np.concatenate(good))

    return step


class _SkipSteps:
    """Makes steps for the fields that are only checked."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema
        self._scalar = SkipCompiler(schema)

    def compile(self, type_: Any, depth: int, inside: frozenset[str] = frozenset()) -> Step:
        """A step over a value inside `depth` records; those named in `inside` are being compiled."""
        kind = self._schema.kind(type_)
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        definition = self._schema.resolve(type_)
        match kind:
            case "fixed":
                return _skip_fixed(definition["size"])
            case "enum":
                return _skip_enum(len(definition["symbols"]))
            case "union":
                return _union([self.compile(branch, depth, inside) for branch in definition])
            case "record" if definition["name"] not in inside and depth < MAX_DEPTH:
                inside |= {definition["name"]}
                fields = [self.compile(f["type"], depth + 1, inside) for f in definition["fields"]]
                return _sequence(fields)
        return _one_by_one(self._scalar.compile(type_), depth)


def _skip_boolean(batch: Batch, rows: Rows, _: Fields) -> Rows:
    rows, start = batch.advance(rows, 1)
    return rows[batch.data[start] <= 1]


def _skip_int(batch: Batch, rows: Rows, _: Fields) -> Rows:
    return batch.varint(rows, 5)[0]


def _skip_long(batch: Batch, rows: Rows, _: Fields) -> Rows:
    return batch.varint(rows, 10)[0]


def _skip_bytes(batch: Batch, rows: Rows, _: Fields) -> Rows:
    return batch.slices(rows)[0]


def _skip_string(batch: Batch, rows: Rows, _: Fields) -> Rows:
    return batch.strings(rows)[0]


def _skip_fixed(size: int) -> Step:
    return lambda batch, rows, _: batch.advance(rows, size)[0]


def _skip_enum(symbols: int) -> Step:
    return lambda batch, rows, _: batch.index(rows, symbols)[0]


def _sequence(steps: list[Step]) -> Step:
    def step(batch: Batch, rows: Rows, fields: Fields) -> Rows:
        for each in steps:
            rows = each(batch, rows, fields)
        return rows

    return step


_PRIMITIVES: dict[str, Step] = {
    "null": _nothing,
    "boolean": _skip_boolean,
    "int": _skip_int,
    "long": _skip_long,
    "float": _skip_fixed(4),
    "double": _skip_fixed(8),
    "bytes": _skip_bytes,
    "string": _skip_string,
}


def _one_by_one(skip: Skip, depth: int) -> Step:
    def step(batch: Batch, rows: Rows, _: Fields) -> Rows:
        good = []
        for row in rows.tolist():
            start = batch.position[row]
            scanner = Scanner(batch.data[start : batch.end[row]].tobytes(), 0, depth)
            try:
                skip(scanner)
            except MalformedError:
                continue
            batch.position[row] = start + scanner.position
            good.append(row)
        return np.array(good, np.int64)

    return step
