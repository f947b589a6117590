"""The chart: what Helm makes of values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.rendered import (
    ALL_VALUES,
    BARE,
    CHART,
    CLUSTER,
    DASK,
    EVERYTHING,
    NAMESPACED,
    OPERATOR,
    RELEASE,
    Object,
    helm,
    named,
    of_kind,
    rights,
    template,
)

import chart
from streampipeline_operator import release
from streampipeline_operator.main import FINALIZER
from streampipeline_operator.settings import IMAGES, Settings
from toolchain import images


@pytest.mark.parametrize("values", ALL_VALUES)
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    done = helm("lint", "--strict", str(CHART), values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [{}, NAMESPACED, EVERYTHING])
def test_the_operator_reads_its_settings_from_what_the_chart_sets(values: dict[str, Any]) -> None:
    pod = named(template(values), "Deployment", OPERATOR)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    found = {entry["name"]: entry.get("value", "from the pod") for entry in container["env"]}
    settings = Settings.from_environment(found)
    assert settings.watch_namespaces == tuple(values.get("watchNamespaces", ()))
    assert settings.pull_secrets == tuple(values.get("image", {}).get("pullSecrets", ()))
    assert settings.metrics_port == container["ports"][0]["containerPort"]
    assert settings.service_account == pod["serviceAccountName"]
    assert settings.workdir.as_posix() in [mount["mountPath"] for mount in container["volumeMounts"]]
    memory = {volume["name"] for volume in pod["volumes"] if volume["emptyDir"].get("medium") == "Memory"}
    assert memory == {"work"}


def test_images_are_made_from_registry_and_tag_or_named_in_full() -> None:
    found = {**_images(template(EVERYTHING))}
    assert found.pop("influxdb") == "influxdb:2.7"
    assert found == {
        name: f"registry.example.com/team/streampipeline/{name}:7"
        for name in ("operator", "dask-operator", "flink", "dask", "model-server")
    }
    assert _images(template())["flink"] == "streampipeline/flink:0.1.0"


def test_every_image_that_is_built_here_can_be_put_in() -> None:
    references = {image.name: f"streampipeline/{image.name}:tag-of-{image.name}" for image in images.IMAGES}
    found = _images(template(chart.image_values(references)))
    assert found == {name: reference for name, reference in references.items() if name != "kafka"}
    assert {"operator", "dask-operator", *IMAGES} == set(found)
    elsewhere = _images(template(chart.image_values(references, "registry.example.com/team/")))
    assert elsewhere["flink"] == "registry.example.com/team/streampipeline/flink:tag-of-flink"


def _images(objects: list[Object]) -> dict[str, str]:
    deployments = {body["metadata"]["name"]: body for body in of_kind(objects, "Deployment")}
    container = deployments[OPERATOR]["spec"]["template"]["spec"]["containers"][0]
    prefix = "STREAMPIPELINE_IMAGE_"
    return {
        "operator": container["image"],
        "dask-operator": deployments[DASK]["spec"]["template"]["spec"]["containers"][0]["image"],
    } | {
        entry["name"].removeprefix(prefix).lower().replace("_", "-"): entry["value"]
        for entry in container["env"]
        if entry["name"].removeprefix(prefix).lower().replace("_", "-") in IMAGES
    }


@pytest.mark.parametrize("values", ALL_VALUES)
def test_pods_may_run_in_restricted_namespaces(values: dict[str, Any]) -> None:
    pods = list(_pods(template(values)))
    assert len(pods) == (2 if values is BARE else 3)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_pods_go_where_they_are_told() -> None:
    for pod in _pods(template(EVERYTHING)):
        assert pod["nodeSelector"] == {"disk": "ssd"}
        assert pod["tolerations"] == EVERYTHING["tolerations"]
        assert pod["priorityClassName"] == "high"
        assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def _pods(objects: list[Object]) -> Iterator[Object]:
    for body in of_kind(objects, "Deployment", "Job"):
        yield body["spec"]["template"]["spec"]


@pytest.mark.parametrize("values", ALL_VALUES)
def test_selectors_find_the_pods_of_one_part(values: dict[str, Any]) -> None:
    objects = template(values)
    labels = {
        body["metadata"]["name"]: body["spec"]["template"]["metadata"]["labels"]
        for body in of_kind(objects, "Deployment", "Job")
    }
    selectors = {
        b["metadata"]["name"]: b["spec"]["selector"]["matchLabels"] for b in of_kind(objects, "Deployment")
    }
    for name, selector in selectors.items():
        assert [pod for pod, found in labels.items() if selector.items() <= found.items()] == [name]
    for body in of_kind(objects, "PodDisruptionBudget"):
        assert body["spec"]["selector"]["matchLabels"] == selectors[OPERATOR]
    for body in of_kind(objects, "Service"):
        assert body["spec"]["selector"] == selectors[OPERATOR]
    for body in of_kind(objects, "NetworkPolicy"):
        assert body["spec"]["podSelector"]["matchLabels"] == selectors[body["metadata"]["name"]]


def test_what_is_optional_is_there_when_asked_for() -> None:
    def kinds(values: dict[str, Any]) -> set[str]:
        return {body["kind"] for body in template(values)}

    optional = {"PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"}
    assert not optional & kinds({})
    assert optional <= kinds(EVERYTHING)
    assert "Service" in kinds({})
    assert not {"Service", "CustomResourceDefinition"} & kinds(BARE)


@pytest.mark.parametrize(
    ("values", "arguments"),
    [({}, ["--all-namespaces"]), (NAMESPACED, ["--namespace=wards", "--namespace=clinics"])],
)
def test_daskoperator_serves_the_same_namespaces(values: dict[str, Any], arguments: list[str]) -> None:
    objects = template(values)
    container = named(objects, "Deployment", DASK)["spec"]["template"]["spec"]["containers"][0]
    assert [each for each in container["args"] if "namespace" in each] == arguments
    role = named(objects, "Role" if values else "ClusterRole", DASK)
    assert ("", "secrets") not in rights(role["rules"])
    assert rights(role["rules"])["", "pods"] == {"list", "watch"}


def test_without_daskoperator_nothing_of_dask_is_installed() -> None:
    objects = template({"daskOperator": {"enabled": False}})
    assert DASK not in {body["metadata"]["name"] for body in objects}
    definitions = [b["metadata"]["name"] for b in of_kind(objects, "CustomResourceDefinition")]
    assert definitions == ["streampipelines.streampipeline.io"]
    job = named(objects, "Job", RELEASE)["spec"]["template"]["spec"]["containers"][0]
    assert job["args"] == [f"--operator={OPERATOR}"]
    assert not [g for g, _ in rights(named(objects, "ClusterRole", RELEASE)["rules"]) if "dask" in g]


@pytest.mark.parametrize("keep", [True, False])
def test_definitions_are_those_of_the_product_and_are_kept_as_told(keep: bool) -> None:
    found = of_kind(template({"crds": {"keep": keep}}), "CustomResourceDefinition")
    assert {body["spec"]["names"]["kind"] for body in found} == {
        "StreamPipeline", "DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler",
    }  # fmt: skip
    for body in found:
        annotations = body["metadata"].get("annotations", {})
        assert annotations == ({"helm.sh/resource-policy": "keep"} if keep else {})
        assert body["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_copies_of_definitions_are_fresh() -> None:
    assert chart.stale(chart.copies()) == []


def test_the_hook_waits_longer_than_pods_take_to_end() -> None:
    graces = [
        body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for body in of_kind(template(), "Deployment")
    ]
    assert max(graces) < release.STOP_SECONDS
    assert release.STOP_SECONDS + release.LET_GO_SECONDS <= 60
    assert FINALIZER in release.FINALIZERS


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"watchNamespace": ["a"]}, "'watchNamespace' not allowed"),
        ({"image": {"name": "x"}}, "'name' not allowed"),
        ({"images": {"kafka": "x"}}, "'kafka' not allowed"),
        ({"watchNamespaces": "wards"}, "/watchNamespaces"),
        ({"watchNamespaces": ["Wards"]}, "/watchNamespaces/0"),
        ({"replicas": 0}, "/replicas"),
        ({"image": {"registry": "registry.example.com/"}}, "/image/registry"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"metrics": {"port": 80}}, "/metrics/port"),
        ({"logLevel": "info"}, "/logLevel"),
        (NAMESPACED | CLUSTER, "secretNamespaces is for cluster mode"),
    ],
)
def test_bad_values_are_refused(values: dict[str, Any], said: str) -> None:
    done = helm("template", "test", str(CHART), "--kube-version", "1.34.4", values=values)
    assert done.returncode != 0
    assert said in done.stderr


def test_every_value_is_described_and_every_object_closed() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def walk(node: dict[str, Any], path: str) -> None:
        for key, value in node.get("properties", {}).items():
            assert value.get("description") or path.startswith("/definitions"), f"{path}/{key}"
            if value.get("type") == "object" and "properties" in value:
                assert value["additionalProperties"] is False, f"{path}/{key}"
            walk(value, f"{path}/{key}")

    assert schema["additionalProperties"] is False
    walk(schema, "")
