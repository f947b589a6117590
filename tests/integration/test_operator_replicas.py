"""Operators come and go: killed, stopped and continued, down at a deletion; a silent API server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import psutil
import pytest
from tests.support.api_server import ApiServer, running
from tests.support.hostile_proxy import PASSED_ON, Fate, hostile_proxy
from tests.support.operator_process import (
    ACCOUNT,
    REPOSITORY,
    SOURCES,
    OperatorProcess,
    Operators,
    eventually,
    granted,
    install_dask_definitions,
    operators,
)
from tests.support.tenant import Tenant, sample

from streampipeline_operator import kube
from streampipeline_operator.kube import Object
from streampipeline_operator.leader import LOST
from streampipeline_operator.main import FINALIZER
from streampipeline_operator.names import Names

pytestmark = pytest.mark.integration

TAKEOVER_SECONDS = 20
OUTAGE_SECONDS = 15
MEMORY_MIB = 200


@pytest.fixture(scope="module")
def server(api_server: ApiServer) -> ApiServer:
    install_dask_definitions(api_server)
    return api_server


@contextmanager
def one_namespace(server: ApiServer, directory: Path) -> Iterator[tuple[Operators, Tenant]]:
    """Operators that serve a namespace of their own."""
    tenant = Tenant.of(server)
    with operators(server, directory, watch=(tenant.namespace,)) as replicas:
        yield replicas, tenant


def deploy(tenant: Tenant, name: str) -> Names:
    tenant.create(sample(name))
    names = Names(name, tenant.namespace)
    eventually(f"{name} is deployed", lambda: tenant.has(kube.NETWORK_POLICY, names.network))
    tenant.await_condition(name, "SpecAccepted", "True", "Accepted")
    return names


def test_a_killed_operator_is_followed_by_one_that_goes_on_from_the_status(
    server: ApiServer, tmp_path: Path
) -> None:
    """Without Kafka no engine moves: whatever changed would have been forgotten."""
    with one_namespace(server, tmp_path) as (replicas, tenant):
        first = replicas.start("operator-0")
        deploy(tenant, "nurse-stress")
        common = {"generation": 1, "boundary": 60_000, "offsets": {"0": 7}, "repairsOffset": 0}
        live = {"assignment": {**common, "engine": "dask-fallback", "epoch": 2_000_000_000}, "at": 1}
        old = {"assignment": {**common, "engine": "flink", "epoch": 1_999_999_999}, "fenced": False}

        def in_fallback(decisions: Object) -> None:
            origin = {"boundary": 55_000, "offsets": {"0": 5}}
            decisions |= {"phase": "Fallback", "epoch": 2_000_000_000, "active": "dask-fallback"}
            decisions |= {"dask": live, "retiring": [old], "origin": origin}

        first.kill()
        tenant.plant("nurse-stress", in_fallback)
        planted = tenant.decisions("nurse-stress")
        second = replicas.start("operator-0")
        [taken] = eventually("taken over", lambda: second.log("pipeline.taken_over")[1:])
        assert (taken["phase"], taken["epoch"]) == ("Fallback", 2_000_000_000)
        tenant.await_condition("nurse-stress", "FallbackActive", "True", "DaskActive")
        tenant.await_condition("nurse-stress", "Fenced", "Unknown", "RetirementPending")
        now = tenant.decisions("nurse-stress")
        for kept in ("phase", "epoch", "active", "origin", "retiring"):
            assert now[kept] == planted[kept], kept
        assert now["dask"]["assignment"] == planted["dask"]["assignment"]
        assert tenant.status("nurse-stress")["epoch"] == 2_000_000_000
        assert not tenant.events("nurse-stress", "ChildRepaired"), "nobody had changed a child"


def test_a_pipeline_that_was_deleted_while_the_operator_was_down_is_cleaned_up_after(
    server: ApiServer, tmp_path: Path
) -> None:
    with one_namespace(server, tmp_path) as (replicas, tenant):
        first = replicas.start("operator-0")
        names = deploy(tenant, "nurse-stress")
        first.kill()
        tenant.delete("nurse-stress")
        body = tenant.pipeline("nurse-stress")
        assert body is not None
        assert body["metadata"]["finalizers"] == [FINALIZER], "it waits for an operator"
        replicas.start("operator-0")
        eventually("the end", lambda: tenant.pipeline("nurse-stress") is None, 45)
        assert not tenant.children(kube.DEPLOYMENT, "nurse-stress")
        assert not tenant.has(kube.NETWORK_POLICY, names.network)


def test_a_release_lets_go_of_a_pipeline_that_was_deleted_without_an_operator(
    server: ApiServer, tmp_path: Path
) -> None:
    with one_namespace(server, tmp_path) as (replicas, tenant):
        first = replicas.start("operator-0")
        deploy(tenant, "nurse-stress")
        assert first.terminate() == 0
        tenant.delete("nurse-stress")
        environment = {
            **os.environ,
            "KUBECONFIG": str(server.kubeconfig),
            "POD_NAMESPACE": replicas.namespace,
            "PYTHONPATH": os.pathsep.join(map(str, SOURCES)),
            "STREAMPIPELINE_WATCH_NAMESPACES": tenant.namespace,
        }
        command = [sys.executable, "-m", "streampipeline_operator.release", "--operator", ACCOUNT]
        done = subprocess.run(
            command, env=environment, cwd=REPOSITORY, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        assert tenant.pipeline("nurse-stress") is None


def test_of_two_replicas_one_acts_and_the_other_takes_over(server: ApiServer, tmp_path: Path) -> None:
    """One pair loses its leader to SIGKILL, another, at the same time, to SIGSTOP; a third to SIGTERM.

    Of the one that is stopped a write of the status is under way, and arrives when the other one has acted.
    """
    arrives = Event()
    with (
        one_namespace(server, tmp_path / "killed") as (killed, tenant),
        one_namespace(server, tmp_path / "stopped") as (stopped, other),
        hostile_proxy(server) as proxy,
    ):
        pairs = [
            (killed.start("a"), killed.start("b", wait=False)),
            (
                stopped.start("a", kubeconfig=proxy.kubeconfig(tmp_path / "kubeconfig")),
                stopped.start("b", wait=False),
            ),
        ]
        for where in (tenant, other):
            deploy(where, "nurse-stress")
        for _, second in pairs:
            eventually("the second waits", second.metrics)
            assert not second.leads
            assert second.log("pipeline.taken_over") == []

        (killed_first, killed_second), (stopped_first, stopped_second) = pairs
        proxy.rule = lambda request: (
            Fate(until=arrives)
            if request.method == "PUT" and ("/streampipelines/" in request.path)
            else PASSED_ON
        )
        other.change("nurse-stress", {"spec": {"suspend": True}})
        eventually("a write is under way", lambda: proxy.suffered.get("held"))
        began = time.monotonic()
        stopped_first.signal(signal.SIGSTOP)
        killed_first.kill()
        for second in (killed_second, stopped_second):
            second.await_leading(TAKEOVER_SECONDS - (time.monotonic() - began))
            eventually("it acts", partial(second.log, "pipeline.taken_over"), 10)
        print(f"takeover after {time.monotonic() - began:.1f} s")

        names = Names("nurse-stress", other.namespace)
        written = len(stopped_first.log("reconcile.failed"))
        other.await_condition("nurse-stress", "Ready", "False", "Suspended")
        stored = other.decisions("nurse-stress")
        arrives.set()
        assert eventually("it arrived", lambda: proxy.held) == [409], "it was on top of what is no more"
        assert other.decisions("nurse-stress") == stored
        told = len(other.events("nurse-stress", "Suspended"))
        stopped_first.signal(signal.SIGCONT)
        assert stopped_first.child.process.wait(20) == LOST
        assert len(other.events("nurse-stress", "Suspended")) == told
        eventually(
            "Flink is down",
            lambda: other.child(kube.DEPLOYMENT, names.taskmanager)["spec"]["replicas"] == 0,
        )
        for line in stopped_first.log("reconcile.failed")[written:]:
            assert line["error"].startswith("NotLeadingError")
        assert stopped_second.leads

        third = killed.start("c", wait=False)
        eventually("the third waits", third.metrics)
        assert killed_second.terminate() == 0
        third.await_leading(8)


def api_server_process(server: ApiServer) -> psutil.Process:
    port = server.url.rpartition(":")[2]
    children = psutil.Process().children(recursive=True)
    return next(child for child in children if f"--secure-port={port}" in child.cmdline())


def test_in_cluster_mode_five_pipelines_outlive_a_silent_api_server(tmp_path: Path) -> None:
    """On an API server of its own: it is stopped. Secrets are granted namespace by namespace."""
    with running(tmp_path / "server") as server:
        server.install_crd()
        install_dask_definitions(server)
        namespace = server.namespace("operators")
        tenants = [Tenant.of(server) for _ in range(2)]
        kubeconfig = granted(server, namespace, secretNamespaces=[tenants[0].namespace])
        with operators(server, tmp_path, kubeconfig=kubeconfig, namespace=namespace) as replicas:
            operator = replicas.start()
            for number in range(4):
                deploy(tenants[0], f"ward-{number}")
            ungranted(server, tenants[1], namespace)
            at_rest(operator)
            outage(server, operator, tenants)
        for tenant in tenants:
            assert not tenant.children(kube.DASK_CLUSTER, "ward-0"), "a silent API server starts no fallback"


def ungranted(server: ApiServer, tenant: Tenant, namespace: str) -> None:
    tenant.create(sample("elsewhere"))
    tenant.await_condition("elsewhere", "SpecAccepted", "False", "NamespaceNotGranted")
    [message] = eventually("the event", lambda: tenant.events("elsewhere", "NamespaceNotGranted"))
    assert f"kubectl create rolebinding {ACCOUNT}-secrets -n {tenant.namespace}" in message
    assert tenant.objects("elsewhere") == set()
    binding = f"--clusterrole={ACCOUNT}-secrets"
    account = f"--serviceaccount={namespace}:{ACCOUNT}"
    server.kubectl("create", "rolebinding", f"{ACCOUNT}-secrets", "-n", tenant.namespace, binding, account)
    tenant.await_condition("elsewhere", "SpecAccepted", "True", "Accepted")


def at_rest(operator: OperatorProcess) -> None:
    """What five pipelines cost that wait for their broker."""
    assert operator.memory_mib() < MEMORY_MIB
    requests, began = operator.requests(), time.monotonic()
    time.sleep(10)
    minute = (operator.requests() - requests) * 60 / (time.monotonic() - began)
    print(f"five pipelines: {operator.memory_mib():.0f} MiB, {minute:.0f} requests a minute")
    assert minute < 120


def outage(server: ApiServer, operator: OperatorProcess, tenants: list[Tenant]) -> None:
    process = api_server_process(server)
    pid = operator.child.process.pid
    process.suspend()
    try:
        time.sleep(OUTAGE_SECONDS)
    finally:
        process.resume()
    ended = time.monotonic()
    tenants[0].change("ward-0", {"spec": {"suspend": True}})
    tenants[1].change("elsewhere", {"spec": {"suspend": True}})
    tenants[0].await_condition("ward-0", "Ready", "False", "Suspended", 60)
    tenants[1].await_condition("elsewhere", "Ready", "False", "Suspended", 60)
    print(f"converged {time.monotonic() - ended:.1f} s after an outage of {OUTAGE_SECONDS} s")
    assert (operator.child.alive, operator.child.process.pid) == (True, pid)
    assert operator.leads
    assert operator.memory_mib() < MEMORY_MIB
