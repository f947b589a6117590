"""Every field of a live pipeline's spec is edited: it becomes what docs/edits.md says, and results go on."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.mortal_operator import Pipeline
from tests.support.operator_process import install_dask_definitions
from tests.support.outside import Work
from tests.support.spec_edits import BASE, EDITS
from tests.support.tenant import sample

from streampipeline.api.cel import ANEW
from streampipeline.api.fields import all_paths, info_at, submodel
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.jobconfig import JobConfig
from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Object

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs/edits.md"
AT_ONCE, OBJECTS, NEXT_START, REFUSED = "at once", "objects at once", "next start", "refused"
GENERATION = "next generation"


def fields() -> list[str]:
    """Every field of the spec that holds a value, those of listed objects too."""
    return [
        ".".join(path[1:])
        for path in all_paths()
        if path[0] == "spec" and submodel(info_at(path).annotation) is None  # type: ignore[union-attr]
    ]


def told() -> dict[str, str]:
    """What the page says of each field."""
    return dict(re.findall(r"^\| `([\w.]+)` \| ([\w ]+?) \|", PAGE.read_text(), re.MULTILINE))


def test_the_page_and_this_test_know_every_field() -> None:
    assert list(told()) == fields(), "a row for each field, in the order of the definition"
    assert set(EDITS) == set(fields())
    assert set(told().values()) == {AT_ONCE, OBJECTS, NEXT_START, GENERATION, REFUSED}


def put(spec: Object, field: str, value: Any) -> None:
    """Set one field, or remove it (None); of a list's first element where the path leads into one."""
    *steps, last = field.split(".")
    for step in steps:
        inner: Any = spec.setdefault(step, {})
        spec = inner[0] if isinstance(inner, list) else inner
    if value is None:
        del spec[last]
    else:
        spec[last] = value


class Live:
    """A pipeline in Normal, whose Flink works."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        for name in ("one", "two"):
            keys = dict.fromkeys(("a", "b", "username", "password"), f"{name}-secret")
            metadata = {"name": name, "namespace": namespace}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
            kube.Kube.of(server.kubeconfig).create(secret)
        self.pipeline = Pipeline(
            server.kubeconfig, namespace, folder, patch, **merged(BASE[namespace.partition("-")[0]])
        )
        self.pipeline.settle("Normal")

    def frontier(self) -> int:
        return max(row.frontier for row in self.pipeline.outside.rows.values())

    def edit(self, **values: Any) -> str:
        """As a user does. Returns why the API server refuses it; empty when it does not."""
        body = self.pipeline.body()
        for field, value in values.items():
            put(body["spec"], field, value)
        try:
            self.pipeline.replace(body)
        except ApiException as error:
            return str(error.reason)
        return ""

    def objects(self) -> dict[tuple[str, str], int]:
        """Generations of what the pipeline is made of."""
        return {
            (kind.kind, body["metadata"]["name"]): body["metadata"].get("generation", 0)
            for kind in (
                kube.DEPLOYMENT,
                kube.SERVICE,
                kube.STATEFUL_SET,
                kube.NETWORK_POLICY,
                kube.DASK_CLUSTER,
            )
            for body in self.pipeline.children(kind)
        }

    def job(self) -> Work:
        """The one that runs."""
        [job] = [job for job in self.pipeline.outside.flink_jobs if not job.ended]
        return job

    def becomes(self, field: str, value: Any, also: Object | None = None) -> str:
        """What becomes of an edit, as the page says it."""
        before, job, spec = self.objects(), self.job(), self.pipeline.body()["spec"]
        generation = self.pipeline.stored()["generation"]
        if field == "model.version":
            self.pipeline.outside.model_version = value
        refusal = self.edit(**{field: value}, **(also or {}))
        if refusal:
            named = re.findall(r"\bspec\.([A-Za-z.]+)", refusal)
            assert any(field.startswith(name) for name in named), f"{field}: {refusal}"
            assert ANEW in refusal, f"{field}: {refusal}"
            assert self.pipeline.body()["spec"] == spec
            return REFUSED
        self.turns(8)
        if self.pipeline.condition("SpecAccepted") == ("False", "InvalidSpec"):
            message = self.pipeline.told[-1][1]
            assert "choose another name" in message, f"{field}: {message}"
            self.edit(**{field: None})
            self.turns(8)
            found = REFUSED
        elif self.pipeline.stored()["generation"] > generation or self.pipeline.stored()["change"]:
            self.pipeline.settle("Normal")
            assert self.pipeline.violations == []
            assert self.pipeline.stored()["generation"] == generation + 1
            assert self.pipeline.condition("GenerationCurrent")[0] == "True", field
            assert self.job().epoch > job.epoch
            job, found = self.job(), GENERATION
        else:
            found = OBJECTS if self.objects() != before else NEXT_START
            found = AT_ONCE if field.startswith("failover.") else found
        assert self.pipeline.condition("SpecAccepted") == ("True", "Accepted"), field
        assert self.job() == job, field
        return found

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.pipeline.turn()
        assert self.pipeline.violations == []


def merged(changes: Object) -> Object:
    """Members of the sample's spec, with these changes."""
    spec: Object = sample()["spec"]

    def merge(target: Object, more: Object) -> None:
        for key, value in more.items():
            if isinstance(value, dict) and isinstance(target.get(key), dict):
                merge(target[key], value)
            elif value is None:
                target.pop(key, None)
            else:
                target[key] = value

    merge(spec, copy.deepcopy(changes))
    return spec


