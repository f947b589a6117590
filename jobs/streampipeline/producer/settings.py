"""What the producer is told, what it answers, and the shape of what it sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

SIGNALS = ("X", "Y", "Z", "EDA", "HR", "TEMP")
"""Of a wristband: acceleration in 1/64 g, skin conductance in µS, beats a minute, degrees Celsius."""

NURSE_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "NurseReading",
    "namespace": "io.streampipeline.samples",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        *({"name": signal, "type": "double"} for signal in SIGNALS),
    ],
}
"""Avro schema of a record; the same as in samples/nurse-stress.yaml."""

DEFAULT_RATE = 600.0
"""Records a second: 60 every 0.1 s."""


class ProducerError(Exception):
    """The producer cannot begin or go on; `exit_code` is that of the command."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Clock(StrEnum):
    """What event times are.

    LIVE: the moment at which the record is due; Kafka timestamps are the broker's or the client's own.
    RECORDED: those of the recording, shifted so that it ends at `end_ms`; Kafka timestamps are set to them.
    """

    LIVE = "live"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Silence:
    """Records of `partition` that are due from `start` to `end` (seconds of the run) are not sent."""

    partition: int
    start: float
    end: float


@dataclass(frozen=True)
class Settings:
    """`rate`: records a second, None: as fast as it goes. `clock` None: live with a rate, else recorded."""

    bootstrap_servers: str
    topic: str = "stress-topic"
    data: Path | None = None
    """Recording (Parquet or CSV); None: signals made up from `seed`."""
    seed: int = 1
    nurses: int = 15
    partitions: int = 4
    """Of a topic that is made; one that exists keeps its own."""
    replication: int = -1
    """Of a topic that is made; -1: the broker's default."""
    rate: float | None = DEFAULT_RATE
    clock: Clock | None = None
    end_ms: int | None = None
    """Event time of the recording's end, ms UTC; None: now. Only with the recorded clock."""
    limit: int | None = None
    """Records after which to stop, poison not counted."""
    duration: float | None = None
    """Seconds after which to stop."""
    max_gap_seconds: float | None = 60.0
    """Longer gaps in a nurse's recording are shortened to this; None: they are kept."""
    poison: int = 0
    late: int = 0
    late_seconds: float = 10.0
    silences: tuple[Silence, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    """Further librdkafka properties (security.protocol, ...)."""
    connect_attempts: int = 10
    delivery_seconds: float = 300.0
    """How long a record is tried, so that a broker's restart loses none."""
    flush_seconds: float = 60.0
    """How long to wait for the last deliveries at the end."""

    @property
    def clock_used(self) -> Clock:
        """The clock that is asked for, or follows from the rate."""
        return self.clock or (Clock.RECORDED if self.rate is None else Clock.LIVE)


@dataclass
class Report:
    """What was sent. `records` are those that the broker acknowledged, poison among them."""

    topic: str
    records: int = 0
    bytes: int = 0
    partitions: dict[int, int] = field(default_factory=dict)
    """Acknowledged records of each partition of the topic."""
    first_event_time: int | None = None
    last_event_time: int | None = None
    seconds: float = 0.0
    records_per_second: float = 0.0
    failures: int = 0
    """Records that were not acknowledged."""
    retries: int = 0
    """Requests that the client sent again."""
    poison: int = 0
    late: int = 0
    silenced: int = 0
    skipped_rows: int = 0
    """Rows of the recording with a value missing or not finite, or without a nurse or time."""
    gaps_shortened: int = 0
    slipped_seconds: float = 0.0
    """By how much the schedule was put off because this process itself could not keep up."""
    stopped: bool = False
    """Stopped from outside, before its end."""

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self)
