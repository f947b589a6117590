"""What each record of the topic is: refused for a reason, late, or on time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streampipeline.api.spec import FormatType, StreamPipelineSpec
from streampipeline_audit.avro_fields import AvroFields, check_kinds
from streampipeline_audit.avro_schema import parse_schema
from streampipeline_audit.fields import Fields, Wanted
from streampipeline_audit.hashing import record_hashes
from streampipeline_audit.json_fields import JsonFields

_LAST_EVENT_TIME = 253_402_300_799_999
_SCALED_LIMIT = float(2**43)

Scale = tuple[str, int]
"""(field, decimals): a number of a record as an integer."""


class Reason(IntEnum):
    """Why a record is refused; 0 when it is not. In the order in which they are decided."""

    NONE = 0
    UNDECODABLE = 1
    EMPTY_KEY = 2
    EVENT_TIME_OUT_OF_RANGE = 3
    NOT_A_NUMBER = 4
    OUT_OF_RANGE = 5
    TOO_LATE = 6
    TOO_FAR_IN_FUTURE = 7

    @property
    def text(self) -> str:
        """As in the header of a dead letter."""
        words = self.name.split("_")
        return "NotANumber" if self is Reason.NOT_A_NUMBER else "".join(word.capitalize() for word in words)


@dataclass(frozen=True)
class RecordBatch:
    """Records as they lie in the topic; those of one partition in the order of their offsets. n rows."""

    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    """Kafka timestamps, ms."""
    values: list[bytes | None]
    finished: frozenset[int] = frozenset()
    """Partitions that are at their end with this batch."""


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on a batch of n records, and of the m good ones what windows need."""

    reasons: NDArray[np.int8]
    """(n,) of Reason."""
    times: NDArray[np.int64]
    """(n,) event times; -1 where it is not known."""
    rows: NDArray[np.int64]
    """(m,) where in the batch the good ones are."""
    keys: pl.Series
    """(m,) text."""
    event_times: NDArray[np.int64]
    """(m,)"""
    late: NDArray[np.bool_]
    """(m,)"""
    hashes: NDArray[np.int64]
    """(m,)"""
    scaled: dict[Scale, NDArray[np.int64]]
    """(m,) each"""

    def only(self, chosen: NDArray[np.bool_]) -> Verdicts:
        """The same with the chosen (m,) of the good ones alone."""
        if chosen.all():
            return self
        return Verdicts(
            reasons=self.reasons,
            times=self.times,
            rows=self.rows[chosen],
            keys=self.keys.filter(pl.Series(chosen)),
            event_times=self.event_times[chosen],
            late=self.late[chosen],
            hashes=self.hashes[chosen],
            scaled={scale: column[chosen] for scale, column in self.scaled.items()},
        )


class _Reader(Protocol):
    def read(self, values: list[bytes]) -> Fields: ...


class Judge:
    """Decides about records. Raises AuditError when spec and schema do not fit together."""

    def __init__(self, spec: StreamPipelineSpec, avro_schema: str) -> None:
        event_time = spec.source.event_time
        self._allowed_delay = event_time.allowed_delay_seconds * 1000
        self._max_lateness = event_time.max_lateness_seconds * 1000
        self._max_future = event_time.max_future_seconds * 1000
        read = [aggregate for aggregate in spec.aggregates if aggregate.field is not None]
        self._scales: list[Scale] = sorted({(str(a.field), a.decimals) for a in read})
        self._reader = _reader(spec, avro_schema, tuple(sorted({str(a.field) for a in read})))

    def judge(self, batch: RecordBatch) -> Verdicts:
        """The verdicts on a batch."""
        fields = self._reader.read([value or b"" for value in batch.values])
        reasons = np.zeros(len(batch.values), np.int8)

        def refuse(mask: NDArray[np.bool_], reason: Reason) -> None:
            reasons[mask & (reasons == 0)] = reason

        tombstone = np.fromiter((value is None for value in batch.values), np.bool_, len(batch.values))
        refuse(fields.undecodable | tombstone, Reason.UNDECODABLE)
        refuse(fields.key_missing, Reason.EMPTY_KEY)
        refuse((fields.time < 0) | (fields.time > _LAST_EVENT_TIME), Reason.EVENT_TIME_OUT_OF_RANGE)
        for column in fields.numbers.values():
            refuse(np.isnan(column), Reason.NOT_A_NUMBER)
        scaled: dict[Scale, NDArray[np.float64]] = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for name, decimals in self._scales:
                column = np.floor(fields.numbers[name] * float(10**decimals) + 0.5)
                refuse(~(np.abs(column) < _SCALED_LIMIT), Reason.OUT_OF_RANGE)
                scaled[name, decimals] = column
        # Out of range times are refused by now, but must not overflow the difference.
        delay = batch.timestamps - np.clip(fields.time, 0, _LAST_EVENT_TIME)
        refuse(delay > self._max_lateness, Reason.TOO_LATE)
        refuse(-delay > self._max_future, Reason.TOO_FAR_IN_FUTURE)
        rows = np.flatnonzero(reasons == 0)
        return Verdicts(
            reasons=reasons,
            times=np.where((reasons == 0) | (reasons > Reason.EVENT_TIME_OUT_OF_RANGE), fields.time, -1),
            rows=rows,
            keys=fields.keys(rows),
            event_times=fields.time[rows],
            late=delay[rows] > self._allowed_delay,
            hashes=record_hashes(batch.partitions[rows], batch.offsets[rows]),
            scaled={scale: column[rows].astype(np.int64) for scale, column in scaled.items()},
        )


def _reader(spec: StreamPipelineSpec, avro_schema: str, numbers: tuple[str, ...]) -> _Reader:
    source = spec.source
    schema = parse_schema(avro_schema)
    wanted = Wanted(source.key_field, source.event_time.field, numbers)
    check_kinds(schema, wanted)
    if source.format.type is FormatType.JSON:
        return JsonFields(wanted)
    confluent = source.format.type is FormatType.CONFLUENT_AVRO
    return AvroFields(schema, wanted, confluent=confluent, schema_ids=source.format.schema_ids)
