"""What the chart does before an uninstall, on a real API server and with the rights of its hook."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import config
from tests.support.api_server import ApiServer
from tests.support.chart_release import KOPF_FINALIZER, Installed, release_of, sample
from tests.support.rendered import DASK, OPERATOR, RELEASE, Object, named

from streampipeline_operator import kube
from streampipeline_operator.leader import LEASE_NAME
from streampipeline_operator.main import FINALIZER
from streampipeline_operator.release import let_go, stop

pytestmark = pytest.mark.integration

FOREIGN = "example.com/backup"


@pytest.fixture(scope="module", params=["cluster", "namespaced"])
def installed(api_server: ApiServer, request: pytest.FixtureRequest) -> Iterator[Installed]:
    with release_of(api_server, namespaced=request.param == "namespaced") as found:
        yield found


def dask_cluster(installed: Installed, namespace: str) -> None:
    spec: Object = {"spec": {"containers": [{"name": "dask", "image": "image:1"}]}}
    port = {"name": "tcp-comm", "port": 8786}
    installed.server.apply(
        {
            "apiVersion": "kubernetes.dask.org/v1",
            "kind": "DaskCluster",
            "metadata": {"name": "dask", "namespace": namespace, "finalizers": [KOPF_FINALIZER]},
            "spec": {
                "scheduler": {**spec, "service": {"type": "ClusterIP", "ports": [port]}},
                "worker": {"replicas": 1, **spec},
            },
        }
    )


def pod_of(installed: Installed, deployment: str) -> str:
    """A pod as the Deployment's controller would make it."""
    template = named(installed.objects, "Deployment", deployment)["spec"]["template"]
    metadata = {**template["metadata"], "name": f"{deployment}-pod", "namespace": installed.namespace}
    installed.server.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    )
    return str(metadata["name"])


def finalizers(installed: Installed, kind: str, namespace: str, name: str) -> Any:
    return installed.server.get(kind, name, "-n", namespace)["metadata"].get("finalizers", [])


def test_the_hook_ends_the_operators_and_lets_go(installed: Installed) -> None:
    server = installed.server
    sample(server, installed.granted, "held", finalizers=[FINALIZER, FOREIGN])
    sample(server, installed.granted, "deleted", finalizers=[FINALIZER])
    server.kubectl("delete", "streampipeline", "deleted", "-n", installed.granted, "--wait=false")
    sample(server, installed.other, "elsewhere", finalizers=[FINALIZER])
    dask_cluster(installed, installed.granted)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    server.apply({**lease, "metadata": {"name": LEASE_NAME, "namespace": installed.namespace}})
    pods = [pod_of(installed, name) for name in (OPERATOR, DASK)]
    ended: list[float] = []

    def end_pods() -> None:
        ended.append(time.monotonic())
        server.kubectl("delete", "pod", *pods, "-n", installed.namespace)

    later = threading.Timer(6, end_pods)
    later.start()
    done = subprocess.run(
        [sys.executable, "-m", "streampipeline_operator.release", *installed.arguments("Job", RELEASE)],
        env=installed.environment(RELEASE, RELEASE),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    over = time.monotonic()
    later.join()
    assert done.returncode == 0, done.stderr
    assert over > ended[0]  # it has waited for the pods
    for name in (OPERATOR, DASK):
        assert server.get("deployment", name, "-n", installed.namespace)["spec"]["replicas"] == 0
    assert server.get("leases", "-n", installed.namespace)["items"] == []
    assert finalizers(installed, "streampipeline", installed.granted, "held") == [FOREIGN]
    assert finalizers(installed, "daskcluster", installed.granted, "dask") == []
    assert server.kubectl("get", "streampipeline", "deleted", "-n", installed.granted, check=False).returncode
    elsewhere = finalizers(installed, "streampipeline", installed.other, "elsewhere")
    assert elsewhere == ([FINALIZER] if installed.namespaced else [])
    lines = {line["event"]: line for line in map(json.loads, done.stderr.splitlines())}
    assert lines["release.done"]["dask_objects"] == 1
    assert lines["release.deletion_unfinished"]["pipeline"] == f"{installed.granted}/deleted"
    assert "release.pods_left" not in lines


def test_a_pod_that_does_not_end_holds_it_up_for_a_bounded_time(installed: Installed) -> None:
    name = pod_of(installed, OPERATOR)
    api = installed.api(RELEASE)
    began = time.monotonic()
    assert stop(api, installed.namespace, [OPERATOR], seconds=1) == [name]
    assert 1 <= time.monotonic() - began < 5
    installed.server.kubectl("delete", "pod", name, "-n", installed.namespace)
    assert stop(api, installed.namespace, [OPERATOR]) == []


def test_finalizers_that_come_back_are_reported(installed: Installed) -> None:
    sample(installed.server, installed.granted, "again", finalizers=[FINALIZER])

    class Contended(kube.Kube):
        """An operator puts the finalizer back at once."""

        def merge(self, kind: kube.Kind, namespace: str, name: str, changes: Object) -> Object:
            super().merge(kind, namespace, name, changes)
            return super().merge(kind, namespace, name, {"metadata": {"finalizers": [FINALIZER]}})

    api = Contended(installed.api(RELEASE).api)
    watched = [installed.granted] if installed.namespaced else []
    with pytest.raises(TimeoutError, match=f"StreamPipeline {installed.granted}/again"):
        let_go(api, [kube.PIPELINE], watched, seconds=1)


def test_a_kind_that_is_not_defined_is_nothing_to_let_go(installed: Installed) -> None:
    absent = kube.Kind("kubernetes.dask.org/v1", "DaskNothing", "dasknothings")
    with pytest.raises(kube.ApiException):
        installed.api(RELEASE).list(absent, installed.granted, "")
    administrator = kube.Kube(config.new_client_from_config(str(installed.server.kubeconfig)))
    assert let_go(administrator, [absent], [installed.granted]) == 0


def test_a_server_that_has_no_time_is_asked_again_for_a_while(installed: Installed) -> None:
    """As when a definition was changed a moment ago: 429, storage is (re)initializing."""
    sample(installed.server, installed.granted, "busy", finalizers=[FINALIZER])
    answers = iter([429, 429])

    class Busy(kube.Kube):
        def list(self, *arguments: Any) -> list[Object]:
            if status := next(answers, None):
                raise kube.ApiException(status=status, reason="storage is (re)initializing")
            return super().list(*arguments)

    api = Busy(installed.api(RELEASE).api)
    watched = [installed.granted] if installed.namespaced else []
    assert let_go(api, [kube.PIPELINE], watched) >= 1
    assert finalizers(installed, "streampipeline", installed.granted, "busy") == []

    answers = iter([429] * 100)
    with pytest.raises(kube.ApiException):
        let_go(api, [kube.PIPELINE], watched, seconds=1)
