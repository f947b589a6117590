"""Decoding: each record of a batch gets a verdict and, where it is good, key, event time and scaled values.

The twin of the Flink format in `flink-decoder/`: `tests/corpus` holds both to the same verdicts and bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from streampipeline.api.spec import FormatType, StreamPipelineSpec
from streampipeline.avro_columns import AvroColumns, Bytes, Rows
from streampipeline.json_records import JsonRecords
from streampipeline.record_fields import FieldNames, Fields
from streampipeline.scaling import scale, scaled_columns

MAX_EVENT_TIME = 253402300799999
REASONS = (
    "Undecodable",
    "EmptyKey",
    "EventTimeOutOfRange",
    "NotANumber",
    "OutOfRange",
    "TooLate",
    "TooFarInFuture",
)
"""Why a record is refused: the first that applies is its verdict."""

_CONFLUENT_HEADER = 5
Mask = npt.NDArray[np.bool_]
Values = Any
"""An array of large_binary."""
BatchReader = Callable[[Values, Fields], Rows]
"""Reads the values (nulls among them) into fields; returns the places that hold a value of the schema."""


class Decoder:
    """Decodes batches of one pipeline's records. Holds no state between batches."""

    def __init__(self, spec: StreamPipelineSpec, read: BatchReader, names: FieldNames) -> None:
        self._read = read
        self._names = names
        self._columns = scaled_columns(spec)
        times = spec.source.event_time
        self._delay_ms = times.allowed_delay_seconds * 1000
        self._lateness_ms = times.max_lateness_seconds * 1000
        self._future_ms = times.max_future_seconds * 1000

    @classmethod
    def of(cls, spec: StreamPipelineSpec, avro_schema: str) -> Decoder:
        """A decoder for the spec's format. Raises AvroSchemaError when the schema does not fit the spec."""
        numbers = tuple(dict.fromkeys(c.field for c in scaled_columns(spec)))
        names = FieldNames(spec.source.key_field, spec.source.event_time.field, numbers)
        return cls(spec, _reader(spec, avro_schema, names), names)

    def decode(self, records: pa.Table) -> pl.DataFrame:
        """Judge records: `value` (binary, nullable), `partition` (int32), `offset`, `t` (int64, ms).

        Returns them in the same order: `partition`, `offset`, `t`, `reason` (null: not refused), `key`, `e`
        (ms), the scaled columns of `scaled_columns(spec)`, `late` (false where refused). With one of
        the first five reasons `key`, `e` and the scaled values are null.
        """
        values = _one_chunk(records.column("value"))
        t = records.column("t").to_numpy()
        fields = Fields(len(values), self._names)
        verdicts = _Verdicts(len(values))
        undecodable = np.ones(len(values), bool)
        undecodable[self._read(values, fields)] = False
        verdicts.refuse(undecodable, "Undecodable")
        scaled = self._judge_fields(fields, verdicts)
        usable = pl.lit(pl.Series(~verdicts.refused()))
        age = t - fields.time
        verdicts.refuse(age > self._lateness_ms, "TooLate")
        verdicts.refuse(-age > self._future_ms, "TooFarInFuture")
        decoded = pl.DataFrame(
            {
                "partition": pl.from_arrow(records.column("partition")),
                "offset": pl.from_arrow(records.column("offset")),
                "t": t,
                "reason": verdicts.reasons(),
                "key": pl.from_arrow(fields.key),
                "e": fields.time,
                **scaled,
                "late": (age > self._delay_ms) & ~verdicts.refused(),
            }
        )
        return decoded.with_columns(pl.when(usable).then(pl.col("key", "e", *scaled)))

    def _judge_fields(self, fields: Fields, verdicts: _Verdicts) -> dict[str, npt.NDArray[np.int64]]:
        """Refuse by the record's own fields. Returns the scaled columns."""
        key_length = pc.binary_length(fields.key).fill_null(0)
        verdicts.refuse(key_length.to_numpy() == 0, "EmptyKey")
        verdicts.refuse(
            ~fields.has_time | (fields.time < 0) | (fields.time > MAX_EVENT_TIME), "EventTimeOutOfRange"
        )
        for name in self._names.numbers:
            verdicts.refuse(~fields.has_number[name] | np.isnan(fields.numbers[name]), "NotANumber")
        scaled = {}
        for c in self._columns:
            scaled[c.column], bad = scale(fields.numbers[c.field], c.decimals)
            verdicts.refuse(bad, "OutOfRange")
        return scaled


class _Verdicts:
    """The first reason that applied to each record of a batch."""

    def __init__(self, count: int) -> None:
        self._codes = np.full(count, -1, np.int8)

    def refuse(self, which: Mask, reason: str) -> None:
        self._codes[which & (self._codes < 0)] = REASONS.index(reason)

    def refused(self) -> Mask:
        return self._codes >= 0

    def reasons(self) -> pl.Series:
        codes = pl.Series(self._codes)
        return codes.replace_strict(range(len(REASONS)), REASONS, default=None, return_dtype=pl.String)


def _one_chunk(values: Any) -> Values:
    return pa.concat_arrays([pa.array([], pa.large_binary()), *values.cast(pa.large_binary()).chunks])


def _reader(spec: StreamPipelineSpec, avro_schema: str, names: FieldNames) -> BatchReader:
    format_ = spec.source.format
    if format_.type is FormatType.JSON:
        records = JsonRecords(names)
        return lambda values, fields: records.read(values.to_pylist(), fields)
    columns = AvroColumns(avro_schema, names)
    if format_.type is FormatType.AVRO:
        return lambda values, fields: _read_avro(columns, values, None, fields)
    ids = frozenset(format_.schema_ids)
    return lambda values, fields: _read_avro(columns, values, ids, fields)


def _read_avro(
    columns: AvroColumns, values: Values, schema_ids: frozenset[int] | None, fields: Fields
) -> Rows:
    """With `schema_ids` (empty: any) the values have a Confluent header."""
    data, start, end = _bytes_of(values)
    present: Mask = np.asarray(values.is_valid())
    if schema_ids is not None:
        present &= _has_header(data, start, end, schema_ids)
        start = np.where(present, start + _CONFLUENT_HEADER, end)
    good = columns.read(data, start, end, fields)
    return good[present[good]]


def _bytes_of(values: Values) -> tuple[Bytes, Rows, Rows]:
    """The bytes of all values, and where in them each starts and ends (a null is as long as nothing)."""
    _, offsets, data = values.buffers()
    limits = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data or b"", np.uint8), limits[:-1], limits[1:]


def _has_header(data: Bytes, start: Rows, end: Rows, schema_ids: frozenset[int]) -> Mask:
    good = end - start >= _CONFLUENT_HEADER
    place = start[good]
    fits = data[place] == 0
    if schema_ids:
        header = data[place[:, None] + np.arange(1, _CONFLUENT_HEADER)]
        fits &= np.isin(np.ascontiguousarray(header).view(">i4")[:, 0], list(schema_ids))
    good[good] = fits
    return good
