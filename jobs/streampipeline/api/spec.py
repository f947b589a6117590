"""The typed StreamPipeline resource: the one place that says which fields exist.

YAML names are camelCase, Python names snake_case. Every duration is an integer number of seconds; there are
no floating-point numbers anywhere in the resource. Types, bounds and patterns stand here, because the
CustomResourceDefinition is generated from them; rules that span fields stand in `validate`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool
from pydantic.alias_generators import to_camel

GROUP = "streampipeline.io"
VERSION = "v1alpha1"
KIND = "StreamPipeline"
API_VERSION = f"{GROUP}/{VERSION}"

# Of the classes of regular expressions, such as \s, API servers and Pydantic think differently: none is used.
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SERVICE_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label as Kubernetes wants it of a Service."""
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
HOST_PORT = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?):[0-9]{1,5}$"
HTTP_URL = r"^https?://[A-Za-z0-9._~%:@\[\]-]+([/?#][!-~]*)?$"
NAME_LENGTH = 32
"""Of a pipeline: the names of its children are longer, and end at 63 or before."""
QUANTITY = r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$"
TOPIC = r"^[a-zA-Z0-9._-]+$"
COLUMN = r"^[A-Za-z][A-Za-z0-9_.-]*$"
"""Names of the fields of a point: no leading underscore, which InfluxDB keeps for itself."""
AVRO_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"

Integer = Annotated[int, Strict(), Field(ge=-(2**63), le=2**63 - 1)]
"""A whole number of 64 bits written as one: neither 5.0, nor "5", nor true."""
PositiveSeconds = Annotated[int, Strict(), Field(gt=0, le=2_147_483)]
Seconds = Annotated[int, Strict(), Field(ge=0, le=2_147_483)]
"""Both end where the number of milliseconds would leave 32 bits (24 days)."""

ResourceName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
HostPort = Annotated[str, Field(max_length=259, pattern=HOST_PORT)]
HttpUrl = Annotated[str, Field(max_length=2048, pattern=HTTP_URL)]
TopicName = Annotated[str, Field(min_length=1, max_length=249, pattern=TOPIC)]
ColumnName = Annotated[str, Field(min_length=1, max_length=64, pattern=COLUMN)]
FieldName = Annotated[str, Field(min_length=1, max_length=253, pattern=AVRO_NAME)]


class Model(BaseModel):
    """Base of every part of the resource: camelCase outside, frozen, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class SecretKeyRef(Model):
    """One key of a Secret in the pipeline's namespace."""

    name: ResourceName = Field(description="Name of the Secret, in the namespace of the pipeline.")
    key: DataKey = Field(description="Key of the Secret's data that holds the value.")


class SecretRef(Model):
    """A Secret in the pipeline's namespace."""

    name: ResourceName = Field(description="Name of the Secret, in the namespace of the pipeline.")


class ConfigMapKeyRef(Model):
    """One key of a ConfigMap in the pipeline's namespace."""

    name: ResourceName = Field(description="Name of the ConfigMap, in the namespace of the pipeline.")
    key: DataKey = Field(description="Key of the ConfigMap's data that holds the text.")


class Tls(Model):
    """Encryption of the connections to Kafka."""

    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="PEM certificates of the authorities that may sign the brokers' certificates. "
        "Without it: the authorities that the system trusts.",
    )


class SaslMechanism(StrEnum):
    """Names of SASL mechanisms."""

    PLAIN = "Plain"
    SCRAM_SHA_256 = "ScramSha256"
    SCRAM_SHA_512 = "ScramSha512"


class Sasl(Model):
    """How the pipeline proves to Kafka who it is."""

    mechanism: SaslMechanism = Field(description="SASL mechanism that the brokers' listener offers.")
    credentials_secret_ref: SecretRef = Field(description="Secret with the keys `username` and `password`.")


class StartFrom(StrEnum):
    """Where a pipeline begins when it starts for the first time."""

    EARLIEST = "Earliest"
    LATEST = "Latest"
    TIMESTAMP = "Timestamp"


class Kafka(Model):
    """The topic that is read. Compacted topics are refused: they forget records."""

    bootstrap_servers: list[HostPort] = Field(
        min_length=1, max_length=32, description="Brokers to ask first, each as host:port."
    )
    topic: TopicName = Field(description="Topic whose records are read.")
    start_from: StartFrom = Field(
        default=StartFrom.EARLIEST,
        description="Where a pipeline begins when it starts for the first time; later starts go on from its "
        "frontier. Earliest: the oldest record kept. Latest: what comes from now on. Timestamp: "
        "the first record not older than startTimestamp.",
    )
    start_timestamp: Annotated[int, Strict(), Field(ge=0, le=253_402_300_799_999)] | None = Field(
        default=None,
        description="Kafka timestamp to begin at, in milliseconds since 1970 UTC. "
        "Only with startFrom Timestamp.",
    )
    tls: Tls | None = Field(default=None, description="Encrypt the connections to the brokers.")
    sasl: Sasl | None = Field(default=None, description="Authenticate at the brokers.")


