"""An API server as it is on bad days, before a pipeline whose driver dies at that moment.

Kafka, InfluxDB and the API server are real; a proxy before the last one does what is bad. Everything that the
operator made of it is seen on a connection of its own, version by version, and judged (`pipeline_history`).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.integration.test_influxdb_sink import Influx
from tests.integration.test_influxdb_sink import server as influx  # noqa: F401 - a fixture
from tests.integration.test_operator_engines import (  # noqa: F401 - a fixture
    NAME,
    Nodes,
    job,
    kafka,
    pipeline,
    taken_over,
    writes,
)
from tests.support.api_server import ApiServer
from tests.support.dask_ground import model_server
from tests.support.hostile_proxy import (
    HostileProxy,
    hostile_proxy,
    of_a_busy_server,
    of_forgotten_versions,
    of_lost_replies_and_conflicts,
    of_stale_reads,
)
from tests.support.operator_process import eventually, install_dask_definitions, operators
from tests.support.pipeline_history import History, dask_epoch
from tests.support.tenant import Tenant

from streampipeline.local.kafka import KafkaProcess
from streampipeline_operator import kube
from streampipeline_operator.dask_drivers import ENDED_KEPT
from streampipeline_operator.names import DASK_DRIVER, EPOCH_LABEL

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

FAULT_SECONDS = 12
"""No less: an engine is not replaced by itself more often than every 10 s."""
OUTAGE_SECONDS = int(os.environ.get("STREAMPIPELINE_TEST_OUTAGE_SECONDS", "60"))
"""Longer than the Lease (12 s), and than an answer of the API server counts as fresh (20 s)."""
CONVERGED_SECONDS = 30
CHILDREN = (kube.SERVICE, kube.DEPLOYMENT, kube.STATEFUL_SET, kube.NETWORK_POLICY, kube.DASK_CLUSTER)


@pytest.fixture
def tenant(api_server: ApiServer, influx: Influx) -> Iterator[Tenant]:  # noqa: F811
    """One with the sink's token, whose DaskCluster nobody holds when all is over."""
    install_dask_definitions(api_server)
    found = Tenant.of(api_server)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "influx"}}
    found.create({**secret, "stringData": {"token": (influx.folder / "admin-token").read_text()}})
    yield found
    for body in found.children(kube.DASK_CLUSTER, NAME):
        changes = {"metadata": {"finalizers": None}}
        found.api.merge(kube.DASK_CLUSTER, found.namespace, body["metadata"]["name"], changes)


@contextmanager
def kubelet(nodes: Nodes) -> Iterator[None]:
    """Drivers run, and are ready when they have an epoch."""
    over = threading.Event()

    def play() -> None:
        while not over.wait(0.2):
            for pod in nodes.pods(DASK_DRIVER):
                given, status = EPOCH_LABEL in pod["metadata"]["labels"], pod["status"]
                ready = any(each["status"] == "True" for each in status.get("conditions") or [])
                if status.get("phase") != "Failed" and (
                    status.get("phase") != "Running" or (given and not ready)
                ):
                    nodes.start(pod, ready=given)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def uids(tenant: Tenant) -> dict[tuple[str, str], str]:
    """Of what is never made anew."""
    return {
        (kind.kind, body["metadata"]["name"]): body["metadata"]["uid"]
        for kind in CHILDREN
        for body in tenant.children(kind, NAME)
    }


MOST_WATCHES_A_SECOND = 30
"""Asked by one operator of a server that ends each at once."""
Dies = Callable[[], None]
"""The driver of Dask ends."""


