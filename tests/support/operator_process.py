"""The operator as a process against an API server."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from tests.support.api_server import ApiServer
from tests.support.mortal_process import DIES_AFTER
from tests.support.rendered import of_kind, template

from streampipeline.local.processes import Child, Processes
from streampipeline_operator.kube import (
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    ApiException,
    Kind,
    Kube,
    Object,
)
from streampipeline_operator.settings import IMAGES

REPOSITORY = Path(__file__).parents[2]
SOURCES = tuple(REPOSITORY / name for name in ("jobs", "audit", "operator"))
ACCOUNT = "streampipeline-operator"
DASK_KINDS = (DASK_CLUSTER, DASK_WORKER_GROUP)
RBAC = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
Found = TypeVar("Found")


def eventually(what: str, find: Callable[[], Found | None], seconds: float = 30) -> Found:
    """Poll until `find` gives something true; that. Raises AssertionError with `what` and the last answer."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last seen: {found!r}"
        time.sleep(0.1)
    return found


def install_dask_definitions(server: ApiServer) -> None:
    """Dask's own, from its wheel."""
    spec = importlib.util.find_spec("dask_kubernetes")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(folder))
    admin = Kube.of(server.kubeconfig)
    # For a moment after its definition was written a kind answers 429.
    eventually("Dask's kinds are served", lambda: all(_served(admin, kind) for kind in DASK_KINDS))


def _served(admin: Kube, kind: Kind) -> bool:
    try:
        admin.list(kind, None, "")
    except ApiException as error:
        if error.status not in (404, 429):
            raise
        return False
    return True


def granted(server: ApiServer, namespace: str, **values: Any) -> Path:
    """A kubeconfig of the operator with the rights that the chart gives it in `namespace`."""
    server.apply(*of_kind(template(values, namespace), *RBAC))
    return server.service_account(namespace, ACCOUNT)


@dataclass
class OperatorProcess:
    """One replica."""

    processes: Processes = field(repr=False)
    identity: str
    metrics_port: int
    workdir: Path

    @property
    def child(self) -> Child:
        """The process; also after its end."""
        child = self.processes.get(self.identity)
        assert child is not None
        return child

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.processes.signal(self.identity, number)

    def kill(self) -> None:
        """End it as a lost node would: it can do nothing more."""
        self.signal(signal.SIGKILL)
        self.child.process.wait(10)

    def terminate(self, seconds: float = 20) -> int:
        """End it as Kubernetes does. Returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.child.process.wait(seconds)

    def metric(self, line: str) -> float | None:
        """Value of the sample that is written so, labels too; None: it is not there, or nobody answers."""
        for name, value in self.metrics():
            if name == line:
                return value
        return None

    def metrics(self) -> list[tuple[str, float]]:
        """All samples; none when nobody answers."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", trust_env=False, timeout=2).text
        except httpx.HTTPError:
            return []
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return [(name, float(value)) for name, _, value in lines]

    @property
    def leads(self) -> bool:
        """Whether it says that it holds the Lease."""
        return self.metric("streampipeline_leader") == 1

    def requests(self) -> float:
        """Requests to the API server so far."""
        return sum(
            value for name, value in self.metrics() if name.startswith("streampipeline_api_requests_total")
        )

    def memory_mib(self) -> float:
        """Its resident memory."""
        return float(psutil.Process(self.child.process.pid).memory_info().rss) / 2**20

    def log(self, event: str) -> list[Object]:
        """Lines of its log about one event, oldest first."""
        lines = self.child.log_file.read_text(errors="replace").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in told if line.get("event") == event]

    def await_leading(self, seconds: float = 60) -> None:
        """Wait until it leads. Raises AssertionError with the end of its log."""
        deadline = time.monotonic() + seconds
        while not self.leads:
            assert self.child.alive, f"{self.identity} has ended: {self.child.last_lines()}"
            assert time.monotonic() < deadline, f"{self.identity} does not lead: {self.child.last_lines()}"
            time.sleep(0.1)


class Operators:
    """Replicas that share a namespace, and so a Lease; all are ended with `close`."""

    def __init__(
        self,
        server: ApiServer,
        directory: Path,
        *,
        watch: tuple[str, ...] = (),
        kubeconfig: Path | None = None,
        namespace: str | None = None,
    ) -> None:
        """`watch`: namespaces, none: all. `kubeconfig`: whose rights they have, else an administrator's."""
        self.namespace = namespace or server.namespace("operators")
        self._kubeconfig = kubeconfig or server.kubeconfig
        self._watch = watch
        self._directory = directory
        self._processes = Processes(directory)

    def start(
        self,
        identity: str = "operator-0",
        *,
        wait: bool = True,
        kubeconfig: Path | None = None,
        dies_after: str | None = None,
    ) -> OperatorProcess:
        """Start a replica; with `wait` return when it leads. `kubeconfig`: another one than the others'.

        `dies_after`: the effect after which it kills itself, see `mortal_process`.
        """
        module = "tests.support.mortal_process" if dies_after else "streampipeline_operator"
        workdir, port = self._directory / f"work-{identity}", self._processes.reserve_port()
        self._processes.start(
            identity,
            [sys.executable, "-m", module],
            env={
                **{f"STREAMPIPELINE_IMAGE_{name.upper().replace('-', '_')}": f"{name}:1" for name in IMAGES},
                "KUBECONFIG": str(kubeconfig or self._kubeconfig),
                "POD_NAME": identity,
                "POD_NAMESPACE": self.namespace,
                "PYTHONPATH": os.pathsep.join(map(str, (*SOURCES, REPOSITORY))),
                DIES_AFTER: dies_after or "",
                "STREAMPIPELINE_WATCH_NAMESPACES": ",".join(self._watch),
                "STREAMPIPELINE_WORKDIR": str(workdir),
                "STREAMPIPELINE_METRICS_PORT": str(port),
                "STREAMPIPELINE_SERVICE_ACCOUNT": ACCOUNT,
            },
        )
        replica = OperatorProcess(self._processes, identity, port, workdir)
        if wait:
            replica.await_leading()
        return replica

    def close(self) -> None:
        """End all of them."""
        for name in self._processes.names():
            self._processes.signal(name, signal.SIGCONT)
        self._processes.stop_all(grace_seconds=5)


@contextmanager
def operators(
    server: ApiServer,
    directory: Path,
    *,
    watch: tuple[str, ...] = (),
    kubeconfig: Path | None = None,
    namespace: str | None = None,
) -> Iterator[Operators]:
    """See `Operators`; its Lease is a new namespace's unless `namespace` is given."""
    found = Operators(server, directory, watch=watch, kubeconfig=kubeconfig, namespace=namespace)
    try:
        yield found
    finally:
        found.close()