class FormatType(StrEnum):
    """Encodings of records."""

    AVRO = "Avro"
    CONFLUENT_AVRO = "ConfluentAvro"
    JSON = "Json"


class Format(Model):
    """How the bytes of a record are read. Exactly one of schema and schemaConfigMapRef."""

    type: FormatType = Field(
        description="Avro: one Avro value, no header. ConfluentAvro: a zero byte, a schema id of four bytes, "
        "then the Avro value. Json: one JSON object, whose fields the Avro schema names and types."
    )
    schema_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="The key of a ConfigMap that holds the Avro schema's JSON text."
    )
    # Pydantic reserves the attribute name `schema`.
    inline_schema: Annotated[str, Field(max_length=262_144)] | None = Field(
        default=None,
        alias="schema",
        description="The Avro schema's JSON text. Its top must be a record.",
    )
    schema_ids: list[Annotated[int, Strict(), Field(ge=0, le=2_147_483_647)]] = Field(
        default_factory=list,
        max_length=256,
        description="Schema ids of a registry that stand for this very schema; records with another id are "
        "dead-lettered. Empty: any id. Only with ConfluentAvro.",
    )


class EventTime(Model):
    """When a record happened, and how late it may come."""

    field: FieldName = Field(
        description="Field of the record with its event time: an Avro long (timestamp-millis, "
        "timestamp-micros or plain: milliseconds since 1970 UTC), or a string in RFC 3339."
    )
    allowed_delay_seconds: Seconds = Field(
        default=2,
        description="A record whose Kafka timestamp is later than its event time by more than this is late: "
        "its window is recomputed by a repair. Windows are published this long after their end.",
    )
    max_lateness_seconds: Seconds = Field(
        default=3600,
        description="A record whose Kafka timestamp is later than its event time by more than this is "
        "dead-lettered. At least allowedDelaySeconds.",
    )
    max_future_seconds: Seconds = Field(
        default=60,
        description="A record whose event time is later than its Kafka timestamp by more than this is "
        "dead-lettered.",
    )
    idle_partition_seconds: PositiveSeconds = Field(
        default=10,
        description="A partition that was read to its end is not waited for once the others' clock has gone "
        "on for this long.",
    )
    timestamp_disorder_seconds: Seconds | None = Field(
        default=None,
        description="How far Kafka timestamps within a partition may run backwards. Default: 0 on a topic "
        "with LogAppendTime, 5 on a topic with CreateTime.",
    )


class Source(Model):
    """Where records come from and what they mean."""

    kafka: Kafka = Field(description="The topic that is read.")
    format: Format = Field(description="How the bytes of a record are read.")
    key_field: FieldName = Field(
        description="Field whose values group the records: an Avro string, int or long. "
        "It becomes a tag of each point, under its own name."
    )
    event_time: EventTime = Field(description="When a record happened, and how late it may come.")


class Tumbling(Model):
    """Windows side by side: each record is in one."""

    size_seconds: PositiveSeconds = Field(description="Length of a window.")


class Sliding(Model):
    """Windows that overlap: each record is in sizeSeconds / slideSeconds of them."""

    size_seconds: PositiveSeconds = Field(description="Length of a window: a multiple of slideSeconds.")
    slide_seconds: PositiveSeconds = Field(description="Distance between the starts of two windows.")


class Window(Model):
    """One of tumbling and sliding. Windows begin at multiples of their distance since 1970 UTC."""

    tumbling: Tumbling | None = Field(
        default=None, description="Windows side by side: each record is in one."
    )
    sliding: Sliding | None = Field(default=None, description="Windows that overlap.")

    @property
    def size_ms(self) -> int:
        """Length of a window in ms."""
        window = self.tumbling or self.sliding
        assert window is not None
        return window.size_seconds * 1000

    @property
    def slide_ms(self) -> int:
        """Distance between the starts of two windows in ms."""
        return self.sliding.slide_seconds * 1000 if self.sliding else self.size_ms


class Function(StrEnum):
    """How the records of a window and key become one value."""

    MEAN = "Mean"
    SUM = "Sum"
    MIN = "Min"
    MAX = "Max"
    COUNT = "Count"


