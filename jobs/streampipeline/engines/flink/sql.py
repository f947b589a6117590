"""The Flink job as SQL: decode, refuse, window and sum in the JVM; one Python call for many finished windows.

Built from a JobConfig alone, so that the text can be read, compared and tested without Flink. Holds no
secret: the publishing function reads its write token from the file that the JobConfig names, and the Kafka
clients their credentials from one that the options name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from streampipeline.api.spec import Function, StreamPipelineSpec
from streampipeline.engines.flink.kafka_access import client_properties
from streampipeline.jobconfig import PROGRESS_PARTITION, EngineName, JobConfig, TimestampType
from streampipeline.scaling import scaled_column_of, scaled_columns

PUBLISH = "streampipeline_publish"
PROGRESS = "progress"
"""The table of progress rows; Flink's operators that write it have it in their names."""
HEARTBEAT = "Heartbeat"
"""The reason of rows that stand for no record: one before each end of a window that a partition passes."""


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def name(identifier: str) -> str:
    """A quoted SQL identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def seconds(ms: int) -> str:
    """An interval of `ms` milliseconds (Flink takes at most three digits of days)."""
    seconds, millis = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours:02d}:{minutes:02d}:{seconds:02d}.{millis:03d}' DAY(3) TO SECOND(3)"


def options(pairs: dict[str, str]) -> str:
    """The inside of a WITH clause, one option a line, in the order given."""
    return ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in pairs.items())


def _connection(config: JobConfig) -> dict[str, str]:
    return {
        "connector": "kafka",
        "properties.bootstrap.servers": ",".join(config.bootstrap_servers),
        **{f"properties.{key}": value for key, value in client_properties(config).items()},
    }


def source_table(config: JobConfig) -> str:
    """The topic, each record decoded once; clocks run on T, the Kafka timestamp."""
    source = config.spec.source
    columns = scaled_columns(config.spec)
    offsets = ";".join(
        f"partition:{partition},offset:{offset}"
        for partition, offset in sorted(config.assignment.offsets.items())
    )
    # One millisecond more than the delay: a watermark says that nothing *at or below* it will come.
    lag = source.event_time.allowed_delay_seconds * 1000 + config.disorder_ms + 1
    declared = "".join(f"  {name(column.column)} BIGINT,\n" for column in columns)
    settings = options(
        {
            **_connection(config),
            # The plain one takes partitions with unread records for idle, by wall clock: they would be lost.
            "connector": "streampipeline-kafka",
            "streampipeline.clock.lag-ms": str(lag),
            "streampipeline.clock.slide-ms": str(config.spec.window.slide_ms),
            "streampipeline.clock.idle-ms": str(source.event_time.idle_partition_seconds * 1000),
            "streampipeline.clock.by-wall-clock": str(
                config.timestamp_type is TimestampType.CREATE_TIME
            ).lower(),
            "topic": source.kafka.topic,
            "properties.group.id": config.group(EngineName.FLINK),
            "properties.isolation.level": "read_committed",
            "properties.client.id": f"streampipeline-{config.uid}-flink",
            # The connector's map of headers keeps neither order nor repeated names nor missing values.
            "properties.interceptor.classes": "io.streampipeline.headers.Fold",
            "scan.startup.mode": "specific-offsets",
            "scan.startup.specific-offsets": offsets,
            # A changed partition set starts a new epoch with offsets for every partition.
            "scan.topic-partition-discovery.interval": "0",
            "key.format": "raw",
            "key.fields": "record_key",
            "value.fields-include": "EXCEPT_KEY",
            "value.format": "streampipeline",
            "value.streampipeline.type": source.format.type.value,
            "value.streampipeline.schema": config.avro_schema,
            "value.streampipeline.schema-ids": ",".join(map(str, source.format.schema_ids)),
            "value.streampipeline.key-field": source.key_field,
            "value.streampipeline.event-time-field": source.event_time.field,
            "value.streampipeline.scaled": json.dumps([asdict(column) for column in columns]),
        }
    )
    return f"""CREATE TEMPORARY TABLE source (
  `record_key` BYTES,
  `reason` STRING,
  `key` STRING,
  `e` TIMESTAMP_LTZ(3),
  `e_ms` BIGINT,
  `raw` BYTES,
{declared}  `T` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  `headers` MAP<STRING, BYTES> METADATA VIRTUAL,
  WATERMARK FOR `e` AS `T` - {seconds(lag)}
) WITH (
  {settings}
)"""


def judged_view(config: JobConfig) -> str:
    """Every record with its verdict: `refused` is the reason of a dead letter, or NULL."""
    times = config.spec.source.event_time
    return f"""CREATE TEMPORARY VIEW judged AS
