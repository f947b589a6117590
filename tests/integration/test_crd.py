"""The CustomResourceDefinition on a real API server: what it takes, fills in and refuses."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.api_server import ApiServer
from tests.support.pipelines import Pipelines, causes, pipelines_of
from tests.unit.test_validate import GONE, WRONG, changed

from streampipeline.api.cel_rules import RULES
from streampipeline.api.load import load
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.api.validate import validate

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[2] / "samples"
FILES = ["nurse-stress", "nurse-stress-classic", "hospital-vitals"]
OWN_WORDS = re.compile(
    "should (be|match|have)|must be of type|may not be|Too long|Too many|Unsupported value|Duplicate value|"
    "Required value$|unknown field|RFC 1123|expected int"
)
"""How the server itself says that a single field is wrong."""


@pytest.fixture(scope="module")
def pipelines(api_server: ApiServer) -> Iterator[Pipelines]:
    with pipelines_of(api_server) as pipelines:
        yield pipelines


def as_template(message: str) -> re.Pattern[str]:
    """Matches what a rule says, whatever the values in it."""
    parts = re.split(r"\{.+?\}", message)
    return re.compile(".*".join(re.escape(part) for part in parts))


# Beside WRONG of test_validate: what that table has no case for, as only the server says it so.
MORE: list[dict[str, Any]] = [
    {"source.kafka.topic": "."},
    {"source.kafka.startFrom": "Latest", "source.kafka.startTimestamp": 1},
    {"source.kafka.bootstrapServers": ["k:65536"]},
    {"model.external": GONE, "model.managed": {"bundled": "nurse-stress", "image": "r/bento:1"}},
    {"model.onUnavailable": {"policy": "Wait", "default": 1}},
    {"failover.latencySeconds": 1, "failover.resumeLatencySeconds": 1},
]


def knowable(changes: dict[str, Any]) -> bool:
    """Whether a server can see it: without what is in the Avro schema, or named by kind."""
    document = changed(changes)
    return not {"/apiVersion", "/kind"} & set(changes) and bool(validate(without_schema(document)))


def without_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its schema somewhere else, where nobody can look."""
    document = copy.deepcopy(document)
    formats = document["spec"].get("source", {}).get("format", {})
    if "schema" in formats and "schemaConfigMapRef" not in formats:
        del formats["schema"]
        formats["schemaConfigMapRef"] = {"name": "schema", "key": "avsc"}
    return document


Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Of all values in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*at, key)
        yield from places(child, (*at, key))


def value_at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


BAD = [changes for changes, *_ in WRONG if knowable(changes)] + MORE


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_what_validate_refuses_the_server_refuses(pipelines: Pipelines, changes: dict[str, Any]) -> None:
    answer = pipelines.create(changed(changes), dry=True)
    assert answer.status_code in (400, 422), answer.text
    found = causes(answer)
    for problem in validate(without_schema(changed(changes))):
        assert any(
            problem.field.startswith(field) and (problem.message in message or OWN_WORDS.search(message))
            for field, message in found
        ), (problem, found)


def test_each_rule_is_seen_refusing(pipelines: Pipelines) -> None:
    said = [message for changes in BAD for _, message in causes(pipelines.create(changed(changes), dry=True))]
    silent = [
        rule.message
        for rules in RULES.values()
        for rule in rules
        if "oldSelf" not in rule.rule and not any(as_template(rule.message).search(text) for text in said)
    ]
    assert silent == []


DOCUMENTS = [without_schema(load(SAMPLES / f"{file}.yaml").document()) for file in FILES]
PLACES = [(number, place) for number, document in enumerate(DOCUMENTS) for place in places(document["spec"])]
VALUES = [value_at(DOCUMENTS[number]["spec"], place) for number, place in PLACES]
odd: st.SearchStrategy[object] = (
    st.sampled_from(VALUES)
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from(
        [None, True, 1.5, "", [], {}, "HR\n", "_x", "source", "kafka:70000", "streampipeline.x"]
    )
    | st.text()
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), odd)
def test_of_one_odd_value_the_server_thinks_as_validate_does(
    pipelines: Pipelines, where: tuple[int, Place], value: object
) -> None:
    number, (*parents, last) = where
    document = copy.deepcopy(DOCUMENTS[number])
    value_at(document["spec"], tuple(parents))[last] = value
    answer = pipelines.create(document, dry=True)
    assert (answer.status_code == 201) == (validate(document) == []), answer.text


@pytest.mark.parametrize("file", FILES)
def test_a_sample_is_taken_and_its_defaults_are_filled_in(
    api_server: ApiServer, pipelines: Pipelines, file: str
) -> None:
    manifest = load(SAMPLES / f"{file}.yaml")
    place = ("-n", pipelines.namespace)
    api_server.kubectl("apply", "--server-side", *place, "-f", str(SAMPLES / f"{file}.yaml"))
    stored = api_server.get("streampipeline", file, *place)
    assert StreamPipelineSpec.model_validate(stored["spec"]) == manifest.pipeline().spec
    assert stored["spec"]["failover"]["resumeTimeoutSeconds"] == 120
    assert stored["spec"]["fallback"]["dask"]["batchSeconds"] >= 1