@pytest.fixture(params=["managed", "external"])
def live(
    api_server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Live:
    install_dask_definitions(api_server)
    return Live(api_server, api_server.namespace(request.param), tmp_path, monkeypatch)


def test_every_edit_is_applied_or_refused_and_results_go_on(live: Live) -> None:
    verdicts, wrong = told(), {}
    base = live.pipeline.namespace.partition("-")[0]
    for field, (where, value, *also) in EDITS.items():
        if where != base or field == "suspend":
            continue
        frontier = live.frontier()
        found = live.becomes(field, value, *also)
        if verdicts[field] != found:
            wrong[field] = found
        live.pipeline.clock.sleep(5)
        live.turns(1)
        assert live.frontier() > frontier, f"no result after the edit of {field}"
        assert live.pipeline.phase == "Normal"

    assert wrong == {}, "the page says otherwise"

    # A job that begins now is told all of it.
    before = live.job().epoch
    live.pipeline.outside.flink_jobs.clear()
    live.pipeline.settle("Fallback")
    assert live.pipeline.violations == []
    [driver] = live.pipeline.outside.drivers.values()
    text = live.pipeline.files()[f"{driver.epoch}-{driver.engine.value}.json"]
    spec = StreamPipelineSpec.model_validate(live.pipeline.body()["spec"])
    given = JobConfig.model_validate_json(text).spec
    assert given.model_copy(update={"failover": spec.failover}) == spec, "thresholds are the operator's"
    assert driver.epoch > before


def test_a_suspended_pipeline_goes_on_where_it_was(live: Live) -> None:
    live.edit(suspend=True)
    live.turns(8)
    assert live.pipeline.condition("Ready") == ("False", "Suspended")
    assert all(job.ended for job in live.pipeline.outside.flink_jobs)
    frontier = live.frontier()
    live.edit(suspend=False)
    live.pipeline.settle("Normal")
    live.turns(2)
    assert live.frontier() > frontier


@pytest.mark.parametrize("live", ["managed"], indirect=True)
def test_a_valid_edit_after_an_invalid_one_returns_to_the_earlier_state(live: Live) -> None:
    decisions, objects = live.pipeline.stored(), live.objects()
    [job] = live.pipeline.outside.flink_jobs
    missing = {"caSecretRef": {"name": "not-there", "key": "ca.crt"}}
    live.edit(**{"source.kafka.tls": missing})
    live.edit(**{"primary.flink.parallelism": 8})
    live.turns(8)
    assert live.pipeline.condition("SpecAccepted") == ("False", "SecretMissing")
    [message] = {message for reason, message in live.pipeline.told if reason == "SecretMissing"}
    assert "spec.source.kafka.tls.caSecretRef" in message
    assert "create it" in message
    assert live.objects() == objects, "the last valid spec is in force"

    body = live.pipeline.body()
    del body["spec"]["source"]["kafka"]["tls"]
    body["spec"]["primary"]["flink"]["parallelism"] = 2
    live.pipeline.replace(body)
    live.turns(8)
    assert live.pipeline.condition("SpecAccepted") == ("True", "Accepted")
    assert live.objects() == objects
    assert live.pipeline.outside.flink_jobs == [job]
    assert not job.ended
    after = live.pipeline.stored()
    volatile = ("checks", "conditions")
    assert {k: v for k, v in after.items() if k not in volatile} == {
        k: v for k, v in decisions.items() if k not in volatile
    }
