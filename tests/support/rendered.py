"""The chart as Helm renders it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts/streampipeline"
NAMESPACE = "operators"
KUBERNETES = "1.34.4"
"""For `helm template`, which asks no cluster for its version."""
Object = dict[str, Any]

OPERATOR, DASK, RELEASE = "streampipeline-operator", "streampipeline-dask-operator", "streampipeline-release"
NAMESPACED: dict[str, Any] = {"watchNamespaces": ["wards", "clinics"]}
CLUSTER: dict[str, Any] = {"secretNamespaces": ["wards"]}
EVERYTHING: dict[str, Any] = {
    "image": {"registry": "registry.example.com/team", "tag": "7", "pullSecrets": ["one", "two"]},
    "images": {"influxdb": "influxdb:2.7"},
    "replicas": 2,
    "metrics": {"port": 9100, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "networkPolicy": {"enabled": True},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "streams", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "streams"},
}
BARE: dict[str, Any] = {
    "crds": {"install": False},
    "daskOperator": {"enabled": False},
    "metrics": {"enabled": False},
}
ALL_VALUES = [{}, NAMESPACED, CLUSTER, EVERYTHING, BARE]


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm; without one the test is skipped, or fails where CI is set."""
    program = os.environ.get("STREAMPIPELINE_TEST_HELM") or REPOSITORY / "build/runtime/helm"
    if not Path(program).exists() and (found := shutil.which("helm")):
        program = found
    if not Path(program).exists():
        reason = "no helm: install it with hack/bootstrap.py --with helm"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [str(program), *arguments, *([] if values is None else ["--values", "-"])],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def template(values: Mapping[str, Any] | None = None, namespace: str = NAMESPACE) -> list[Object]:
    """All objects, hooks too, of a release in `namespace`; to be left as they are, they are shared."""
    return _template(json.dumps(dict(values or {})), namespace)


@functools.cache
def _template(values: str, namespace: str) -> list[Object]:
    place = ("--namespace", namespace, "--kube-version", KUBERNETES)
    done = helm("template", "test", str(CHART), *place, values=json.loads(values))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document]


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """Those of some kinds."""
    return [body for body in objects if body["kind"] in kinds]


def named(objects: Iterable[Object], kind: str, name: str) -> Object:
    """The one object of that name, in whichever namespace it is first."""
    return next(body for body in of_kind(objects, kind) if body["metadata"]["name"] == name)


def rights(rules: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Verbs by API group and resource."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found
