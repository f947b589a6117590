"""What an API server makes of the CustomResourceDefinition: status, columns, explain, rights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.support.api_server import ApiServer
from tests.support.pipelines import Pipelines, pipelines_of
from tests.unit.test_crd import nodes
from tests.unit.test_validate import FINE

from streampipeline.api import crd
from streampipeline.api.spec import GROUP, KIND, VERSION
from streampipeline.api.status import StreamPipelineStatus

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pipelines(api_server: ApiServer) -> Iterator[Pipelines]:
    with pipelines_of(api_server) as pipelines:
        yield pipelines


def sample(node: Mapping[str, Any]) -> Any:
    """A value in which every declared field is there."""
    if "enum" in node:
        return node["enum"][-1]
    if node["type"] == "object":
        if node.get("x-kubernetes-preserve-unknown-fields"):
            return {"anything": {"deep": [1, {"a": "b"}]}}
        return {name: sample(child) for name, child in node["properties"].items()}
    if node["type"] == "array":
        return [sample(node["items"])]
    if node["type"] == "integer":
        return 7
    return "2026-01-02T03:04:05Z" if node.get("format") == "date-time" else "Words"


def test_the_status_keeps_every_field_and_is_shown_in_columns(
    api_server: ApiServer, pipelines: Pipelines
) -> None:
    name = pipelines.live(FINE)
    path = f"{pipelines.path}/{name}"
    document = pipelines.client.get(path).json()
    (schema,) = (node for where, node in nodes() if where == "status")
    full = sample(schema)
    full["conditions"][0] |= {"type": "Ready", "status": "True", "reason": "ResultsFresh"}
    StreamPipelineStatus.model_validate(full)
    document["status"] = full
    document["spec"]["suspend"] = True
    answer = pipelines.client.put(f"{path}/status", json=document, params={"fieldValidation": "Strict"})
    assert answer.status_code == 200, answer.text
    stored = pipelines.client.get(path).json()
    assert stored["status"] == full
    assert stored["spec"]["suspend"] is False, "the status subresource writes nothing else"

    heads, row = columns(api_server.kubectl("get", "sp", name, "-n", pipelines.namespace).stdout)
    assert heads == ["NAME", "PHASE", "READY", "ACTIVE", "LATENCY", "WORKERS", "AGE"]
    assert row[:6] == [name, "Resuming", "True", "dask-fallback", "7", "7"]
    heads, row = columns(
        api_server.kubectl("get", "sp", name, "-n", pipelines.namespace, "-o", "wide").stdout
    )
    assert heads[7:] == ["EPOCH", "FRONTIER", "REASON", "FLINKLAG", "DASKLAG", "REPAIRS", "DEADLETTERS"]
    assert row[7:] == ["7", "2026-01-02T03:04:05Z", "ResultsFresh", "7", "7", "7", "7"]
    assert name in api_server.kubectl("get", "streaming", "-n", pipelines.namespace).stdout


def columns(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_condition_of_one_owner_leaves_those_of_another(
    api_server: ApiServer, pipelines: Pipelines
) -> None:
    name = pipelines.live(FINE)
    for owner, kind in (("one", "Ready"), ("two", "Exact")):
        condition = {
            "type": kind, "status": "True", "reason": "Good", "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }  # fmt: skip
        part = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name},
            "status": {"conditions": [condition]},
        }
        api_server.kubectl(
            "apply", "--server-side", f"--field-manager={owner}", "--subresource=status",
            "-n", pipelines.namespace, "-f", "-", stdin=yaml.safe_dump(part),
        )  # fmt: skip
    stored = api_server.get("sp", name, "-n", pipelines.namespace)
    assert {condition["type"] for condition in stored["status"]["conditions"]} == {"Ready", "Exact"}
    api_server.kubectl(
        "wait", "--for=condition=Ready", f"sp/{name}", "-n", pipelines.namespace, "--timeout=5s"
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec.failover.latencySeconds", "above which a check is a violation"),
        ("spec.source.kafka.sasl.credentialsSecretRef.name", "Name of the Secret"),
        ("spec.aggregates.function", "number of records"),
        ("status.conditions.reason", "One word in CamelCase"),
        ("status.handOvers.boundary", "windows that end after it"),
    ],
)
def test_explain_tells_of_a_field(api_server: ApiServer, path: str, words: str) -> None:
    told = api_server.kubectl("explain", f"{crd.PLURAL}.{path}").stdout
    assert words in " ".join(told.split())


def test_what_explain_reads_describes_every_field(pipelines: Pipelines) -> None:
    schemas = pipelines.client.get(f"/openapi/v3/apis/{GROUP}/{VERSION}").json()["components"]["schemas"]
    (published,) = (
        schema
        for schema in schemas.values()
        if [kind["kind"] for kind in schema.get("x-kubernetes-group-version-kind", [])] == [KIND]
    )
    fields = [(path, node) for path, node in nodes(published) if not path.endswith("[]") and path]
    assert {path for path, _ in fields} >= {path for path, _ in nodes() if path and not path.endswith("[]")}
    assert [path for path, node in fields if not node.get("description")] == []


def test_an_account_has_no_rights_but_its_own(api_server: ApiServer, pipelines: Pipelines) -> None:
    account = api_server.service_account(pipelines.namespace, "reader")
    arguments = ("get", "sp", "-n", pipelines.namespace)
    refused = api_server.kubectl(*arguments, kubeconfig=account, check=False)
    assert refused.returncode != 0
    assert "forbidden" in refused.stderr
    api_server.kubectl(
        "create", "role", "reader", "-n", pipelines.namespace, "--verb=get,list", f"--resource={crd.NAME}"
    )
    api_server.kubectl(
        "create", "rolebinding", "reader", "-n", pipelines.namespace, "--role=reader",
        f"--serviceaccount={pipelines.namespace}:reader",
    )  # fmt: skip
    api_server.kubectl(*arguments, kubeconfig=account)
    assert api_server.kubectl("delete", *arguments[1:], "--all", kubeconfig=account, check=False).returncode
