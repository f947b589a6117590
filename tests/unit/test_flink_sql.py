"""The text of the Flink job: what of the spec and the assignment stands in it, and that it is well-formed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support import publish_config

from streampipeline.engines.flink import sql
from streampipeline.engines.flink.kafka_access import client_properties, credentials
from streampipeline.jobconfig import JobConfig
from streampipeline.windows_schema import windows_schema

CONFIG_FILE = "/run/jobs/7-flink.json"
TEXT = r"'(?:[^']|'')*'"
"""A string literal of SQL."""


def make(*, spec: dict[str, Any] | None = None, **changed: Any) -> JobConfig:
    """A job's configuration: `spec` replaces parts of the spec, the rest parts of the JobConfig."""
    base = publish_config.job_config({"parquet": {"path": "points", "tokenFile": "/run/tokens/7-flink"}})
    content = {**base.model_dump(mode="json", by_alias=True), **changed}
    content["spec"] = {**publish_config.spec(), **(spec or {})}
    return JobConfig.model_validate(content)


def event_time(**changed: int) -> dict[str, Any]:
    return {"source": {**publish_config.spec()["source"], "eventTime": {"field": "datetime", **changed}}}


def all_text(config: JobConfig, config_file: str = CONFIG_FILE) -> str:
    return ";\n".join(sql.statements(config, config_file))


def options_of(statement: str) -> dict[str, str]:
    """What a CREATE TABLE says in its WITH clause."""
    inside = statement[statement.index(") WITH (") :]

    def plain(text: str) -> str:
        return text[1:-1].replace("''", "'")

    return {plain(key): plain(value) for key, value in re.findall(f"({TEXT}) = ({TEXT})", inside)}


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0, "0 00:00:00.000"),
        (1, "0 00:00:00.001"),
        (2_001, "0 00:00:02.001"),
        (61_000, "0 00:01:01.000"),
        (3_599_999, "0 00:59:59.999"),
        (86_400_000, "1 00:00:00.000"),
        (2_147_483_000, "24 20:31:23.000"),
    ],
)
def test_intervals_hold_days_to_milliseconds(ms: int, expected: str) -> None:
    assert sql.seconds(ms) == f"INTERVAL '{expected}' DAY(3) TO SECOND(3)"


@pytest.mark.parametrize(
    ("text", "expected"), [("", "''"), ("it's", "'it''s'"), ("''", "''''''"), ('"`', "'\"`'")]
)
def test_literals_double_their_quotes(text: str, expected: str) -> None:
    assert sql.literal(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("order", "`order`"), ("a`b", "`a``b`"), ("it's", "`it's`")])
def test_identifiers_double_their_backticks(text: str, expected: str) -> None:
    assert sql.name(text) == expected


def test_statements_come_in_the_order_of_their_use_and_the_last_one_starts_the_job() -> None:
    *made, job = sql.statements(make(), CONFIG_FILE)

    names = [found[1] for text in made if (found := re.match(r"CREATE TEMPORARY \w+ (\w+)", text))]

    assert names == [
        "record_hash",
        "dead_letter_headers",
        sql.PUBLISH,
        "source",
        "judged",
        "on_time",
        "finished",
        "published",
        "ended",
        "progress",
        "repairs",
        "dead_letters",
    ]
    assert job.startswith("EXECUTE STATEMENT SET BEGIN\n")
    assert job.endswith(";\nEND")
    assert re.findall(r"INSERT INTO (\w+)", job) == ["progress", "repairs", "dead_letters"]


def test_each_partition_is_read_from_its_offset() -> None:
    assignment = {
        "engine": "flink",
        "epoch": 7,
        "generation": 3,
        "boundary": 0,
        "offsets": {10: 5, 2: 0, 0: 9},
    }

    options = options_of(sql.source_table(make(assignment=assignment)))

    assert options["scan.startup.mode"] == "specific-offsets"
    assert (
        options["scan.startup.specific-offsets"]
        == "partition:0,offset:9;partition:2,offset:0;partition:10,offset:5"
    )
    assert options["properties.isolation.level"] == "read_committed"
    assert options["scan.topic-partition-discovery.interval"] == "0"


