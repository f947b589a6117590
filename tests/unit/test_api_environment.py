"""Variables that override fields of the spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from streampipeline.api.environment import (
    ALIASES,
    RESERVED,
    VARIABLES,
    Override,
    apply_environment,
    overrides,
)
from streampipeline.api.problems import InvalidPipelineError


def test_a_variable_is_the_path_of_its_field() -> None:
    assert VARIABLES["STREAMPIPELINE_SOURCE_EVENT_TIME_MAX_LATENESS_SECONDS"] == (
        "spec", "source", "eventTime", "maxLatenessSeconds",
    )  # fmt: skip
    assert VARIABLES["STREAMPIPELINE_SUSPEND"] == ("spec", "suspend")
    assert "STREAMPIPELINE_FALLBACK_DASK_WORKERS_MIN" in VARIABLES
    assert set(ALIASES.values()) <= set(VARIABLES.values())
    assert not set(RESERVED) & set(VARIABLES)


def test_values_get_the_type_of_their_field() -> None:
    changed = apply_environment(
        {"spec": {"window": None}},
        {
            "STREAMPIPELINE_SUSPEND": "true",
            "STREAMPIPELINE_SOURCE_KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2",
            "STREAMPIPELINE_SOURCE_FORMAT_SCHEMA_IDS": "7",
            "STREAMPIPELINE_WINDOW_TUMBLING_SIZE_SECONDS": "10",
            "STREAMPIPELINE_MODEL_OUTPUT": "5",
            "HOME": "/root",
        },
    )
    assert changed == {
        "spec": {
            "suspend": True,
            "source": {"kafka": {"bootstrapServers": ["a:1", "b:2"]}, "format": {"schemaIds": [7]}},
            "window": {"tumbling": {"sizeSeconds": 10}},
            "model": {"output": "5"},
        }
    }


def test_the_document_itself_is_left_as_it_is() -> None:
    document = {"spec": {"failover": {"latencySeconds": 15}}}
    assert apply_environment(document, {"LATENCY_THRESHOLD": "9"})["spec"]["failover"]["latencySeconds"] == 9
    assert document == {"spec": {"failover": {"latencySeconds": 15}}}


def test_old_names_give_way_to_new_ones() -> None:
    environ = {"LATENCY_THRESHOLD": "9", "BATCH_SIZE": "10", "KAFKA_BOOTSTRAP_SERVERS": "k:1"}
    assert {(one.variable, one.field, str(one.value)) for one in overrides(environ)} == {
        ("LATENCY_THRESHOLD", "spec.failover.latencySeconds", "9"),
        ("BATCH_SIZE", "spec.fallback.dask.batchRecords", "10"),
        ("KAFKA_BOOTSTRAP_SERVERS", "spec.source.kafka.bootstrapServers", "['k:1']"),
    }
    name = "STREAMPIPELINE_FAILOVER_LATENCY_SECONDS"
    assert overrides({"LATENCY_THRESHOLD": "9", name: "4"}) == [
        Override(name, "spec.failover.latencySeconds", 4)
    ]


def test_unknown_variables_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidPipelineError) as caught:
        overrides(
            {
                "STREAMPIPELINE_FAILOVER_LATENCY_SECOND": "4",
                "STREAMPIPELINE_SUSPEND": "maybe",
                "STREAMPIPELINE_FAILOVER_VIOLATIONS": "3.5",
                "STREAMPIPELINE_LOG_LEVEL": "DEBUG",
            }
        )
    told = {problem.field: problem for problem in caught.value.problems}
    assert set(told) == {
        "STREAMPIPELINE_FAILOVER_LATENCY_SECOND",
        "STREAMPIPELINE_SUSPEND",
        "STREAMPIPELINE_FAILOVER_VIOLATIONS",
    }
    assert told["STREAMPIPELINE_FAILOVER_LATENCY_SECOND"].remedy == (
        "did you mean STREAMPIPELINE_FAILOVER_LATENCY_SECONDS?"
    )


def test_the_samples_guide_lists_every_variable_that_is_no_field() -> None:
    guide = (Path(__file__).parents[2] / "samples" / "README.md").read_text()
    assert [name for name in (*RESERVED, *ALIASES) if f"`{name}`" not in guide] == []