def of_dropped_watches(proxy: HostileProxy, dies: Dies) -> None:
    """Streams are cut every other second, and none can go on where it was."""
    dies()
    with proxy.under(of_forgotten_versions):
        for _ in range(FAULT_SECONDS // 2):
            proxy.cut_watches()
            time.sleep(2)
    assert proxy.suffered["410"] < MOST_WATCHES_A_SECOND * FAULT_SECONDS


def of_the_past(proxy: HostileProxy, dies: Dies) -> None:
    """Reads and watches tell of the time before the fault."""
    proxy.holds_watches.set()
    try:
        dies()
        with proxy.under(of_stale_reads):
            time.sleep(FAULT_SECONDS)
    finally:
        proxy.holds_watches.clear()


def of_replies(proxy: HostileProxy, dies: Dies) -> None:
    """Changes are carried out unseen, or refused for a conflict."""
    dies()
    with proxy.under(of_lost_replies_and_conflicts()):
        time.sleep(FAULT_SECONDS)


def of_load(proxy: HostileProxy, dies: Dies) -> None:
    """Slow answers, every other one 429, 500 or 503."""
    dies()
    with proxy.under(of_a_busy_server()):
        time.sleep(FAULT_SECONDS)


def of_an_outage(proxy: HostileProxy, dies: Dies) -> None:
    """Nobody listens."""
    dies()
    proxy.vanish()
    time.sleep(OUTAGE_SECONDS)
    proxy.listen()


FAULTS: dict[Callable[[HostileProxy, Dies], None], set[str]] = {
    of_dropped_watches: {"410"},
    of_the_past: {"stale", "held"},
    of_replies: {"lost", "409"},
    of_load: {"delayed", "429", "500", "503"},
    of_an_outage: set(),
}
"""With what requests must have met for the fault to have been one."""


def test_nothing_unsafe_is_done_and_all_converges(
    api_server: ApiServer,
    tenant: Tenant,
    influx: Influx,  # noqa: F811
    kafka: KafkaProcess,  # noqa: F811
    tmp_path: Path,
) -> None:
    nodes, history = Nodes(tenant), History(tenant)
    with (
        model_server() as model,
        hostile_proxy(api_server) as proxy,
        operators(
            api_server,
            tmp_path,
            watch=(tenant.namespace,),
            kubeconfig=proxy.kubeconfig(tmp_path / "kubeconfig"),
        ) as replicas,
    ):
        tenant.create(pipeline(influx, kafka, model))
        operator = replicas.start()
        history.follow()
        epoch = taken_over(tenant, nodes, influx)
        children = uids(tenant)
        with kubelet(nodes):
            for fault, met in FAULTS.items():
                old = job(tenant, epoch)
                time.sleep(max(0.0, 11 - (time.time() - epoch)))
                [driver] = nodes.drivers(epoch)
                proxy.suffered.clear()
                fault(proxy, partial(nodes.set, driver, {"phase": "Failed"}))
                assert met <= set(proxy.suffered), f"{fault.__name__}: {proxy.suffered}"
                began = time.monotonic()
                epoch = converged(tenant, nodes, epoch)
                print(f"{fault.__name__}: {dict(proxy.suffered)}; {time.monotonic() - began:.1f} s after it")
                assert writes(influx, "stress", old.token) == 401
                assert writes(influx, "stress", job(tenant, epoch).token) == 204
                assert history.violations == [], fault.__name__
                assert uids(tenant) == children, f"{fault.__name__}: a child was made anew"
                assert operator.child.alive
        assert not tenant.events(NAME, "ChildRepaired")


DEATHS = ("PATCH daskclusters", "POST pods", "issue", "PATCH secrets", "PATCH pods", "revoke")
"""In the order in which a first takeover, and then a replacement of its driver, come by them."""


def test_a_process_that_is_killed_after_an_effect_is_followed_by_one_that_goes_on(
    api_server: ApiServer,
    tenant: Tenant,
    influx: Influx,  # noqa: F811
    kafka: KafkaProcess,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Every effect, without processes: test_operator_crashes."""
    nodes, history = Nodes(tenant), History(tenant)
    history.follow()
    with (
        model_server() as model,
        operators(api_server, tmp_path, watch=(tenant.namespace,)) as replicas,
        kubelet(nodes),
    ):
        tenant.create(pipeline(influx, kafka, model))
        for effect in DEATHS:
            if effect == "revoke":
                replicas.start()
                epoch = converged(tenant, nodes, 0)
                replicas.close()
            mortal = replicas.start(dies_after=effect, wait=False)
            if effect == "issue":
                nodes.run_dask(tenant.child(kube.DASK_CLUSTER, f"{NAME}-dask"))
            if effect == "revoke":
                [driver] = nodes.drivers(epoch)
                nodes.set(driver, {"phase": "Failed"})
            assert mortal.child.process.wait(60) == -signal.SIGKILL, effect
            assert history.violations == [], effect
        replicas.start()
        later = converged(tenant, nodes, epoch)
        assert len(nodes.drivers(later)) == 1
        ended = [pod for pod in nodes.pods(DASK_DRIVER) if pod["status"].get("phase") == "Failed"]
        assert len(nodes.pods(DASK_DRIVER)) - len(ended) == 1, "no other one runs"
        assert len(ended) <= ENDED_KEPT
        assert history.violations == []


def converged(tenant: Tenant, nodes: Nodes, before: int) -> int:
    """Another driver works, and nobody retires any more. Returns its epoch."""

    def found() -> int | None:
        state = tenant.decisions(NAME)
        live = dask_epoch(state)
        if live is None or live <= before or state["retiring"] or state["phase"] != "Fallback":
            return None
        [driver] = nodes.drivers(live) or [{}]
        alive = driver and driver["status"].get("phase") == "Running"
        return live if alive and state["dask"]["ran"] else None

    return eventually("it has converged", found, CONVERGED_SECONDS)