@pytest.mark.parametrize(
    ("timestamps", "times", "lag_ms"),
    [
        ("LogAppendTime", {}, 2_001),
        ("LogAppendTime", {"allowedDelaySeconds": 0}, 1),
        ("CreateTime", {}, 7_001),
        ("CreateTime", {"timestampDisorderSeconds": 0}, 2_001),
        ("CreateTime", {"timestampDisorderSeconds": 120, "allowedDelaySeconds": 30}, 150_001),
        ("LogAppendTime", {"timestampDisorderSeconds": 3}, 5_001),
    ],
)
def test_the_watermark_is_behind_by_delay_disorder_and_one_millisecond(
    timestamps: str, times: dict[str, int], lag_ms: int
) -> None:
    table = sql.source_table(make(spec=event_time(**times), timestampType=timestamps))

    assert f"WATERMARK FOR `e` AS `T` - {sql.seconds(lag_ms)}\n" in table


@pytest.mark.parametrize(
    ("timestamps", "lag_ms", "by_wall_clock"),
    [("LogAppendTime", "4001", "false"), ("CreateTime", "9001", "true")],
)
def test_the_source_has_partition_clocks_and_the_sinks_are_plain(
    timestamps: str, lag_ms: str, by_wall_clock: str
) -> None:
    times = event_time(allowedDelaySeconds=4, idlePartitionSeconds=25)
    config = make(spec=times, timestampType=timestamps)

    options = options_of(sql.source_table(config))

    assert options["connector"] == "streampipeline-kafka"
    assert options["streampipeline.clock.lag-ms"] == lag_ms
    assert options["streampipeline.clock.idle-ms"] == "25000"
    assert options["streampipeline.clock.by-wall-clock"] == by_wall_clock
    for table in (sql.progress_table, sql.repairs_table, sql.dead_letters_table):
        assert options_of(table(config))["connector"] == "kafka"


def test_records_are_judged_by_their_two_times() -> None:
    times = event_time(allowedDelaySeconds=4, maxLatenessSeconds=90, maxFutureSeconds=7)

    view = sql.judged_view(make(spec=times))

    assert f"WHEN `T` > `e` + {sql.seconds(90_000)} THEN 'TooLate'" in view
    assert f"WHEN `e` > `T` + {sql.seconds(7_000)} THEN 'TooFarInFuture'" in view
    assert f"`T` > `e` + {sql.seconds(4_000)} AS `late`" in view
    # The decoder's reason comes first: the contract names the first that applies.
    assert view.index("`reason` IS NOT NULL") < view.index("TooLate") < view.index("TooFarInFuture")


def test_only_on_time_records_are_in_windows_and_the_rest_goes_elsewhere() -> None:
    job = sql.statement_set(make())

    assert sql.on_time_view().endswith("SELECT * FROM judged WHERE `refused` IS NULL AND NOT `late`")
    assert "TABLE on_time" in sql.windows_view(make())
    targets = dict(re.findall(r"INSERT INTO (\w+)\n.*?\nFROM ([^;]*?);", job, re.DOTALL))
    assert targets["repairs"] == "judged WHERE `refused` IS NULL AND `late`"
    assert targets["dead_letters"] == "judged WHERE `refused` IS NOT NULL"


AT_A_BOUNDARY = {
    "engine": "flink",
    "epoch": 7,
    "generation": 3,
    "boundary": 1_700_000_005_000,
    "offsets": {0: 0},
}


def test_only_windows_after_the_boundary_are_published() -> None:
    view = sql.published_view(make(assignment=AT_A_BOUNDARY), CONFIG_FILE)

    assert view.endswith("WHERE CAST(`window_end` AS TIMESTAMP_LTZ(3)) > TO_TIMESTAMP_LTZ(1700000005000, 3)")


