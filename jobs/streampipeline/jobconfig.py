"""What one job (Flink, Dask driver, repair, audit) is told: the spec, resolved, and its assignment.

A ground writes it as one JSON file beside the job; secrets are never in it, only paths of files that
hold them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from streampipeline.api.definition import Definition
from streampipeline.api.spec import Model, StreamPipelineSpec


class EngineName(StrEnum):
    """Who writes a window; also the value of a point's field `source`."""

    FLINK = "flink"
    DASK = "dask-fallback"
    REPAIR = "repair"


class TimestampType(StrEnum):
    """Who sets a record's Kafka timestamp: the broker, or the producer (then it can run backwards)."""

    LOG_APPEND_TIME = "LogAppendTime"
    CREATE_TIME = "CreateTime"


PROGRESS_PARTITION = {EngineName.FLINK: 0, EngineName.DASK: 1}
"""The partition of the progress topic that each engine alone writes to."""


class Assignment(Model):
    """The right of one engine to write, and where it starts.

    The engine publishes windows that end after `boundary` (ms, UTC, a multiple of the slide) and reads
    each partition from `offsets[partition]`.
    """

    engine: EngineName
    epoch: int
    generation: int
    boundary: int
    offsets: dict[int, int]
    repairs_offset: int = 0
    """End of the repairs done when the assignment was made: those since are redone once it is retired."""


class Origin(Model):
    """Where the pipeline began: all readers clip to it. Fixed before the first effect."""

    boundary: int
    offsets: dict[int, int]


class Generation(Model):
    """What windows that end after `boundary` (ms), up to the next generation's, are computed with."""

    number: int
    boundary: int
    offsets: dict[int, int]
    """Where its first engine began to read."""
    definition: Definition
    model_version: str = ""
    """What the model must answer as; empty: anything."""


class ServedGeneration(Generation):
    """A generation and where its model answers."""

    model_url: str


class InfluxDbEndpoint(Model):
    """An InfluxDB 2 server and what to write there."""

    url: str
    org: str
    bucket: str
    measurement: str
    token_file: str
    """Path of the file whose content is the write token of this (epoch, engine)."""
    timeout_seconds: int = 10


class ParquetEndpoint(Model):
    """A folder of Parquet files (docs/contracts.md, "A point")."""

    path: str
    token_file: str
    """The right to write: a writer that finds this file gone is fenced."""


class SinkEndpoint(Model):
    """Where points go: exactly one of the members is set."""

    influxdb: InfluxDbEndpoint | None = None
    parquet: ParquetEndpoint | None = None


class PipelineConfig(Model):
    """A pipeline as resolved by its ground: what is the same for each of its jobs."""

    pipeline: str
    uid: str
    spec: StreamPipelineSpec
    avro_schema: str
    """Text of the Avro schema; for Json too (it names the fields and their types)."""
    bootstrap_servers: list[str]
    kafka_properties: dict[str, str] = Field(default_factory=dict)
    """librdkafka properties that hold no secret (security.protocol, ssl.ca.location, ...)."""
    kafka_secret_file: str | None = None
    """Path of a JSON object with the librdkafka properties that are secret (sasl.username, sasl.password)."""
    timestamp_type: TimestampType = TimestampType.LOG_APPEND_TIME
    model_url: str
    model_version: str = ""
    """What the model must answer as; empty: anything."""

    @property
    def disorder_ms(self) -> int:
        """How far a partition's timestamps may run backwards, in ms."""
        seconds = self.spec.source.event_time.timestamp_disorder_seconds
        if seconds is None:
            seconds = 5 if self.timestamp_type is TimestampType.CREATE_TIME else 0
        return seconds * 1000

    @property
    def progress_topic(self) -> str:
        """Topic of the engines' progress; the uid keeps recreated pipelines apart."""
        return f"streampipeline.{self.uid}.progress"

    @property
    def repairs_topic(self) -> str:
        """Topic of the requests to recompute windows."""
        return f"streampipeline.{self.uid}.repairs"

    @property
    def journal_topic(self) -> str:
        """Topic of what was done at a user's request."""
        return f"streampipeline.{self.uid}.journal"

    def group(self, engine: EngineName) -> str:
        """Consumer group in which an engine commits its offsets."""
        return f"streampipeline.{self.uid}.{engine.value}-consumer"


class JobConfig(PipelineConfig):
    """One job's file: its pipeline, its assignment, the origin, and where it writes."""

    assignment: Assignment
    origin: Origin
    sink: SinkEndpoint
    generations: tuple[ServedGeneration, ...] = ()
    """Of repair and audit: all, oldest first. Empty: the assignment's is the only one."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """The pipeline's windows from the origin on, divided by generation, in order of time."""
        if not self.generations:
            return (Span(self.origin.boundary, None, self),)
        ends = [*(generation.boundary for generation in self.generations[1:]), None]
        return tuple(
            Span(max(each.boundary, self.origin.boundary), end, self._of(each))
            for each, end in zip(self.generations, ends, strict=True)
        )

    def _of(self, generation: ServedGeneration) -> JobConfig:
        changes = {
            "spec": generation.definition.applied(self.spec),
            "model_url": generation.model_url,
            "model_version": generation.model_version,
            "assignment": self.assignment.model_copy(update={"generation": generation.number}),
            "generations": (),
        }
        return self.model_copy(update=changes)

    @classmethod
    def load(cls, path: Path) -> JobConfig:
        """Read a job's file. Raises OSError, pydantic.ValidationError."""
        return cls.model_validate_json(path.read_text())

    def dump(self) -> str:
        """The JSON that `load` reads."""
        return self.model_dump_json(by_alias=True, indent=1)


@dataclass(frozen=True)
class Span:
    """Windows that end after `after` and by `until` (None: without an end), ms, and how they are computed."""

    after: int
    until: int | None
    config: JobConfig