SELECT *,
  CASE
    WHEN `reason` IS NOT NULL THEN `reason`
    WHEN `T` > `e` + {seconds(times.max_lateness_seconds * 1000)} THEN 'TooLate'
    WHEN `e` > `T` + {seconds(times.max_future_seconds * 1000)} THEN 'TooFarInFuture'
  END AS `refused`,
  `T` > `e` + {seconds(times.allowed_delay_seconds * 1000)} AS `late`
FROM source
WHERE `reason` IS NULL OR `reason` <> {literal(HEARTBEAT)}"""


def _window_function(spec: StreamPipelineSpec) -> str:
    table = "TABLE on_time, DESCRIPTOR(`e`)"
    if spec.window.sliding:
        return f"HOP({table}, {seconds(spec.window.slide_ms)}, {seconds(spec.window.size_ms)})"
    return f"TUMBLE({table}, {seconds(spec.window.size_ms)})"


def on_time_view() -> str:
    """The records that make an engine's values: neither refused nor late."""
    return "CREATE TEMPORARY VIEW on_time AS\nSELECT * FROM judged WHERE `refused` IS NULL AND NOT `late`"


def windows_view(config: JobConfig) -> str:
    """Finished windows that end after the boundary, in the columns of a finished window."""
    columns = scaled_columns(config.spec)
    sums = []
    for index, aggregate in enumerate(config.spec.aggregates):
        if aggregate.function is Function.COUNT:
            expression = "COUNT(*)"
        else:
            call = {Function.MIN: "MIN", Function.MAX: "MAX"}.get(aggregate.function, "SUM")
            expression = f"{call}({name(scaled_column_of(aggregate, columns))})"
        sums.append(f"{expression} AS `agg_{index}`")
    return f"""CREATE TEMPORARY VIEW finished AS
SELECT `key`, `window_start`, `window_end`, `window_time`,
  COUNT(*) AS `n`,
  SUM(record_hash(`partition`, `offset`)) AS `hash`,
  MAX(`e_ms`) AS `newest`,
  {", ".join(sums)}
FROM TABLE({_window_function(config.spec)})
GROUP BY `key`, `window_start`, `window_end`, `window_time`"""


def published_view(config: JobConfig, config_file: str) -> str:
    """Each window handed to the publisher; a row stands here only once its point is in the sink."""
    arguments = ", ".join(
        [
            "`key`",
            "`window_start`",
            "`window_end`",
            "`n`",
            "`hash`",
            "`newest`",
            *(f"`agg_{index}`" for index in range(len(config.spec.aggregates))),
            # Not first: PyFlink takes the first argument's length for the number of rows.
            literal(config_file),
        ]
    )
    return f"""CREATE TEMPORARY VIEW published AS
SELECT {PUBLISH}({arguments}) AS `windows`, `window_time`
FROM finished
WHERE CAST(`window_end` AS TIMESTAMP_LTZ(3)) > {_boundary(config)}"""


def _boundary(config: JobConfig) -> str:
    return f"TO_TIMESTAMP_LTZ({config.assignment.boundary}, 3)"


def ended_view(config: JobConfig) -> str:
    """Windows that have ended, with what was published: also those that no record in time lies in.

    Without the heartbeats progress would stand still while records come that are all late or refused, and at
    the beginning of a stream.
    """
    return f"""CREATE TEMPORARY VIEW ended AS
SELECT `windows`, `window_time` FROM published
UNION ALL
SELECT CAST(0 AS BIGINT) AS `windows`, `e` AS `window_time`
FROM source
WHERE `reason` = {literal(HEARTBEAT)} AND `e` >= {_boundary(config)}"""


def progress_table(config: JobConfig) -> str:
    """Progress rows, visible to readers only together with the checkpoint that holds them."""
    settings = options(
        {
            **_connection(config),
            "topic": config.progress_topic,
            "key.format": "raw",
            "key.fields": "id",
            "value.fields-include": "EXCEPT_KEY",
            "value.format": "json",
            "sink.partitioner": "fixed",
            "sink.parallelism": "1",
            "sink.delivery-guarantee": "exactly-once",
            # A prefix for each pipeline: the next job aborts what a dead one left open.
            "sink.transactional-id-prefix": f"streampipeline-{config.uid}-progress",
            "sink.transaction-naming-strategy": "pooling",
            "properties.transaction.timeout.ms": "60000",
        }
    )
    return f"""CREATE TEMPORARY TABLE {PROGRESS} (
  `id` STRING,
  `generation` INT,
  `epoch` BIGINT,
  `engine` STRING,
  `frontier` BIGINT,
  `windows` BIGINT,
  `at` BIGINT
) WITH (
  {settings}
)"""


def repairs_table(config: JobConfig) -> str:
    """Requests of late records; at least once, as a window repaired twice is the same window."""
    settings = options(
        {
            **_connection(config),
            "topic": config.repairs_topic,
            "value.format": "json",
            "sink.delivery-guarantee": "at-least-once",
        }
    )
    return f"""CREATE TEMPORARY TABLE repairs (
  `reason` STRING,
  `key` STRING,
  `from` BIGINT,
  `to` BIGINT,
  `partition` INT,
  `offset` BIGINT
) WITH (
  {settings}
)"""