def test_progress_goes_on_where_no_record_in_time_lies_in_a_window() -> None:
    config = make(assignment=AT_A_BOUNDARY)

    assert sql.ended_view(config).endswith(
        "FROM source\nWHERE `reason` = 'Heartbeat' AND `e` >= TO_TIMESTAMP_LTZ(1700000005000, 3)"
    )
    assert "FROM TABLE(TUMBLE(TABLE ended, DESCRIPTOR(`window_time`)" in sql.statement_set(config)
    window = config.spec.window
    assert options_of(sql.source_table(config))["streampipeline.clock.slide-ms"] == str(window.slide_ms)


def test_a_heartbeat_is_no_record() -> None:
    assert sql.judged_view(make()).endswith("FROM source\nWHERE `reason` IS NULL OR `reason` <> 'Heartbeat'")


def test_the_publisher_is_handed_the_columns_of_a_finished_window_and_the_jobs_file() -> None:
    config = make()

    view = sql.published_view(config, "/home/o'neill/7-flink.json")
    call = re.search(rf"{sql.PUBLISH}\((.*)\) AS `windows`", view)

    assert call is not None
    arguments = call[1].split(", ")
    assert "'/home/o''neill/7-flink.json'" in arguments
    columns = [argument.strip("`") for argument in arguments if argument.startswith("`")]
    assert columns == windows_schema(config.spec).names


def test_tumbling_windows() -> None:
    config = make(spec={"window": {"tumbling": {"sizeSeconds": 60}}})

    assert f"TUMBLE(TABLE on_time, DESCRIPTOR(`e`), {sql.seconds(60_000)})" in sql.windows_view(config)
    assert f"DESCRIPTOR(`window_time`), {sql.seconds(60_000)})" in sql.statement_set(config)


def test_sliding_windows_hop_by_the_slide_and_progress_goes_by_the_slide() -> None:
    config = make(spec={"window": {"sliding": {"sizeSeconds": 60, "slideSeconds": 20}}})

    # Flink's order of arguments: slide, then size.
    hop = f"HOP(TABLE on_time, DESCRIPTOR(`e`), {sql.seconds(20_000)}, {sql.seconds(60_000)})"
    assert hop in sql.windows_view(config)
    assert f"DESCRIPTOR(`window_time`), {sql.seconds(20_000)})" in sql.statement_set(config)


def test_each_aggregate_reads_its_scaled_column() -> None:
    aggregates = [
        {"name": "mean", "field": "x", "function": "Mean"},
        {"name": "sum", "field": "x", "function": "Sum"},
        {"name": "low", "field": "x", "function": "Min", "decimals": 2},
        {"name": "high", "field": "order", "function": "Max"},
        {"name": "records", "function": "Count"},
    ]
    config = make(
        spec={"aggregates": aggregates, "model": {**publish_config.spec()["model"], "inputs": ["mean"]}}
    )

    view, source = sql.windows_view(config), sql.source_table(config)

    assert (
        "SUM(`s0`) AS `agg_0`, SUM(`s0`) AS `agg_1`, MIN(`s1`) AS `agg_2`, MAX(`s2`) AS `agg_3`, "
        "COUNT(*) AS `agg_4`" in view
    )
    assert re.findall(r"`(s\d+)` BIGINT", source) == ["s0", "s1", "s2"]
    assert json.loads(options_of(source)["value.streampipeline.scaled"]) == [
        {"column": "s0", "field": "x", "decimals": 6},
        {"column": "s1", "field": "x", "decimals": 2},
        {"column": "s2", "field": "order", "decimals": 6},
    ]


