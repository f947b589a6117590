"""Files as kubectl takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from streampipeline.api.load import load
from streampipeline.api.problems import InvalidPipelineError, Problem

SAMPLE = (Path(__file__).parents[2] / "samples" / "nurse-stress.yaml").read_text()
SECRETS = """---
apiVersion: v1
kind: Secret
metadata: {name: token}
data: {a: aGVsbG8=, b: aGVsbG8=}
stringData: {b: plain}
---
apiVersion: v1
kind: Namespace
metadata: {name: wards}
"""


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidPipelineError) as caught:
        load(text)
    return caught.value.problems


def test_config_maps_and_secrets_of_the_file_are_resolved() -> None:
    manifest = load(SAMPLE + SECRETS)
    pipeline = manifest.pipeline()
    assert pipeline.metadata.name == "nurse-stress"
    assert json.loads(manifest.resolve_schema(pipeline))["name"] == "NurseReading"
    assert manifest.secret("token", "a") == "hello"
    assert manifest.secret("token", "b") == "plain"
    assert "plain" not in repr(manifest)
    with pytest.raises(InvalidPipelineError, match='has no key "c"; its keys: a, b'):
        manifest.secret("token", "c")
    with pytest.raises(InvalidPipelineError, match='no Secret "other"'):
        manifest.secret("other", "a")


def test_one_of_several_pipelines_is_chosen_by_its_name() -> None:
    second = SAMPLE.replace("name: nurse-stress\n", "name: nurse-night\n").split("---\n")[1]
    manifest = load(SAMPLE + "---\n" + second)
    assert manifest.names == ["nurse-stress", "nurse-night"]
    assert manifest.pipeline("nurse-night").metadata.name == "nurse-night"
    with pytest.raises(InvalidPipelineError, match="several pipelines: nurse-stress, nurse-night; say which"):
        manifest.pipeline()
    with pytest.raises(InvalidPipelineError, match="did you mean nurse-night"):
        manifest.pipeline("nurse-nihgt")


def test_the_environment_is_the_layer_above_the_file() -> None:
    assert load(SAMPLE).pipeline().spec.failover.latency_seconds == 15
    spec = load(SAMPLE).pipeline(environ={"STREAMPIPELINE_FAILOVER_LATENCY_SECONDS": "25"}).spec
    assert (spec.failover.latency_seconds, spec.failover.violations) == (25, 3)
    (problem,) = load(SAMPLE).problems(environ={"LATENCY_THRESHOLD": "8"})
    assert problem.field == "spec.failover.resumeLatencySeconds"


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("a: [1, 2\nb: 3\n", "line 2, column 2", "is not YAML"),
        ("kind: x\n\tb: 3\n", "line 2, column 1", "is not YAML"),
        ("kind: a\nx: {b: 1,\n  b: 2}\n", "line 3, column 3", '"b" is there twice'),
        ("- a\n", "document 1", "not a mapping"),
        ("", "", "holds no StreamPipeline"),
        ("kind: ConfigMap\nmetadata: {name: a}\n", "", "holds no StreamPipeline"),
        ("kind: StreamPipline\n", "kind", 'is "StreamPipline"'),
        ("kind: Job\napiVersion: streampipeline.io/v1alpha1\n", "kind", 'is "Job"'),
        (SAMPLE + "---\n" + SAMPLE.split("---\n")[1], "metadata.name", "two documents"),
        (SAMPLE + SECRETS.replace("aGVsbG8=", "a!b"), "Secret token: data.a", "Base64"),
        (
            SAMPLE + "---\nkind: ConfigMap\nmetadata: {name: n}\ndata: {a: 1}\n",
            "ConfigMap n: data.a",
            "a text",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_where(text: str, field: str, message: str) -> None:
    problem = _problems(text)[0]
    assert problem.field == field
    assert message in problem.message


def test_a_pipeline_without_a_name_is_a_problem_and_not_a_crash() -> None:
    document = yaml.safe_load(SAMPLE.split("---\n")[1])
    del document["metadata"]["name"]
    manifest = load(yaml.safe_dump(document))
    assert "metadata.name" in {problem.field for problem in manifest.problems()}
    del document["metadata"]
    assert "metadata" in {problem.field for problem in load(yaml.safe_dump(document)).problems()}