def dead_letters_table(config: JobConfig) -> str:
    """Refused records as they came, with Kafka timestamp and headers; at least once."""
    settings = options(
        {
            **_connection(config),
            "topic": config.spec.dead_letter.topic,
            "properties.interceptor.classes": "io.streampipeline.headers.Unfold",
            "key.format": "raw",
            "key.fields": "record_key",
            "value.fields-include": "EXCEPT_KEY",
            "value.format": "raw",
            "sink.delivery-guarantee": "at-least-once",
        }
    )
    return f"""CREATE TEMPORARY TABLE dead_letters (
  `record_key` BYTES,
  `raw` BYTES,
  `T` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  `headers` MAP<STRING, BYTES> METADATA
) WITH (
  {settings}
)"""


def statement_set(config: JobConfig) -> str:
    """The job: windows with progress, late records to repairs, refused ones to the dead letters."""
    slide = config.spec.window.slide_ms
    assignment = config.assignment
    topic = literal(config.spec.source.kafka.topic)
    return f"""EXECUTE STATEMENT SET BEGIN
INSERT INTO {PROGRESS}
SELECT '{assignment.generation}/{assignment.epoch}/{EngineName.FLINK}', {assignment.generation},
  CAST({assignment.epoch} AS BIGINT), '{EngineName.FLINK}',
  1000 * UNIX_TIMESTAMP(CAST(`window_end` AS STRING)) + EXTRACT(MILLISECOND FROM `window_end`),
  SUM(`windows`),
  1000 * UNIX_TIMESTAMP()
FROM TABLE(TUMBLE(TABLE ended, DESCRIPTOR(`window_time`), {seconds(slide)}))
GROUP BY `window_start`, `window_end`;
INSERT INTO repairs
SELECT 'Late', `key`, `e_ms`, `e_ms` + 1, `partition`, `offset`
FROM judged WHERE `refused` IS NULL AND `late`;
INSERT INTO dead_letters
SELECT `record_key`, `raw`, `T`, dead_letter_headers(`headers`, `refused`, {topic}, `partition`, `offset`)
FROM judged WHERE `refused` IS NOT NULL;
END"""


def session_properties(config: JobConfig) -> dict[str, str]:
    """Flink options of this job; the cluster's own stand in its configuration file."""
    flink = config.spec.primary.flink
    return {
        "pipeline.name": job_name(config),
        # A second submission of an epoch, whose first one's reply was lost, is refused by the JobManager.
        "$internal.pipeline.job-id": job_id(config),
        "parallelism.default": str(flink.parallelism),
        "table.local-time-zone": "UTC",
        "execution.checkpointing.interval": f"{flink.checkpoint_interval_seconds} s",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.min-pause": "500 ms",
        "pipeline.object-reuse": "true",
        # A batch of finished windows waits at most this long for more.
        "python.fn-execution.bundle.time": "100",
        "python.fn-execution.bundle.size": "10000",
        "python.fn-execution.arrow.batch.size": "10000",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
    }


def job_name(config: JobConfig) -> str:
    """The name by which a job is found again when the reply to its submission was lost."""
    return name_of_job(config.uid, config.assignment.epoch)


def job_id(config: JobConfig) -> str:
    """Flink's id of the job: one of each epoch."""
    return hashlib.sha256(job_name(config).encode()).hexdigest()[:32]


def job_prefix(uid: str) -> str:
    """What the names of all jobs of a pipeline begin with; the epoch follows."""
    return f"streampipeline/{uid}/"


def name_of_job(uid: str, epoch: int) -> str:
    """Name of the job of one epoch."""
    return f"{job_prefix(uid)}{epoch}"


def _function(called: str, implementation: str, language: str) -> str:
    return f"CREATE TEMPORARY FUNCTION {called} AS {literal(implementation)} LANGUAGE {language}"


def statements(config: JobConfig, config_file: str) -> list[str]:
    """All statements in order; the last one starts the job."""
    return [
        _function("record_hash", "io.streampipeline.decoder.RecordHash", "JAVA"),
        _function("dead_letter_headers", "io.streampipeline.decoder.DeadLetterHeaders", "JAVA"),
        _function(PUBLISH, "streampipeline.engines.flink.publish_function.publish", "PYTHON"),
        source_table(config),
        judged_view(config),
        on_time_view(),
        windows_view(config),
        published_view(config, config_file),
        ended_view(config),
        progress_table(config),
        repairs_table(config),
        dead_letters_table(config),
        statement_set(config),
    ]


assert PROGRESS_PARTITION[EngineName.FLINK] == 0, (
    "the fixed partitioner of a single subtask writes to partition 0"
)
