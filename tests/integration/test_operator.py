"""A pipeline's life under the operator, with the rights that the chart gives it, on a real API server.

There are no nodes: pods are objects that nobody runs, Kafka is not there, and no controller collects what is
owned by something that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_process import (
    OperatorProcess,
    eventually,
    granted,
    install_dask_definitions,
    operators,
)
from tests.support.tenant import Tenant, sample

from streampipeline_operator import kube
from streampipeline_operator.kube import Kind, Object
from streampipeline_operator.main import FINALIZER
from streampipeline_operator.names import COMPONENT_LABEL, Names

pytestmark = pytest.mark.integration

STANDING = "standing"
"""A pipeline that is well formed; its broker is not there."""
WATCHED = (kube.SERVICE, kube.DEPLOYMENT, kube.STATEFUL_SET, kube.NETWORK_POLICY)


@dataclass(frozen=True)
class World:
    operator: OperatorProcess
    tenant: Tenant
    other: Tenant
    """Watched too."""
    unwatched: Tenant


@pytest.fixture(scope="module")
def world(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    install_dask_definitions(api_server)
    tenant, other, unwatched = (Tenant.of(api_server) for _ in range(3))
    namespace = api_server.namespace("operators")
    watch = (tenant.namespace, other.namespace)
    kubeconfig = granted(api_server, namespace, watchNamespaces=list(watch))
    directory = tmp_path_factory.mktemp("operator")
    with operators(
        api_server, directory, watch=watch, kubeconfig=kubeconfig, namespace=namespace
    ) as replicas:
        yield World(replicas.start(), tenant, other, unwatched)


@pytest.fixture(scope="module")
def standing(world: World) -> Tenant:
    """The namespace in which the pipeline of that name is deployed."""
    world.tenant.create(sample(STANDING))
    world.tenant.await_deployed(STANDING)
    return world.tenant


def test_an_invalid_edit_leaves_the_last_valid_spec_in_force(standing: Tenant) -> None:
    names = Names(STANDING, standing.namespace)

    def taskmanagers() -> int:
        return int(standing.child(kube.DEPLOYMENT, names.taskmanager)["spec"]["replicas"])

    def edit(parallelism: int, tls: Object | None) -> None:
        spec = {"source": {"kafka": {"tls": tls}}, "primary": {"flink": {"parallelism": parallelism}}}
        standing.change(STANDING, {"spec": spec})

    edit(8, {"caSecretRef": {"name": "not-there", "key": "ca.crt"}})
    standing.await_condition(STANDING, "SpecAccepted", "False", "SecretMissing")
    assert taskmanagers() == 1
    assert standing.condition(STANDING, "SourceReady")[0] == "False", "the old one is still looked after"

    edit(7, None)
    standing.await_condition(STANDING, "SpecAccepted", "True", "Accepted")
    eventually("TaskManagers for parallelism 7", lambda: taskmanagers() == 4)
    edit(2, None)
    eventually("TaskManagers for parallelism 2", lambda: taskmanagers() == 1)


def test_children_are_complete_owned_and_labelled(standing: Tenant) -> None:
    names = Names(STANDING, standing.namespace)
    body = standing.pipeline(STANDING)
    assert body is not None
    assert body["metadata"]["finalizers"] == [FINALIZER]
    eventually("the administrator's Secret", lambda: standing.has(kube.SECRET, names.influxdb_admin))
    assert standing.objects(STANDING) == {
        *(("Service", name) for name in (names.jobmanager, names.gateway, names.model, names.influxdb)),
        *(("Deployment", name) for name in (names.jobmanager, names.taskmanager, names.gateway, names.model)),
        ("StatefulSet", names.influxdb),
        ("NetworkPolicy", names.network),
        ("NetworkPolicy", names.influxdb),
        ("Secret", names.influxdb_admin),
    }
    for kind in (*WATCHED, kube.SECRET):
        for child in standing.children(kind, STANDING):
            metadata = child["metadata"]
            [owner] = metadata["ownerReferences"]
            assert (owner["uid"], owner["controller"]) == (body["metadata"]["uid"], True)
            assert metadata["labels"]["app.kubernetes.io/managed-by"] == "streampipeline-operator"
            assert COMPONENT_LABEL in metadata["labels"]


REPAIRED: list[tuple[Kind, str, Object]] = [
    (kube.DEPLOYMENT, "model", {"spec": {"replicas": 3}}),
    (kube.SERVICE, "gateway", {"spec": {"type": "NodePort"}}),
    (kube.STATEFUL_SET, "influxdb", {"spec": {"replicas": 0}}),
    (kube.NETWORK_POLICY, "network", {"spec": {"ingress": [{}]}}),
]
"""One of each kind, and what somebody else might do to it."""


def test_a_deleted_or_changed_child_comes_back(standing: Tenant) -> None:
    names = Names(STANDING, standing.namespace)
    wanted = [(kind, getattr(names, name), changes["spec"]) for kind, name, changes in REPAIRED]
    before = {name: standing.child(kind, name) for kind, name, _ in wanted}
    for kind, name, _ in wanted:
        standing.api.delete(kind, standing.namespace, name)
    for kind, name, _ in wanted:
        eventually(f"{kind.kind} {name} is there again", partial(standing.has, kind, name))
        uid = standing.child(kind, name)["metadata"]["uid"]
        assert uid != before[name]["metadata"]["uid"], "it had not been deleted"
        eventually(f"event of {kind.kind} {name}", partial(repairs, standing, kind, name))

    for kind, name, spec in wanted:
        standing.api.merge(kind, standing.namespace, name, {"spec": spec})
    for kind, name, spec in wanted:
        [(member, value)] = spec.items()
        eventually(
            f"{kind.kind} {name} is not left so", partial(differs, standing, kind, name, member, value)
        )
        assert standing.child(kind, name)["spec"][member] == before[name]["spec"][member]


def differs(tenant: Tenant, kind: Kind, name: str, member: str, value: object) -> bool:
    return bool(tenant.child(kind, name)["spec"][member] != value)


def repairs(tenant: Tenant, kind: Kind, name: str) -> list[str]:
    wanted = f"{kind.kind} {name} was changed or removed"
    return [message for message in tenant.events(STANDING, "ChildRepaired") if message.startswith(wanted)]


def test_suspend_takes_flink_down_and_no_more(standing: Tenant) -> None:
    names = Names(STANDING, standing.namespace)

    def replicas() -> dict[str, int]:
        bodies = standing.children(kube.DEPLOYMENT, STANDING)
        return {body["metadata"]["name"]: body["spec"]["replicas"] for body in bodies}

    down = {names.jobmanager: 0, names.taskmanager: 0, names.gateway: 0, names.model: 1}
    standing.change(STANDING, {"spec": {"suspend": True}})
    eventually("suspended", lambda: replicas() == down)
    standing.await_condition(STANDING, "Ready", "False", "Suspended")
    standing.change(STANDING, {"spec": {"suspend": False}})
    eventually("unsuspended", lambda: replicas() == dict.fromkeys(down, 1))
    standing.await_condition(STANDING, "Ready", "False", "SharedFailure")


def test_who_finds_another_ones_status_gives_up_and_goes_on_from_it(world: World, standing: Tenant) -> None:
    """As a replica that lost its Lease without knowing, and the one that follows it."""

    def as_somebody_else(decisions: Object) -> None:
        decisions["epoch"] = 4_000_000_000

    standing.plant(STANDING, as_somebody_else)
    superseded = len(world.operator.log("reconcile.superseded"))
    standing.change(STANDING, {"spec": {"suspend": True}})
    standing.await_condition(STANDING, "Ready", "False", "Suspended")
    assert len(world.operator.log("reconcile.superseded")) > superseded
    assert standing.decisions(STANDING)["epoch"] == 4_000_000_000
    assert standing.status(STANDING)["epoch"] == 4_000_000_000
    standing.change(STANDING, {"spec": {"suspend": False}})
    standing.await_condition(STANDING, "Ready", "False", "SharedFailure")


def test_an_unwatched_namespace_is_left_alone(world: World) -> None:
    world.unwatched.create(sample("foreign"))
    world.tenant.create(sample("watched"))
    world.tenant.await_condition("watched", "SpecAccepted", "True", "Accepted")
    foreign: Any = world.unwatched.pipeline("foreign")
    assert "finalizers" not in foreign["metadata"]
    assert "status" not in foreign
    assert (
        world.operator.metric(
            f'streampipeline_condition{{name="watched",namespace="{world.tenant.namespace}",type="Ready"}}'
        )
        == 0
    )


def test_a_deleted_pipeline_is_gone_within_a_bound_with_nothing_external_there(world: World) -> None:
    """Neither Kafka nor InfluxDB answers."""
    tenant = world.other
    tenant.create(sample("short"))
    tenant.await_deployed("short")
    uid = tenant.pipeline("short")["metadata"]["uid"]  # type: ignore[index]
    began = time.monotonic()
    tenant.delete("short")
    eventually("the finalizer is off", lambda: tenant.pipeline("short") is None, 40)
    print(f"deleted in {time.monotonic() - began:.1f} s")
    names = Names("short", tenant.namespace)
    # No controller collects them here; they go with their owner.
    left = {("Secret", names.influxdb_admin)}
    assert tenant.objects("short") <= left
    assert not (world.operator.workdir / uid).exists()
    series = f'namespace="{tenant.namespace}"'
    assert not [name for name, _ in world.operator.metrics() if series in name and 'name="short"' in name]


def test_the_operator_had_every_right_it_needed(world: World, standing: Tenant) -> None:
    """Runs last: a request that was refused would have been logged by then."""
    log = world.operator.child.log_file.read_text()
    assert "Forbidden" not in log
    assert '"status": 403' not in log
    assert "Traceback" not in log, "no turn of a loop failed in a way that nobody expected"