class Aggregate(Model):
    """One value of a window and key."""

    name: ColumnName = Field(description="Name of the value: a field of each point, and a model input.")
    field: FieldName | None = Field(
        default=None,
        description="Field of the record that is aggregated: an Avro int, long, float or double. "
        "Not with Count.",
    )
    function: Function = Field(description="Mean, Sum, Min or Max of the field; Count: number of records.")
    decimals: Annotated[int, Strict(), Field(ge=0, le=9)] = Field(
        default=6,
        description="Decimal places that are kept of each value. A record whose value is 2^43 / 10^decimals "
        "or more in size is dead-lettered: 8.7 million at 6 decimals.",
    )


class ManagedModel(Model):
    """One of bundled and image."""

    bundled: ResourceName | None = Field(
        default=None, description="Name of a model that ships with the product, such as nurse-stress."
    )
    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[!-~]+$")] | None = Field(
        default=None, description="Container image of a Bento of your own that answers POST /predict."
    )


class ExternalModel(Model):
    """A model server that runs elsewhere."""

    url: HttpUrl = Field(description="Base URL of the model server: http(s)://host:port; /predict is added.")


class UnavailablePolicy(StrEnum):
    """What to do while the model does not answer."""

    WAIT = "Wait"
    USE_DEFAULT = "UseDefault"


class OnUnavailable(Model):
    """What happens to windows while the model does not answer."""

    policy: UnavailablePolicy = Field(
        default=UnavailablePolicy.WAIT,
        description="Wait: nothing is published until the model answers. UseDefault: points are published "
        "with the default and scored=false, and are repaired later.",
    )
    default: Integer | None = Field(
        default=None, description="Output of points that were not scored. Only with UseDefault."
    )


class OutputType(StrEnum):
    """Type of a model's output."""

    INTEGER = "Integer"
    NUMBER = "Number"


class ModelRef(Model):
    """The model that scores each window. Exactly one of managed and external."""

    managed: ManagedModel | None = Field(
        default=None, description="A model server that is run for the pipeline."
    )
    external: ExternalModel | None = Field(default=None, description="A model server that runs elsewhere.")
    version: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Version that the model must answer with; another one counts as no answer. Without it: "
        "the one that it answers with when a generation of results begins. Change it to take up a model "
        "that has changed behind its URL or image.",
    )
    inputs: list[ColumnName] = Field(
        min_length=1, max_length=64, description="Names of the aggregates that the model is given."
    )
    output: ColumnName = Field(description="Name under which the model's answer stands in each point.")
    output_type: OutputType = Field(
        default=OutputType.INTEGER,
        description="Integer (a class) or Number (a floating-point value).",
    )
    timeout_seconds: PositiveSeconds = Field(
        default=2, description="How long one request to the model may take."
    )
    attempts: Annotated[int, Strict(), Field(ge=1, le=10)] = Field(
        default=3, description="Requests until the model counts as unavailable."
    )
    on_unavailable: OnUnavailable = Field(
        default=OnUnavailable(),
        description="What happens to windows while the model does not answer.",
    )


class ManagedInfluxDb(Model):
    """An InfluxDB that is run for the pipeline."""

    storage: Annotated[str, Field(max_length=20, pattern=QUANTITY)] = Field(
        default="1Gi", description="Size of its volume, as a Kubernetes quantity."
    )


class ExternalInfluxDb(Model):
    """An InfluxDB 2 that runs elsewhere."""

    url: HttpUrl = Field(description="Base URL of the server: http(s)://host:port.")
    org: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Name of the organisation.")
    token_secret_ref: SecretKeyRef = Field(
        description="Token that may write to the bucket. If it may also make tokens, each engine is given "
        "its own; otherwise condition Fenced is False."
    )


class InfluxDbSink(Model):
    """InfluxDB 2. Exactly one of managed and external."""

    managed: ManagedInfluxDb | None = Field(
        default=None, description="An InfluxDB that is run for the pipeline."
    )
    external: ExternalInfluxDb | None = Field(default=None, description="An InfluxDB 2 that runs elsewhere.")
    bucket: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^_\t\n\f\r \"][^\"]*$")] = Field(
        description="Bucket that points are written to."
    )
    measurement: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^_].*$")] = Field(
        description="Measurement of the points."
    )
    write_timeout_seconds: PositiveSeconds = Field(
        default=10, description="How long one write may take; also the server's read time-out."
    )


