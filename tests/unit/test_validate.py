"""Everything that is wrong is named: where, what, and what to do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from streampipeline.api.load import load
from streampipeline.api.problems import InvalidPipelineError
from streampipeline.api.validate import parse, validate

SAMPLES = Path(__file__).parents[2] / "samples"

SCHEMA = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "iso", "type": ["null", "string"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "nanos", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
        {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "HR", "type": "double"},
        {"name": "steps", "type": ["null", "int"]},
        {"name": "either", "type": ["int", "string"]},
        {"name": "on", "type": "boolean"},
        {"name": "source", "type": "string"},
        {"name": "_id", "type": "string"},
    ],
}

FINE: dict[str, Any] = {
    "apiVersion": "streampipeline.io/v1alpha1",
    "kind": "StreamPipeline",
    "metadata": {"name": "ward-7"},
    "spec": {
        "source": {
            "kafka": {"bootstrapServers": ["kafka:9092"], "topic": "readings"},
            "format": {"type": "Avro", "schema": json.dumps(SCHEMA)},
            "keyField": "id",
            "eventTime": {"field": "at"},
        },
        "window": {"tumbling": {"sizeSeconds": 5}},
        "aggregates": [
            {"name": "HR", "field": "HR", "function": "Mean"},
            {"name": "count", "function": "Count"},
        ],
        "model": {"external": {"url": "http://model:3000"}, "inputs": ["HR"], "output": "risk"},
        "sinks": [{"parquet": {"path": "/data"}}],
        "deadLetter": {"topic": "readings-dead-letter"},
    },
}

GONE = object()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """FINE with the values at the given paths (below spec, or from the top after a slash) replaced."""
    document = copy.deepcopy(FINE)
    for path, value in changes.items():
        place: Any = document if path.startswith("/") else document["spec"]
        *parents, last = path.lstrip("/").split(".")
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        if value is GONE:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = value
    return document


INFLUX = {"bucket": "b", "measurement": "m"}

# What is changed; where the one problem is (below spec); a part of its message; a part of its remedy.
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"window": {"tumbling": {"sizeSeconds": 0}}},
        "window.tumbling.sizeSeconds",
        "at least 1, is 0",
        "1 or more",
    ),
    ({"failover.checkIntervalSeconds": -5}, "failover.checkIntervalSeconds", "is -5", "set it to 1"),
    (
        {"primary.flink.checkpointIntervalSeconds": 0},
        "primary.flink.checkpointIntervalSeconds",
        "is 0",
        "1 or",
    ),
    ({"failover.latencySeconds": 15.0}, "failover.latencySeconds", "whole number, is 15.0", "without"),
    ({"failover.latencySeconds": "15"}, "failover.latencySeconds", 'whole number, is "15"', "without quotes"),
    ({"suspend": "yes"}, "suspend", "true or false", "true or false"),
    ({"suspend": 1}, "suspend", "true or false, is 1", "true or false"),
    ({"source.kafka.topic": 7}, "source.kafka.topic", "must be a text, is 7", "quotes"),
    ({"window": []}, "window", "mapping", "name: value"),
    ({"aggregates": {}}, "aggregates", "must be a list", "'-'"),
    ({"aggregates": []}, "aggregates", "is empty", "at least one"),
    ({"model.attempts": 11}, "model.attempts", "at most 10, is 11", "10 or less"),
    ({"source.kafka": GONE}, "source.kafka", "is missing", "add kafka: The topic"),
    ({"failover.latencySecond": 9}, "failover.latencySecond", "not a field", "mean latencySeconds?"),
    ({"failover.latency_seconds": 9}, "failover.latency_seconds", "not a field", "mean latencySeconds?"),
    ({"parallelism": 2}, "parallelism", "not a field", "move it to spec.primary.flink.parallelism"),
    ({"window.tumbling.qqq": 2}, "window.tumbling.qqq", "not a field", "known here: sizeSeconds"),
    ({"aggregates.0.fielt": "HR"}, "aggregates[0].fielt", "not a field", "did you mean field?"),
    ({"aggregates.0.function": "mean"}, "aggregates[0].function", 'is "mean"', "write Mean"),
    (
        {"aggregates.0.function": "Median"},
        "aggregates[0].function",
        "Mean, Sum, Min, Max, Count",
        "write Mean",
    ),
    ({"source.format.type": "Thrift"}, "source.format.type", "ConfluentAvro, Json", "use one of Avro"),
    ({"/metadata.name": "Ward_7"}, "/metadata.name", "not a DNS label", "lower-case"),
    ({"/metadata.name": "-x"}, "/metadata.name", "not a DNS label", "letter or digit"),
    ({"/metadata.name": "7-ward"}, "/metadata.name", "begins with a letter", "lower-case"),
    ({"/metadata.name": "x" * 33}, "/metadata.name", "longer than 32", "shorter"),
    ({"sinks": [{"parquet": {"path": "/a"}}] * 5}, "sinks", "more than 4 elements", "remove some"),
    ({"/apiVersion": "streampipeline.io/v1"}, "/apiVersion", "must be streampipeline.io/v1alpha1", "write"),
    ({"/kind": "Pipeline"}, "/kind", "must be StreamPipeline", "write StreamPipeline"),
    (
        {"source.kafka.bootstrapServers": ["kafka"]},
        "source.kafka.bootstrapServers[0]",
        "host:port",
        "kafka:9092",
    ),
    (
        {"source.kafka.bootstrapServers": ["k:1", "k:0"]},
        "source.kafka.bootstrapServers[1]",
        "port",
        "kafka:9092",
    ),
    ({"source.kafka.bootstrapServers": []}, "source.kafka.bootstrapServers", "is empty", "at least one"),
    ({"source.kafka.topic": "a b"}, "source.kafka.topic", "name of a Kafka topic", "letters"),
    ({"source.kafka.topic": ".."}, "source.kafka.topic", 'cannot be ".."', "another name"),
    ({"deadLetter.topic": "streampipeline.x"}, "deadLetter.topic", "product's own topics", "another name"),
    (
        {"deadLetter.topic": "readings"},
        "deadLetter.topic",
        "is the topic that is read",
        "readings-dead-letter",
    ),
    (
        {"source.kafka.startTimestamp": 5},
        "source.kafka.startTimestamp",
        "startFrom is Earliest",
        "set startFrom",
    ),
    ({"source.kafka.startFrom": "Timestamp"}, "source.kafka.startTimestamp", "is missing", "milliseconds"),
    (
        {"source.kafka.tls": {"caSecretRef": {"name": "A b", "key": "k"}}},
        "source.kafka.tls.caSecretRef.name",
        "not a DNS name",
        "lower-case",
    ),
    ({"source.format.schemaIds": [3]}, "source.format.schemaIds", "type is Avro", "ConfluentAvro"),
    ({"source.format.schema": GONE}, "source.format", "none of schema and schemaConfigMapRef", "exactly one"),
    (
        {"source.format.schemaConfigMapRef": {"name": "n", "key": "k"}},
        "source.format",
        "more than one",
        "not both",
    ),
    ({"source.format.schema": "{"}, "source.format.schema", "not JSON: ", "Avro schema of a record"),
    ({"source.format.schema": '"string"'}, "source.format.schema", "not of a record", "Avro schema"),
    (
        {"source.format.schema": '{"type": "record", "name": "R"}'},
        "source.format.schema",
        "not an Avro",
        "Avro",
    ),
    (
        {"source.format.schema": '{"type":"record","name":"R","fields":[{"name":"a","type":"strin"}]}'},
        "source.format.schema",
        "there is no type strin",
        "Avro schema",
    ),
    (
        {"source.eventTime.allowedDelaySeconds": 4000},
        "source.eventTime.allowedDelaySeconds",
        "above maxLatenessSeconds (3600), is 4000",
        "at most 3600",
    ),
    ({"source.eventTime.field": "AT"}, "source.eventTime.field", 'no field of the schema: "AT"', "mean at?"),
    ({"source.eventTime.field": "HR"}, "source.eventTime.field", '"HR" is double', "RFC 3339"),
    (
        {"source.eventTime.field": "nanos"},
        "source.eventTime.field",
        "long (timestamp-nanos)",
        "timestamp-micros",
    ),
    ({"source.keyField": "uid"}, "source.keyField", "no field of the schema", "did you mean uuid?"),
    ({"source.keyField": "on"}, "source.keyField", '"on" is boolean', "string, int or long"),
    ({"source.keyField": "uuid"}, "source.keyField", "string (uuid)", "remove logicalType"),
    ({"source.keyField": "source"}, "source.keyField", "tag of each point", "rename"),
    ({"source.keyField": "_id"}, "source.keyField", 'begin with "_"', "rename"),
    ({"aggregates.0.field": "hr"}, "aggregates[0].field", 'no field of the schema: "hr"', "did you mean HR?"),
    ({"aggregates.0.field": "on"}, "aggregates[0].field", '"on" is boolean', "use one of HR, steps"),
    ({"aggregates.0.field": "either"}, "aggregates[0].field", '"either" is union', "use one of HR, steps"),
    ({"aggregates.0.field": "day"}, "aggregates[0].field", "int (date)", "remove logicalType"),
    ({"aggregates.0.field": GONE}, "aggregates[0].field", "is missing: Mean of what?", "add the field"),
    ({"aggregates.1.field": "HR"}, "aggregates[1].field", "Count counts records", "remove field"),
    ({"aggregates.1.name": "HR"}, "aggregates[1].name", "another aggregate", "another name"),
    ({"aggregates.1.name": "id"}, "aggregates[1].name", "the key field", "another name"),
    ({"aggregates.1.name": "_x"}, "aggregates[1].name", "not a usable name", "begin with a letter"),
    *[
        ({"aggregates.1.name": name}, "aggregates[1].name", "a field of each point", "another name")
        for name in (
            "source",
            "n",
            "scored",
            "modelVersion",
            "generation",
            "datetime",
            "hash",
            "pipeline",
            "window_start",
            "window_end",
            "epoch",
            "written_ns",
            "time",
        )
    ],
    ({"model.output": "HR"}, "model.output", "another aggregate", "another name"),
    ({"model.output": "id"}, "model.output", "the key field", "another name"),
    ({"model.output": "scored"}, "model.output", "a field of each point", "another name"),
    ({"model.inputs": ["HR", "Hr"]}, "model.inputs[1]", 'is no aggregate: "Hr"', "did you mean HR?"),
    ({"model.inputs": ["HR", "EDA"]}, "model.inputs[1]", 'is no aggregate: "EDA"', "add an aggregate"),
    ({"model.inputs": ["HR", "HR"]}, "model.inputs[1]", "there twice", "remove one"),
    ({"model.external": GONE}, "model", "none of managed and external", "exactly one"),
    ({"model.managed": {"image": "r/bento:1"}}, "model", "more than one of managed and external", "not both"),
    ({"model.external": GONE, "model.managed": {}}, "model.managed", "none of bundled and image", "exactly"),
    (
        {"model.external": GONE, "model.managed": {"bundled": "nurse-stres"}},
        "model.managed.bundled",
        "no model that ships",
        "did you mean nurse-stress?",
    ),
    (
        {"model.external": GONE, "model.managed": {"bundled": "nurse-stress"}},
        "model.inputs",
        "not those of the model nurse-stress",
        "[X, Y, Z, EDA, HR, TEMP]",
    ),
    ({"model.external.url": "model:3000"}, "model.external.url", "not an http(s) URL", "http://model:3000"),
    ({"model.onUnavailable": {"policy": "UseDefault"}}, "model.onUnavailable.default", "is missing", "add"),
    ({"model.onUnavailable": {"default": 1}}, "model.onUnavailable.default", "policy is Wait", "UseDefault"),
    (
        {"model.onUnavailable": {"policy": "UseDefault", "default": 0.5}},
        "model.onUnavailable.default",
        "whole number, is 0.5",
        "whole",
    ),
    ({"sinks": []}, "sinks", "is empty", "at least one element: Where points are written to."),
    ({"sinks": GONE}, "sinks", "is missing", "add sinks"),
    ({"sinks.0": {}}, "sinks[0]", "none of influxdb and parquet", "exactly one"),
    (
        {"sinks.0.influxdb": {**INFLUX, "managed": {}}},
        "sinks[0]",
        "more than one of",
        "keep influxdb or parquet",
    ),
    ({"sinks.0": {"influxdb": INFLUX}}, "sinks[0].influxdb", "none of managed and external", "exactly one"),
    (
        {"sinks.0": {"influxdb": {**INFLUX, "managed": {"storage": "much"}}}},
        "sinks[0].influxdb.managed.storage",
        "not a quantity",
        "1Gi",
    ),
    (
        {"sinks": [{"parquet": {"path": "/a"}}, {"parquet": {"path": "/b"}}]},
        "sinks[1]",
        "one sink more",
        "keep",
    ),
    (
        {"fallback.dask.workers": {"min": 3, "max": 2}},
        "fallback.dask.workers.min",
        "above max (2), is 3",
        "most 2",
    ),
    ({"fallback.dask.workers": {"min": 3}}, "fallback.dask.workers.min", "above max (2), is 3", "at most 2"),
    (
        {"failover.resumeLatencySeconds": 20},
        "failover.resumeLatencySeconds",
        "must be below latencySeconds (15), is 20",
        "set it to at most 14",
    ),
    (
        {"failover.latencySeconds": 8},
        "failover.resumeLatencySeconds",
        "below latencySeconds (8), is 8",
        "most 7",
    ),
    ({"window": {}}, "window", "none of tumbling and sliding", "exactly one"),
    ({"window.sliding": {"sizeSeconds": 4, "slideSeconds": 2}}, "window", "more than one of", "not both"),
    (
        {"window": {"sliding": {"sizeSeconds": 5, "slideSeconds": 10}}},
        "window.sliding.slideSeconds",
        "above sizeSeconds (5), is 10",
        "at most 5",
    ),
    (
        {"window": {"sliding": {"sizeSeconds": 10, "slideSeconds": 4}}},
        "window.sliding.sizeSeconds",
        "multiple of slideSeconds (4), is 10",
        "set it to 8 or 12",
    ),
]


@pytest.mark.parametrize(("changes", "field", "message", "remedy"), WRONG)
def test_what_is_wrong_is_named_with_its_remedy(
    changes: dict[str, Any], field: str, message: str, remedy: str
) -> None:
    (problem,) = validate(changed(changes))
    assert problem.field == (field[1:] if field.startswith("/") else f"spec.{field}")
    assert message in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"source.kafka.startFrom": "Timestamp", "source.kafka.startTimestamp": 0},
        {"source.format.type": "ConfluentAvro", "source.format.schemaIds": [1, 2]},
        {"source.eventTime.field": "iso"},
        {"source.keyField": "steps"},
        {"aggregates.0.field": "steps"},
        {"window": {"sliding": {"sizeSeconds": 10, "slideSeconds": 10}}},
        {"window.sliding": None},
        {"failover": None},
        {"model.onUnavailable": {"policy": "UseDefault", "default": 0}},
        {"sinks.0": {"influxdb": {**INFLUX, "managed": {}}}},
        {"/metadata.labels": {"a": "b"}, "/status": {"phase": "Normal"}},
    ],
)
def test_what_is_fine_is_left_alone(changes: dict[str, Any]) -> None:
    assert validate(changed(changes)) == []


def test_all_problems_are_told_at_once() -> None:
    found = validate(
        changed(
            {
                "failover": {"latencySeconds": 5, "resumeLatencySeconds": 9, "violation": 2},
                "window.tumbling.sizeSeconds": 0,
                "aggregates.0.field": "EDA",
                "fallback.dask.workers": {"min": 3},
                "sinks": [],
            }
        )
    )
    assert {problem.field for problem in found} == {
        "spec.failover.resumeLatencySeconds",
        "spec.failover.violation",
        "spec.window.tumbling.sizeSeconds",
        "spec.aggregates[0].field",
        "spec.fallback.dask.workers.min",
        "spec.sinks",
    }


def test_a_wrong_value_is_not_wrong_twice() -> None:
    found = validate(changed({"failover": {"latencySeconds": 0, "resumeLatencySeconds": 9}}))
    assert [problem.field for problem in found] == ["spec.failover.latencySeconds"]


def test_a_schema_in_a_config_map_is_checked_when_config_maps_are_known() -> None:
    ref = {"source.format": {"type": "Avro", "schemaConfigMapRef": {"name": "s", "key": "k"}}}
    document = changed(ref)
    assert validate(document) == []
    (problem,) = validate(document, {})
    assert problem.field == "spec.source.format.schemaConfigMapRef.name"
    (problem,) = validate(document, {"s": {"k2": "{}"}})
    assert (problem.field, problem.remedy) == (
        "spec.source.format.schemaConfigMapRef.key",
        "did you mean k2?",
    )
    assert validate(document, {"s": {"k": json.dumps(SCHEMA)}}) == []
    (problem,) = validate(document, {"s": {"k": "[]"}})
    assert problem.field == "spec.source.format.schemaConfigMapRef"


def test_parse_gives_the_typed_resource_or_every_problem() -> None:
    assert parse(FINE).spec.failover.latency_seconds == 15
    with pytest.raises(InvalidPipelineError) as caught:
        parse(changed({"sinks": [], "window": {}}))
    assert [problem.field for problem in caught.value.problems] == ["spec.sinks", "spec.window"]


PIPELINES = sorted(file for file in SAMPLES.glob("*.yaml") if "kind: StreamPipeline" in file.read_text())


@pytest.mark.parametrize("sample", PIPELINES, ids=lambda path: path.name)
def test_every_sample_is_fine(sample: Path) -> None:
    manifest = load(sample)
    for name in manifest.names:
        assert manifest.problems(name) == []
        assert json.loads(manifest.resolve_schema(manifest.pipeline(name)))["type"] == "record"


def test_the_classic_sample_has_the_figures_of_the_system_that_it_replaces() -> None:
    spec = load(SAMPLES / "nurse-stress-classic.yaml").pipeline().spec
    assert (spec.failover.check_interval_seconds, spec.failover.latency_seconds) == (60, 300)
    assert (spec.failover.violations, spec.failover.resume_latency_seconds) == (3, 150)
    assert (spec.fallback.dask.batch_seconds, spec.fallback.dask.batch_records) == (30, 1000)
    assert (spec.model.on_unavailable.policy, spec.model.on_unavailable.default) == ("UseDefault", 1)
