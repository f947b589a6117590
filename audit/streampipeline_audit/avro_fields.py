"""The wanted fields of Avro values, plain or with Confluent's five bytes before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from streampipeline_audit.avro_reader import AvroBatch, Rows
from streampipeline_audit.avro_schema import Node
from streampipeline_audit.errors import AuditError
from streampipeline_audit.event_time import rfc3339_ms
from streampipeline_audit.fields import Fields, Wanted

_HEADER_BYTES = 5
_KEY_KINDS = {"string", "int", "long"}
_TIME_KINDS = {"string", "int", "long"}
_NUMBER_KINDS = {"int", "long", "float", "double"}


def check_kinds(schema: Node, wanted: Wanted) -> None:
    """Raises AuditError when a wanted field is not there, or is of a type that cannot be what it shall be."""
    by_name = dict(schema.fields)
    roles = [(wanted.key, _KEY_KINDS, "a key"), (wanted.event_time, _TIME_KINDS, "an event time")]
    for name, kinds, role in [*roles, *((number, _NUMBER_KINDS, "a number") for number in wanted.numbers)]:
        if name not in by_name:
            raise AuditError(f"the schema has no field {name}")
        if not by_name[name].branch_kinds() <= kinds:
            raise AuditError(f"field {name} cannot be {role}: it is {sorted(by_name[name].branch_kinds())}")


class AvroFields:
    """Reads batches of values of one schema."""

    def __init__(self, schema: Node, wanted: Wanted, *, confluent: bool, schema_ids: list[int]) -> None:
        self._schema = schema
        self._wanted = wanted
        self._confluent = confluent
        self._schema_ids = schema_ids

    def read(self, values: list[bytes]) -> Fields:
        """The wanted fields of n values."""
        batch = AvroBatch(values, skip=_HEADER_BYTES if self._confluent else 0)
        if self._confluent:
            self._check_headers(batch)
        out = _Columns(batch)
        rows = batch.good()
        for name, node in self._schema.fields:
            rows = self._field(batch, out, name, node, rows)
        batch.expect_end(rows)
        return Fields(
            undecodable=batch.bad,
            key_missing=(out.key_length == 0) & ~out.key_is_number,
            time=out.time,
            numbers=out.numbers,
            keys=out.keys,
        )

    def _check_headers(self, batch: AvroBatch) -> None:
        rows = batch.good()
        begin = batch.position[rows] - _HEADER_BYTES
        ids = batch.data[begin[:, None] + np.arange(1, _HEADER_BYTES)].view(">u4")[:, 0]
        fine = batch.data[begin] == 0
        if self._schema_ids:
            fine &= np.isin(ids, self._schema_ids)
        batch.bad[rows[~fine]] = True

    def _field(self, batch: AvroBatch, out: _Columns, name: str, node: Node, rows: Rows) -> Rows:
        readers: list[Callable[[Node, Rows], None]] = []
        if name == self._wanted.key:
            readers.append(out.read_key)
        if name == self._wanted.event_time:
            readers.append(out.read_time)
        if name in self._wanted.numbers:
            readers.append(lambda n, r: out.read_number(name, n, r))
        if not readers:
            return batch.skip(node, rows, depth=1)
        begin = batch.position[rows]
        for reader in readers:
            # A field may have two roles: it is then read twice.
            batch.position[rows] = begin
            reader(node, rows)
        return rows[~batch.bad[rows]]


@dataclass
class _Columns:
    batch: AvroBatch
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.batch.bad)
        self.time: Rows = np.full(count, -1, np.int64)
        self.key_begin: Rows = np.zeros(count, np.int64)
        self.key_length: Rows = np.zeros(count, np.int64)
        self.key_number: Rows = np.zeros(count, np.int64)
        self.key_is_number = np.zeros(count, np.bool_)

    def read_key(self, node: Node, rows: Rows) -> None:
        match node.kind:
            case "union":
                for branch, branch_rows in self.batch.branches(node, rows):
                    self.read_key(branch, branch_rows)
            case "string":
                rows, self_begin, length = self.batch.read_string(rows)
                self.key_begin[rows], self.key_length[rows] = self_begin, length
            case "int" | "long":
                rows, value = self._integer(node, rows)
                self.key_number[rows], self.key_is_number[rows] = value, True

    def read_time(self, node: Node, rows: Rows) -> None:
        match node.kind:
            case "union":
                for branch, branch_rows in self.batch.branches(node, rows):
                    self.read_time(branch, branch_rows)
            case "string":
                rows, begin, length = self.batch.read_string(rows)
                for row, start, size in zip(rows.tolist(), begin.tolist(), length.tolist(), strict=True):
                    time = rfc3339_ms(self.batch.data[start : start + size].tobytes().decode())
                    if time is None:
                        self.batch.bad[row] = True
                    else:
                        self.time[row] = time
            case "int" | "long":
                rows, value = self._integer(node, rows)
                self.time[rows] = value // 1000 if node.logical == "timestamp-micros" else value

    def read_number(self, name: str, node: Node, rows: Rows) -> None:
        column = self.numbers.setdefault(name, np.full(len(self.batch.bad), np.nan))
        match node.kind:
            case "union":
                for branch, branch_rows in self.batch.branches(node, rows):
                    self.read_number(name, branch, branch_rows)
            case "double":
                rows, column_values = self.batch.read_double(rows)
                column[rows] = column_values
            case "float":
                rows, column_values = self.batch.read_float(rows)
                column[rows] = column_values
            case "int" | "long":
                rows, value = self._integer(node, rows)
                column[rows] = value.astype(np.float64)

    def _integer(self, node: Node, rows: Rows) -> tuple[Rows, Rows]:
        return self.batch.read_int(rows) if node.kind == "int" else self.batch.read_long(rows)

    def keys(self, rows: Rows) -> pl.Series:
        lengths = self.key_length[rows]
        ends = np.cumsum(lengths)
        # Where each byte of each key stands: begin of its key + its place within it.
        places = np.repeat(self.key_begin[rows] - (ends - lengths), lengths) + np.arange(lengths.sum())
        offsets = np.concatenate(([0], ends)).astype(np.int64)
        content = self.batch.data[places]
        buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(content.tobytes())]
        text = pl.Series(pa.Array.from_buffers(pa.large_string(), len(rows), buffers))
        is_number = self.key_is_number[rows]
        if not is_number.any():
            return text
        digits = pl.Series(self.key_number[rows]).cast(pl.String)
        return digits.zip_with(pl.Series(is_number), text)