def test_odd_names_stay_inside_their_quotes() -> None:
    schema = """{"type": "record", "name": "select", "doc": "the patient's; `raw`", "fields": []}"""
    source = {
        "kafka": {"bootstrapServers": ["unused:9092"], "topic": "from.my-topic_1"},
        "format": {"type": "ConfluentAvro", "schema": schema, "schemaIds": [3, 1]},
        "keyField": "group",
        "eventTime": {"field": "timestamp"},
    }
    config = make(
        spec={"source": source, "deadLetter": {"topic": "drop.table-x"}},
        avroSchema=schema,
        bootstrapServers=["a:9092", "b:9092"],
        kafkaProperties={"client.rack": "o'neill';"},
    )

    options = options_of(sql.source_table(config))
    bare = re.sub(TEXT, "", all_text(config, "/home/o'neill/7.json"))

    assert options["value.streampipeline.schema"] == schema
    assert options["value.streampipeline.schema-ids"] == "3,1"
    assert options["value.streampipeline.key-field"] == "group"
    assert options["value.streampipeline.event-time-field"] == "timestamp"
    assert options["topic"] == "from.my-topic_1"
    assert options["properties.bootstrap.servers"] == "a:9092,b:9092"
    assert options["properties.client.rack"] == "o'neill';"
    assert options_of(sql.dead_letters_table(config))["topic"] == "drop.table-x"
    assert "'" not in bare
    assert "neill" not in bare
    assert "patient" not in bare


def test_progress_names_its_assignment_and_is_exactly_once() -> None:
    config = make()

    table, job = sql.progress_table(config), sql.statement_set(config)

    options = options_of(table)
    assert options["topic"] == "streampipeline.u1.progress"
    assert options["sink.delivery-guarantee"] == "exactly-once"
    assert options["sink.transactional-id-prefix"] == "streampipeline-u1-progress"
    assert options["sink.parallelism"] == "1"
    assert "SELECT '3/7/flink', 3,\n  CAST(7 AS BIGINT), 'flink'," in job


def test_every_table_reaches_the_broker_in_the_same_way() -> None:
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "ssl.ca.location": "/run/ca.crt",
    }
    config = make(kafkaProperties=properties, kafkaSecretFile="/run/kafka.json")

    expected = {f"properties.{key}": value for key, value in client_properties(config).items()}

    assert "properties.ssl.truststore.location" in expected
    for table in (sql.source_table, sql.progress_table, sql.repairs_table, sql.dead_letters_table):
        options = options_of(table(config))
        assert expected.items() <= options.items()
        assert "properties.ssl.ca.location" not in options


def test_no_secret_is_in_the_text(tmp_path: Path) -> None:
    secret = tmp_path / "kafka.json"
    secret.write_text(json.dumps({"sasl.password": "broker-password"}))
    (tmp_path / "kafka.properties").write_text(credentials("PLAIN", "nurse", "broker-password"))
    sink = publish_config.influxdb_sink("http://127.0.0.1:8086", tmp_path)
    token = Path(sink["influxdb"]["tokenFile"])
    token.write_text("write-token-1234")
    config = make(sink=sink, kafkaSecretFile=str(secret))

    text = all_text(config) + json.dumps(sql.session_properties(config))

    for hidden in ("write-token-1234", "broker-password", str(token), str(secret)):
        assert hidden not in text


def test_each_epoch_has_one_id_in_flink() -> None:
    def id_of(config: JobConfig) -> str:
        return sql.session_properties(config)["$internal.pipeline.job-id"]

    config = make()
    next_epoch = config.model_copy(
        update={"assignment": config.assignment.model_copy(update={"epoch": config.assignment.epoch + 1})}
    )

    assert re.fullmatch("[0-9a-f]{32}", id_of(config))
    assert id_of(config) == id_of(make())
    assert len({id_of(config), id_of(next_epoch), id_of(config.model_copy(update={"uid": "u2"}))}) == 3


def test_the_session_follows_the_spec_and_the_job_is_found_by_its_epoch() -> None:
    flink = {"primary": {"flink": {"parallelism": 3, "checkpointIntervalSeconds": 9}}}

    properties = sql.session_properties(make(spec=flink))

    assert properties["pipeline.name"] == sql.job_name(make()) == "streampipeline/u1/7"
    assert properties["parallelism.default"] == "3"
    assert properties["execution.checkpointing.interval"] == "9 s"
    # It goes by wall clock and would lose records: the source has clocks of its own.
    assert "table.exec.source.idle-timeout" not in properties
    assert properties["table.local-time-zone"] == "UTC"
