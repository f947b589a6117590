"""A release of the chart on a real API server without nodes, and its programs as it would start them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from tests.support.api_server import ApiServer
from tests.support.rendered import CHART, RELEASE, Object, helm, named, of_kind, template

from streampipeline_operator import kube

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples/nurse-stress.yaml"
KOPF_FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"


@dataclass(frozen=True)
class Installed:
    """A release of the chart, with a namespace for pipelines that is granted and one that is not."""

    server: ApiServer
    namespace: str
    granted: str
    other: str
    namespaced: bool
    objects: list[Object] = field(repr=False)

    def account(self, name: str) -> Path:
        """A kubeconfig with the rights of one of the chart's ServiceAccounts."""
        return self.server.service_account(self.namespace, name)

    def api(self, name: str) -> kube.Kube:
        """As the operator's own code calls, with the rights of a ServiceAccount."""
        return kube.Kube(config.new_client_from_config(str(self.account(name))))

    def environment(self, deployment: str, account: str) -> dict[str, str]:
        """What a container of the chart's finds in its environment, here."""
        kind = "Job" if deployment == RELEASE else "Deployment"
        container = named(self.objects, kind, deployment)["spec"]["template"]["spec"]["containers"][0]
        pod = {"POD_NAME": "here", "POD_NAMESPACE": self.namespace}
        given = {entry["name"]: entry.get("value", pod.get(entry["name"], "")) for entry in container["env"]}
        python = os.pathsep.join([str(ROOT / "jobs"), str(ROOT / "operator")])
        return {**os.environ, **given, "KUBECONFIG": str(self.account(account)), "PYTHONPATH": python}

    def arguments(self, kind: str, name: str) -> list[str]:
        """Arguments of a container of the chart's."""
        container = named(self.objects, kind, name)["spec"]["template"]["spec"]["containers"][0]
        found: list[str] = container["args"]
        return found


@contextlib.contextmanager
def release_of(server: ApiServer, *, namespaced: bool) -> Iterator[Installed]:
    namespace, granted, other = (server.namespace(name) for name in ("operators", "wards", "clinics"))
    values = {"watchNamespaces" if namespaced else "secretNamespaces": [granted]}
    place = ("--namespace", namespace, "--kubeconfig", str(server.kubeconfig))
    # The definition of the session is there already, without Helm.
    done = helm("install", "test", str(CHART), *place, "--take-ownership", values=values)
    assert done.returncode == 0, done.stderr
    # The hook's objects come only with an uninstall, which waits for a Job that nothing runs here.
    objects = template(values, namespace)
    hooks = [body for body in objects if "helm.sh/hook" in body["metadata"].get("annotations", {})]
    server.apply(*hooks)
    try:
        yield Installed(server, namespace, granted, other, namespaced, objects)
    finally:
        done = helm("uninstall", "test", *place, "--no-hooks")
        assert done.returncode == 0, done.stderr
        for body in of_kind(hooks, "ClusterRole", "ClusterRoleBinding"):
            server.kubectl("delete", body["kind"], body["metadata"]["name"])


def until(true: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def sample(server: ApiServer, namespace: str, name: str, **metadata: Any) -> Object:
    body = next(b for b in yaml.safe_load_all(SAMPLE.read_text()) if b["kind"] == "StreamPipeline")
    body["metadata"] = {"name": name, "namespace": namespace, **metadata}
    # As JSON: what PyYAML writes as y, a name here, is true to others.
    server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))
    return server.get("streampipeline", name, "-n", namespace)


@contextlib.contextmanager
def running(program: list[str], environment: dict[str, str], log: Path) -> Iterator[Path]:
    with log.open("w") as output:
        process = subprocess.Popen(program, env=environment, stdout=output, stderr=output)
        try:
            yield log
            assert process.poll() is None, log.read_text()[-2000:]
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
