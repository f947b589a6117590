"""The CustomResourceDefinition: what is committed is what the typed resource says, in a form servers take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from streampipeline.api import crd, spec, status
from streampipeline.api.cel import Rule
from streampipeline.api.cel_rules import RULES
from streampipeline.decide import state
from streampipeline.jobconfig import EngineName

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "crds/streampipelines.streampipeline.io.yaml"
ROOT: dict[str, Any] = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

Node = tuple[str, Mapping[str, Any]]


def nodes(node: Mapping[str, Any] = ROOT, path: str = "") -> Iterator[Node]:
    """Every node of the schema with its path, "[]" for the elements of a list."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


def check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streampipeline.api.crd", "--check", str(file)]
    return subprocess.run(
        command, cwd=REPOSITORY / "jobs", capture_output=True, text=True, timeout=60, check=False
    )


def test_the_committed_definition_is_the_generated_one() -> None:
    assert FILE.read_text() == crd.manifest(), f"run python -m streampipeline.api.crd --write {FILE}"


def test_check_tells_a_stale_file_from_a_fresh_one(tmp_path: Path) -> None:
    stale = tmp_path / "stale.yaml"
    stale.write_text(FILE.read_text().replace("maxItems: 64", "maxItems: 65"))
    assert check(FILE).returncode == 0
    found = check(stale)
    assert found.returncode == 1
    assert "is stale" in found.stderr
    assert check(tmp_path / "absent.yaml").returncode == 1


def test_the_schema_is_structural() -> None:
    keywords = {key for _, node in nodes() for key in node}
    allowed = {
        "type", "format", "description", "default", "enum", "pattern", "required", "properties", "items",
        "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    }  # fmt: skip
    assert {key for key in keywords - allowed if not key.startswith("x-kubernetes-")} == set()
    assert [path for path, node in nodes() if "type" not in node] == []
    assert [path for path, node in nodes() if node["type"] == "integer" and "format" not in node] == []
    assert [path for path, node in nodes() if node["type"] == "number"] == []


def test_every_field_is_described() -> None:
    named = [(path, node) for path, node in nodes() if path != "metadata" and not path.endswith("[]")]
    assert len(named) > 100
    assert [path for path, node in named if not node.get("description", "").endswith(".")] == []


def test_lists_and_texts_of_the_spec_are_bounded() -> None:
    """Without bounds a server cannot tell how much a rule costs, and refuses it."""
    unbounded = [
        path
        for path, node in nodes()
        if path.startswith("spec")
        and (
            (node["type"] == "string" and "enum" not in node and "maxLength" not in node)
            or (node["type"] == "array" and "maxItems" not in node)
        )
    ]
    assert unbounded == []


def test_every_rule_and_every_kind_of_list_stands_at_a_field() -> None:
    paths = {path for path, _ in nodes()}
    assert set(RULES) <= paths
    assert set(crd.LISTS) <= paths
    standing = {path for path, node in nodes() if "x-kubernetes-validations" in node}
    assert standing == set(RULES)


def test_the_default_of_a_group_is_that_of_its_fields() -> None:
    """Or a group that is absent would not be as one that is empty."""

    def filled(node: Mapping[str, Any]) -> dict[str, Any]:
        children = node["properties"].items()
        return {name: child["default"] for name, child in children if "default" in child}

    groups = [(path, node) for path, node in nodes() if node["type"] == "object" and "default" in node]
    assert len(groups) > 5
    assert [path for path, node in groups if node["default"] != filled(node)] == []
    by_path = dict(groups)
    assert by_path["spec.failover"]["default"] == spec.Failover().model_dump(by_alias=True)
    assert by_path["spec.fallback"]["default"] == spec.Fallback().model_dump(by_alias=True)


def test_a_message_is_a_text_or_an_expression() -> None:
    assert Rule("self.a", 'is "b"; do c').as_dict() == {
        "rule": "self.a", "message": 'is "b"; do c', "reason": "FieldValueInvalid",
    }  # fmt: skip
    assert Rule("self.a", '"{self.b}" is 5 % of {self.c}', ".b", "FieldValueForbidden").as_dict() == {
        "rule": "self.a",
        "messageExpression": '"\\"%s\\" is 5 %% of %s".format([self.b, self.c])',
        "fieldPath": ".b",
        "reason": "FieldValueForbidden",
    }


@pytest.mark.parametrize(
    ("told", "decided"),
    [
        (status.StatusPhase, state.Phase),
        (status.StatusTrigger, state.TriggerKind),
        (status.StatusConditionStatus, state.ConditionStatus),
    ],
)
def test_the_status_has_the_words_of_the_decisions(told: type[StrEnum], decided: type[StrEnum]) -> None:
    assert [member.value for member in told] == [member.value for member in decided]


def test_the_status_knows_the_engines_that_results_come_from() -> None:
    assert {member.value for member in status.StatusEngine} == {EngineName.FLINK, EngineName.DASK}


def test_a_hand_over_is_told_with_all_that_is_known_of_it() -> None:
    told = {name for name, _ in status.StatusHandOver.model_fields.items()}
    assert told == set(state.HandOver.model_fields)


def test_a_moment_is_exact_to_the_millisecond() -> None:
    assert status.moment(1_753_000_000_007) == datetime(2025, 7, 20, 8, 26, 40, 7000, tzinfo=UTC)
    condition = status.StatusCondition(
        type="Ready",
        status=status.StatusConditionStatus.TRUE,
        reason="ResultsFresh",
        message="",
        last_transition_time=status.moment(1_753_000_000_000),
    )
    written = condition.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written["lastTransitionTime"] == "2025-07-20T08:26:40Z"
    assert status.StatusCondition.model_validate(written) == condition
