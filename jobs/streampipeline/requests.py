"""Repair requests: which windows are to be recomputed, and why ("Internal topics" in docs/contracts.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from streampipeline.api.spec import Model
from streampipeline.jobconfig import PipelineConfig
from streampipeline.outbox import Outbox

PARTITION = 0
"""The repairs topic has one partition."""


class RepairReason(StrEnum):
    """Why windows are to be recomputed."""

    LATE = "Late"
    UNSCORED = "Unscored"
    DROPPED = "Dropped"
    BACKFILL = "Backfill"


class RepairRequest(Model):
    """Recompute the windows of `key` (None: of every key) that hold an instant of [start, end), in ms.

    In JSON the span is named `from` and `to`.
    """

    reason: RepairReason
    key: str | None = None
    start: int = Field(validation_alias="from", serialization_alias="from")
    end: int = Field(validation_alias="to", serialization_alias="to")
    partition: int | None = None
    offset: int | None = None
    """Partition and offset of the record that asks; None when no single record does."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"a repair request needs from < to, got [{self.start}, {self.end})")
        return self

    @classmethod
    def late(cls, key: str, event_time: int, partition: int, offset: int) -> Self:
        """Of a late record: every window that holds its event time."""
        return cls(
            reason=RepairReason.LATE,
            key=key,
            start=event_time,
            end=event_time + 1,
            partition=partition,
            offset=offset,
        )

    @classmethod
    def unscored(cls, key: str, window_start: int) -> Self:
        """Of a window that was written without the model's answer."""
        return cls(reason=RepairReason.UNSCORED, key=key, start=window_start, end=window_start + 1)

    def encode(self) -> bytes:
        """The value of its message."""
        return self.model_dump_json(by_alias=True).encode()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Raises pydantic.ValidationError when `value` is not a request."""
        return cls.model_validate_json(value)


class RequestWriter:
    """Appends requests to the repairs topic, durably. Not for use by several threads."""

    def __init__(self, config: PipelineConfig, should_stop: Callable[[], bool]) -> None:
        self._config = config
        self._should_stop = should_stop
        self._outbox: Outbox | None = None

    def write(self, requests: Sequence[RepairRequest]) -> None:
        """Returns when every request is acknowledged. Blocks while the broker is away.

        Raises Stopped, and confluent_kafka.KafkaException when the broker refuses.
        """
        if not requests:
            return
        if self._outbox is None:
            # Made when first needed: most publishers never ask for a repair.
            self._outbox = Outbox(self._config, self._should_stop)
        for request in requests:
            self._outbox.send(
                self._config.repairs_topic, key=None, value=request.encode(), partition=PARTITION
            )
        self._outbox.flush()
