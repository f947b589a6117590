"""The typed resource: what the CustomResourceDefinition will be made from."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from streampipeline.api import fields
from streampipeline.api.spec import Failover, Kafka, StreamPipeline, Window


def _models(model: type[BaseModel] = StreamPipeline) -> list[type[BaseModel]]:
    inner = [fields.submodel(info.annotation) for info in model.model_fields.values()]
    return [model, *(found for one in inner if one is not None for found in _models(one))]


def _nodes(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [node for item in schema for node in _nodes(item)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(node for value in schema.values() for node in _nodes(value))]


def test_every_field_has_a_description() -> None:
    bare = [
        f"{model.__name__}.{name}"
        for model in _models()
        for name, info in model.model_fields.items()
        if not info.description or not info.description.endswith(".")
    ]
    assert bare == []


def test_the_resource_has_no_floating_point_numbers() -> None:
    assert [node for node in _nodes(StreamPipeline.model_json_schema()) if node.get("type") == "number"] == []


def test_durations_are_whole_numbers_of_seconds() -> None:
    seconds = [path for path in fields.all_paths() if path[-1].endswith("Seconds")]
    assert len(seconds) > 15
    for path in seconds:
        info = fields.info_at(path)
        assert info is not None
        assert fields.plain_type(info.annotation) is int, path


@pytest.mark.parametrize("wrong", [5.0, "5", True, None])
def test_a_duration_is_nothing_but_a_whole_number(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Failover.model_validate({"latencySeconds": wrong})


def test_names_are_camel_case_outside_and_snake_case_inside() -> None:
    kafka = Kafka.model_validate({"bootstrapServers": ["[::1]:9092", "kafka.ns.svc:9092"], "topic": "t"})
    assert kafka.bootstrap_servers[0] == "[::1]:9092"
    assert Kafka(bootstrap_servers=["a:1"], topic="t").model_dump(by_alias=True)["bootstrapServers"] == [
        "a:1"
    ]


def test_windows_tell_size_and_distance_in_milliseconds() -> None:
    sliding = Window.model_validate({"sliding": {"sizeSeconds": 60, "slideSeconds": 15}})
    assert (sliding.size_ms, sliding.slide_ms) == (60_000, 15_000)
    tumbling = Window.model_validate({"tumbling": {"sizeSeconds": 5}})
    assert (tumbling.size_ms, tumbling.slide_ms) == (5000, 5000)
