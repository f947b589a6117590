"""The chart on a real API server: what Helm installs, and both operators with the rights that it gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.chart_release import KOPF_FINALIZER, Installed, release_of, running, sample, until
from tests.support.rendered import CHART, DASK, OPERATOR, helm, named

from streampipeline.jobconfig import EngineName
from streampipeline_operator import kube
from streampipeline_operator.children import Children
from streampipeline_operator.cleanup import Cleanup
from streampipeline_operator.cluster_place import ClusterPlace
from streampipeline_operator.desired import flink, influxdb, model, network
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.job_files import JobsSecret
from streampipeline_operator.main import FINALIZER
from streampipeline_operator.resolve import Resolver, typed
from streampipeline_operator.settings import IMAGES, Settings
from streampipeline_operator.watch import Watches

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["cluster", "namespaced"])
def installed(api_server: ApiServer, request: pytest.FixtureRequest) -> Iterator[Installed]:
    with release_of(api_server, namespaced=request.param == "namespaced") as found:
        yield found


def test_the_operators_code_has_every_right_that_it_uses(
    installed: Installed, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api = installed.api(OPERATOR)
    body = sample(installed.server, installed.granted, "rights")
    settings = Settings(
        installed.namespace, "here", dict.fromkeys(IMAGES, "image:1"), workdir=tmp_path, pull_secrets=()
    )
    metadata = body["metadata"]
    pipeline = Pipeline("rights", installed.granted, metadata["uid"], typed(body), settings)
    watches = Watches(api, [installed.granted] if installed.namespaced else [], lambda *_: None)
    watches.start()
    for informer in watches._informers.values():
        request.addfinalizer(informer.stop)
    until(watches.synced, "watches have not begun")

    children = Children(api, watches)
    children.ensure(
        [
            *flink.objects(pipeline, up=True),
            *model.objects(pipeline),
            *influxdb.objects(pipeline),
            *network.objects(pipeline),
        ]
    )
    place = ClusterPlace(api, watches, pipeline, JobsSecret(api, pipeline, tmp_path), lambda *_: None)
    place.deliver(EngineName.FLINK, 1)
    place.scale_dask(2)
    until(lambda: place.dask().drivers == {} and place._pods.of("dask-driver"), "no driver is seen")
    place.start_driver(2)
    until(lambda: 2 in place.dask().drivers, "the driver has no epoch")
    place.scale_dask(1)
    place.stop_driver(2)
    place.start_repair(2, 1_000)
    until(place.repairing, "no repair is seen")
    place.end_repair()

    Cleanup(api, Resolver(api, settings), settings).run(body)
    kinds = "daskclusters,pods,deployments,statefulsets,services,networkpolicies"
    assert installed.server.get(kinds, "-n", installed.granted)["items"] == []
    assert [
        item["metadata"]["name"] for item in installed.server.get("secrets", "-n", installed.granted)["items"]
    ] == ["rights-jobs"]  # goes with its owner, by Kubernetes' own collector
    installed.server.kubectl("delete", "streampipeline,secret", "--all", "-n", installed.granted)


def test_what_is_not_granted_is_refused(installed: Installed) -> None:
    api = installed.api(OPERATOR)
    assert api.get(kube.SECRET, installed.granted, "absent") is None
    refused: list[Callable[[], Any]] = [
        lambda: api.get(kube.SECRET, installed.other, "absent"),
        lambda: api.list(kube.SECRET, installed.granted, ""),
        lambda: api.delete(kube.SECRET, installed.granted, "absent"),
    ]
    if installed.namespaced:
        refused += [
            lambda: api.list(kube.POD, None, ""),
            lambda: api.list(kube.PIPELINE, installed.other, ""),
        ]
    for request in refused:
        with pytest.raises(kube.ApiException) as error:
            request()
        assert error.value.status == 403


def test_the_command_of_the_condition_grants_secrets(api_server: ApiServer) -> None:
    with release_of(api_server, namespaced=False) as installed:
        api = installed.api(OPERATOR)
        resolver = Resolver(api, Settings(installed.namespace, "here", {}))
        with pytest.raises(Exception, match="create rolebinding") as refused:
            resolver._data(kube.SECRET, installed.other, "absent", "key", "spec")
        command = str(refused.value).split("`")[1].removeprefix("kubectl ").split()
        api_server.kubectl(*command)
        assert api.get(kube.SECRET, installed.other, "absent") is None


def test_the_operator_runs_as_the_chart_starts_it(installed: Installed, tmp_path: Path) -> None:
    sample(installed.server, installed.granted, "whole")
    environment = installed.environment(OPERATOR, OPERATOR) | {
        "STREAMPIPELINE_WORKDIR": str(tmp_path),
        "STREAMPIPELINE_METRICS_PORT": "0",
    }
    with running([sys.executable, "-m", "streampipeline_operator"], environment, tmp_path / "log") as log:

        def told() -> Any:
            found = installed.server.get("streampipeline", "whole", "-n", installed.granted)
            return found.get("status", {}).get("conditions") and found

        found = until(told, f"no status: {log}")
        assert FINALIZER in found["metadata"]["finalizers"]
        until(lambda: installed.server.get("events", "-n", installed.granted)["items"], "no event")
        lease = installed.server.get("lease", OPERATOR, "-n", installed.namespace)
        assert "here" in str(lease["spec"]["holderIdentity"])
    assert "orbidden" not in log.read_text()
    finalizers = '{"metadata": {"finalizers": null}}'
    place = ("-n", installed.granted)
    installed.server.kubectl("patch", "streampipeline", "whole", *place, "--type=merge", "-p", finalizers)
    installed.server.kubectl("delete", "streampipeline", "whole", *place)


def test_daskoperator_runs_as_the_chart_starts_it(installed: Installed, tmp_path: Path) -> None:
    container = {"name": "dask", "image": "image:1", "command": ["dask"]}
    port = {"name": "tcp-comm", "port": 8786, "targetPort": "tcp-comm"}
    cluster = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": "dask", "namespace": installed.granted},
        "spec": {
            "scheduler": {
                "spec": {"containers": [container]},
                "service": {"type": "ClusterIP", "ports": [port]},
            },
            "worker": {"replicas": 1, "spec": {"containers": [container]}},
        },
    }
    installed.server.apply(cluster)
    (tmp_path / "settings.py").write_text(named(installed.objects, "ConfigMap", DASK)["data"]["settings.py"])
    container = named(installed.objects, "Deployment", DASK)["spec"]["template"]["spec"]["containers"][0]
    there = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "settings")
    command = [each.replace(there, str(tmp_path)) for each in container["command"]]
    arguments = [each for each in container["args"] if "liveness" not in each]
    program = [sys.executable, "-m", *command, *arguments]
    environment = installed.environment(DASK, DASK) | {"HOME": str(tmp_path)}

    def workers() -> int:
        selector = "-ldask.org/component=worker"
        return len(installed.server.get("deployments", "-n", installed.granted, selector)["items"])

    with running(program, environment, tmp_path / "log") as log:
        until(lambda: workers() == 1, f"no worker: {log}")
        change = '{"spec": {"worker": {"replicas": 3}}}'
        place = ("-n", installed.granted)
        installed.server.kubectl("patch", "daskcluster", "dask", *place, "--type=merge", "-p", change)
        until(lambda: workers() == 3, f"not three workers: {log}")
        found = installed.server.get("daskcluster", "dask", *place)
        assert KOPF_FINALIZER in found["metadata"]["finalizers"]
        installed.server.kubectl("delete", "daskcluster", "dask", *place, "--timeout=20s")
    assert "orbidden" not in log.read_text()
    assert "Not enough permissions" not in log.read_text()
    installed.server.kubectl("delete", "deployment,service,daskworkergroup", "--all", *place)


def test_upgrades_bring_definitions_and_what_an_uninstall_leaves_is_taken_up(api_server: ApiServer) -> None:
    definition = "streampipelines.streampipeline.io"
    with release_of(api_server, namespaced=False) as installed:
        change = '{"spec": {"names": {"shortNames": ["other"]}}}'
        api_server.kubectl("patch", "crd", definition, "--type=merge", "-p", change)
        place = ("--namespace", installed.namespace, "--kubeconfig", str(api_server.kubeconfig))
        done = helm("upgrade", "test", str(CHART), *place, values={"logLevel": "DEBUG"})
        assert done.returncode == 0, done.stderr
        assert api_server.get("crd", definition)["spec"]["names"]["shortNames"] == ["sp"]
        sample(api_server, installed.granted, "kept")
    assert api_server.get("streampipeline", "kept", "-n", installed.granted)["metadata"]["name"] == "kept"
    assert api_server.kubectl("get", "clusterrole", OPERATOR, check=False).returncode != 0
    again = helm("install", "test", str(CHART), *place)
    assert again.returncode == 0, again.stderr
    assert helm("uninstall", "test", *place, "--no-hooks").returncode == 0