INFLUX = {"bucket": "b", "measurement": "m", "managed": {}}
FIXED = "cannot change on a live pipeline"

# The pipeline that is there; what is changed; where and what the server says.
CHANGES: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"source.kafka.topic": "other"}, "spec.source.kafka.topic", FIXED),
    ({}, {"source.keyField": "steps"}, "spec.source.keyField", FIXED),
    ({}, {"window.tumbling.sizeSeconds": 10}, "spec.window", FIXED),
    ({}, {"source.kafka.startFrom": "Latest"}, "spec.source.kafka.startFrom", "only the first start"),
    (
        {},
        {"source.kafka.startFrom": "Timestamp", "source.kafka.startTimestamp": 5},
        "spec.source.kafka.startTimestamp",
        "only the first start",
    ),
    ({}, {"source.format.schema": "{}"}, "spec.source.format", FIXED),
    ({}, {"source.eventTime.allowedDelaySeconds": 3}, "spec.source.eventTime", FIXED),
    ({}, {"deadLetter.topic": "elsewhere"}, "spec.deadLetter.topic", "the audit looks"),
    ({}, {"sinks.0.parquet.path": "/other"}, "spec.sinks", "path on a live pipeline"),
    ({}, {"sinks.0": {"influxdb": INFLUX}}, "spec.sinks", "kind"),
    (
        {"sinks.0": {"influxdb": INFLUX}},
        {"sinks.0": {"influxdb": {**INFLUX, "bucket": "c"}}},
        "spec.sinks",
        "bucket",
    ),
    (
        {"sinks.0": {"influxdb": INFLUX}},
        {"sinks.0": {"influxdb": {**INFLUX, "managed": {"storage": "2Gi"}}}},
        "spec.sinks",
        "managed.storage",
    ),
]
EXTERNAL: dict[str, Any] = {
    "bucket": "b",
    "measurement": "m",
    "external": {"url": "http://influx:8086", "org": "o", "tokenSecretRef": {"name": "t", "key": "k"}},
}
FREE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"suspend": True}),
    ({}, {"source.kafka.bootstrapServers": ["kafka-2:9092"]}),
    ({}, {"source.kafka.sasl": {"mechanism": "Plain", "credentialsSecretRef": {"name": "s"}}}),
    ({}, {"source.kafka.tls": {}}),
    ({}, {"aggregates.0.decimals": 3}),
    ({}, {"model.external.url": "http://another:3000", "model.version": "stress-2"}),
    ({}, {"model.external": GONE, "model.managed": {"image": "r/b:1"}}),
    ({}, {"model.inputs": ["HR", "count"], "model.output": "stress", "model.outputType": "Number"}),
    ({}, {"model.onUnavailable": {"policy": "UseDefault", "default": 1}}),
    ({}, {"model.timeoutSeconds": 5, "model.attempts": 1}),
    ({}, {"primary.flink.parallelism": 4}),
    ({}, {"fallback.dask.workers": {"min": 1, "max": 4}}),
    ({}, {"failover.latencySeconds": 60}),
    (
        {"sinks.0": {"influxdb": EXTERNAL}},
        {
            "sinks.0": {
                "influxdb": {
                    **EXTERNAL,
                    "writeTimeoutSeconds": 20,
                    "external": {**EXTERNAL["external"], "tokenSecretRef": {"name": "u", "key": "k"}},
                }
            }
        },
    ),
]


@pytest.mark.parametrize(("base", "changes", "field", "message"), CHANGES)
def test_what_results_rest_on_cannot_change(
    pipelines: Pipelines, base: dict[str, Any], changes: dict[str, Any], field: str, message: str
) -> None:
    name = pipelines.live(changed(base))
    answer = pipelines.change(changed({**base, "/metadata.name": name, **changes}))
    assert answer.status_code == 422, answer.text
    assert any(where == field and message in words for where, words in causes(answer)), causes(answer)


def test_each_rule_about_changes_is_seen_refusing(pipelines: Pipelines) -> None:
    said: set[tuple[str, str]] = set()
    for base, changes, _, _ in CHANGES:
        name = pipelines.live(changed(base))
        said |= set(causes(pipelines.change(changed({**base, "/metadata.name": name, **changes}))))
    silent = [
        (path, rule.field)
        for path, rules in RULES.items()
        for rule in rules
        if "oldSelf" in rule.rule and (path + rule.field, f"Forbidden: {rule.message}") not in said
    ]
    assert silent == []


@pytest.mark.parametrize(("base", "changes"), FREE)
def test_the_rest_may_change(pipelines: Pipelines, base: dict[str, Any], changes: dict[str, Any]) -> None:
    name = pipelines.live(changed(base))
    answer = pipelines.change(changed({**base, "/metadata.name": name, **changes}))
    assert answer.status_code == 200, answer.text