class ParquetSink(Model):
    """Parquet files in a directory: needs no server."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="Directory of the files; it is made if it is missing."
    )


class Sink(Model):
    """One of influxdb and parquet."""

    influxdb: InfluxDbSink | None = Field(default=None, description="InfluxDB 2.")
    parquet: ParquetSink | None = Field(default=None, description="Parquet files in a directory.")


class DeadLetter(Model):
    """Where refused records go."""

    topic: TopicName = Field(
        description="Topic that refused records are copied to, with the reason in their headers. "
        "Not the topic that is read."
    )


class FlinkEngine(Model):
    """Flink, the primary engine."""

    parallelism: Annotated[int, Strict(), Field(ge=1, le=1024)] = Field(
        default=2, description="Parallel subtasks of the job."
    )
    checkpoint_interval_seconds: PositiveSeconds = Field(
        default=5, description="Time between two checkpoints: progress becomes visible with them."
    )


class Primary(Model):
    """The engine that runs as long as it is well."""

    flink: FlinkEngine = Field(default=FlinkEngine(), description="Flink, the primary engine.")


class Workers(Model):
    """How many Dask workers there are."""

    min: Annotated[int, Strict(), Field(ge=0, le=1024)] = Field(
        default=0, description="Workers that are kept warm while the primary runs. At most max."
    )
    max: Annotated[int, Strict(), Field(ge=1, le=1024)] = Field(
        default=2, description="Workers while the fallback is active."
    )


class DaskEngine(Model):
    """Dask, the fallback engine."""

    workers: Workers = Field(default=Workers(), description="How many Dask workers there are.")
    batch_seconds: PositiveSeconds = Field(
        default=1, description="A batch is closed after this time at the latest."
    )
    batch_records: Annotated[int, Strict(), Field(ge=1, le=2_147_483_647)] = Field(
        default=50_000, description="A batch is closed once it holds this many records."
    )


class Fallback(Model):
    """The engine that takes over."""

    dask: DaskEngine = Field(default=DaskEngine(), description="Dask, the fallback engine.")


class Failover(Model):
    """When the fallback takes over and when it hands back."""

    check_interval_seconds: PositiveSeconds = Field(
        default=5, description="Time between two checks of latency and health."
    )
    latency_seconds: PositiveSeconds = Field(
        default=15,
        description="Latency above which a check is a violation: the age of the record that made the "
        "oldest unpublished window closable.",
    )
    violations: Annotated[int, Strict(), Field(ge=1, le=1000)] = Field(
        default=3, description="Violations in a row that trigger the fallback."
    )
    resume_latency_seconds: PositiveSeconds = Field(
        default=8,
        description="Latency below which the primary is given back the work. Below latencySeconds.",
    )
    resume_checks: Annotated[int, Strict(), Field(ge=1, le=1000)] = Field(
        default=3, description="Checks in a row, with the primary well, before it is handed back to."
    )
    primary_recovery_seconds: PositiveSeconds = Field(
        default=10,
        description="How long the primary may be down before the fallback takes over: its own recovery "
        "comes first.",
    )
    minimum_fallback_seconds: Seconds = Field(
        default=30, description="Shortest time that the fallback stays active."
    )
    resume_timeout_seconds: PositiveSeconds = Field(
        default=120,
        description="How long the primary may take to catch up when it is handed back to; then the "
        "fallback keeps the work, and the next attempt waits longer.",
    )
    max_latency_switches_per_hour: Annotated[int, Strict(), Field(ge=0, le=3600)] = Field(
        default=4,
        description="Limit of switches because of latency. A takeover from a dead primary is never limited.",
    )


class StreamPipelineSpec(Model):
    """What the user asks for."""

    suspend: StrictBool = Field(
        default=False, description="Stop all engines; the pipeline goes on from its frontier later."
    )
    source: Source = Field(description="Where records come from and what they mean.")
    window: Window = Field(description="Event-time windows. Exactly one of tumbling and sliding.")
    aggregates: list[Aggregate] = Field(
        min_length=1, max_length=64, description="Values that are computed for each window and key."
    )
    model: ModelRef = Field(
        description="The model that scores each window. Exactly one of managed and external."
    )
    sinks: list[Sink] = Field(min_length=1, max_length=4, description="Where points are written to.")
    dead_letter: DeadLetter = Field(description="Where refused records go.")
    primary: Primary = Field(default=Primary(), description="The engine that runs as long as it is well.")
    fallback: Fallback = Field(default=Fallback(), description="The engine that takes over.")
    failover: Failover = Field(
        default=Failover(), description="When the fallback takes over and when it hands back."
    )


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that the product reads."""

    model_config = ConfigDict(extra="allow")
    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=SERVICE_NAME)] = Field(
        description="Name of the pipeline: a DNS label that begins with a letter, as it names services too."
    )
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)] | None = Field(
        default=None, description="Namespace of the pipeline and of all that it refers to."
    )
    uid: str | None = Field(default=None, description="Set by the API server.")


class StreamPipeline(BaseModel):
    """One streaming pipeline: a Kafka topic, windows, aggregates, a model, sinks, two engines."""

    model_config = ConfigDict(populate_by_name=True)
    api_version: str = Field(alias="apiVersion", description=f"Always {API_VERSION}.")
    kind: str = Field(description=f"Always {KIND}.")
    metadata: Metadata = Field(description="Standard object metadata.")
    spec: StreamPipelineSpec = Field(description="What the user asks for.")
