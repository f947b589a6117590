"""Making, finding and deleting kind clusters that belong to this project.

Where the Docker daemon can pull kind's node image, that is used; elsewhere everything is built from package
registries (see node_image.py). Only a cluster that is recorded in the cache as made here is ever touched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolchain import docker_engine, egress, kubernetes, node_image, prerequisites
from toolchain.docker import Docker, DockerError
from toolchain.kind_cluster import Cluster, ClusterError, names_only
from toolchain.store import Store

NAME = "streampipeline"
# Of the same minor version as what is built; kind's own default (1.35 and newer) refuses cgroup v1.
STOCK_IMAGE = "kindest/node:v1.34.3@sha256:08497ee19eace7b4b5348db5c6a1591d7752b164530a36f855cb0f2bdcbadd48"
PROBE_SECONDS = 20.0
READY_SECONDS = 120
ADDONS = {"kube-system": "coredns", "local-path-storage": "local-path-provisioner"}


@dataclass(frozen=True)
class Record:
    """What the cache remembers of a cluster.

    Args:
        kubeconfig: the path of its kubeconfig.
        image: the node image that it was made from.
        closed: what it sends to the outside is refused.
        container: the id of the node's container; None while it is being made.
    """

    kubeconfig: str
    image: str
    closed: bool
    container: str | None = None


def config(*, built: bool) -> dict[str, Any]:
    """The configuration for `kind create cluster`; `built` says whether the node image is ours."""
    # The cluster is disposable: what etcd loses in a power cut is made anew.
    etcd = {"kind": "ClusterConfiguration", "etcd": {"local": {"extraArgs": {"unsafe-no-fsync": "true"}}}}
    networking = {"apiServerAddress": "127.0.0.1", "podSubnet": "10.244.0.0/16"}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        # A node that we build brings a static network: one node needs no more.
        "networking": networking | ({"disableDefaultCNI": True} if built else {}),
        "nodes": [{"role": "control-plane"}],
        "kubeadmConfigPatches": [json.dumps(etcd)],
    }


class Clusters:
    """Makes, finds and deletes clusters.

    Args:
        store: the cache, where the records are, too.
        hack: the folder of the sources that a node image is made of.
    """

    def __init__(self, store: Store, hack: Path) -> None:
        self.store = store
        self.hack = hack
        self.console = store.console

    def up(self, name: str, kubeconfig: Path) -> Cluster:
        """The cluster, made if it is not there, started if it stands still, with its kubeconfig written.

        Raises:
            ClusterError: a cluster of that name is there that was not made here, or it does not get ready.
            BuildError, DockerError, EngineError, MissingPrerequisiteError: a part can't be had.
        """
        with self.store.lock(f"cluster-{name}"):
            docker = docker_engine.find_or_start(self.store.root, self.hack / "cluster/runc.py", self.console)
            cluster = Cluster(name, docker, kubeconfig)
            node, record = docker.inspect("container", cluster.node), self._record(name)
            if node is not None:
                if record is None or record.container not in (None, node["Id"]):
                    raise ClusterError(f"there is a kind cluster called {name} that was not made here")
                if record.container is not None and self._revive(cluster, running=node["State"]["Running"]):
                    self._connect(cluster, replace(record, kubeconfig=str(kubeconfig)))
                    self.console.say(name, "the cluster is up already")
                    return cluster
                self.console.say(name, "the cluster does not get ready: making it anew")
                self._kind("delete", "cluster", "--name", name)
            self._create(cluster)
            return cluster

    def find(self, name: str) -> Cluster:
        """The cluster of that name if it is ours and its node runs.

        Raises:
            ClusterError: it is not.
        """
        record, docker = self._record(name), docker_engine.find()
        if record is None or record.container is None or docker is None:
            raise ClusterError(f"no cluster {name} was made here: run `make cluster`")
        cluster = Cluster(name, docker, Path(record.kubeconfig))
        node = docker.inspect("container", cluster.node)
        if node is None or node["Id"] != record.container or not node["State"]["Running"]:
            raise ClusterError(f"the cluster {name} that was made here does not run: run `make cluster`")
        text = cluster.kubeconfig.read_text() if cluster.kubeconfig.exists() else ""
        port = node["NetworkSettings"]["Ports"]["6443/tcp"][0]["HostPort"]
        if not names_only(text, f"kind-{name}", f"https://127.0.0.1:{port}"):
            raise ClusterError(f"{cluster.kubeconfig} is not that of the cluster {name}: run `make cluster`")
        return cluster

    def down(self, name: str) -> bool:
        """Delete the cluster; return False if there is none that was made here.

        Raises:
            ClusterError: the cluster of that name is not the one that was made here.
            BuildError, DockerError, EngineError: it could not be deleted.
        """
        with self.store.lock(f"cluster-{name}"):
            record = self._record(name)
            if record is None:
                return False
            docker = docker_engine.find_or_start(self.store.root, self.hack / "cluster/runc.py", self.console)
            node = docker.inspect("container", f"{name}-control-plane")
            if node is not None and record.container not in (None, node["Id"]):
                raise ClusterError(f"the kind cluster called {name} is not the one that was made here")
            self._kind("delete", "cluster", "--name", name, "--kubeconfig", record.kubeconfig)
            self._place(name).unlink()
            if record.closed and not self._names():  # all clusters are on one network
                egress.allow(docker)
            return True

    def _create(self, cluster: Cluster) -> None:
        docker, name = cluster.docker, cluster.name
        built = not pullable(docker, STOCK_IMAGE)
        if built:
            self.console.say(name, "no node image to pull here: building one from package registries")
        image = node_image.ensure(docker, self.store, self.hack) if built else STOCK_IMAGE
        closed = built and docker_engine.is_ours(docker)  # nobody else's clusters are on that daemon
        record = Record(str(cluster.kubeconfig), image, closed)
        self._write(name, record)  # so that what an interruption leaves is known as ours
        cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        started = self.console.seconds
        self.console.say(name, "creating the cluster")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as settings:
            json.dump(config(built=built), settings)
            settings.flush()
            self._kind(
                *("create", "cluster", "--name", name, "--image", image, "--config", settings.name),
                *("--kubeconfig", str(cluster.kubeconfig), "--wait", f"{READY_SECONDS}s"),
            )
        node = docker.inspect("container", cluster.node)
        assert node is not None
        self._connect(cluster, replace(record, container=node["Id"]))
        if closed:
            egress.close_names(cluster)
        for space, deployment in ADDONS.items():
            target = ("--namespace", space, f"deployment/{deployment}", f"--timeout={READY_SECONDS}s")
            cluster.kubectl("rollout", "status", *target, timeout=READY_SECONDS + 10)
        self.console.say(name, f"the cluster is ready after {self.console.seconds - started:.1f} s")

    def _connect(self, cluster: Cluster, record: Record) -> None:
        """Write the kubeconfig if it is not there, keep the traffic here, remember."""
        if not cluster.kubeconfig.exists():
            cluster.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            export = ("export", "kubeconfig", "--name", cluster.name)
            self._kind(*export, "--kubeconfig", str(cluster.kubeconfig))
        if record.closed:
            egress.refuse(cluster.docker)
        self._write(cluster.name, record)

    def _revive(self, cluster: Cluster, *, running: bool) -> bool:
        """Start a node that stands still; whether its API server is ready, at once or soon."""
        if not running:
            self.console.say(cluster.name, "starting the node")
            cluster.docker.run("start", cluster.node)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                cluster.kubectl("get", "--raw", "/readyz", timeout=10)
                return True
            except DockerError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(1)

    def _kind(self, *arguments: str) -> None:
        """Run kind: the machine's where the stock node image is used and it is there, or else ours."""
        docker = docker_engine.find()
        assert docker is not None
        piece = kubernetes.kind(self.hack)
        found = None if self.store.has(piece) else shutil.which("kind")
        if found is None:
            prerequisites.require(
                [tool for missing in self.store.missing([piece]) for tool in missing.tools], self.console
            )
            self.store.install([piece])
            found = str(self.store.path(piece) / "kind")
        self.store.run("kind", [found, *arguments], cwd=None, env=docker.environment)

    def _names(self) -> list[str]:
        return [place.stem for place in self.store.root.glob("clusters/*.json")]

    def _place(self, name: str) -> Path:
        return self.store.root / f"clusters/{name}.json"

    def _record(self, name: str) -> Record | None:
        place = self._place(name)
        return Record(**json.loads(place.read_text())) if place.exists() else None

    def _write(self, name: str, record: Record) -> None:
        place = self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(record)))
        fresh.replace(place)


def pullable(docker: Docker, image: str) -> bool:
    """Pull an image; False if its registry does not begin to answer within 20 s, or the pull fails."""
    if docker.image_id(image) is not None:
        return True
    pull = subprocess.Popen(
        [docker.client, "pull", image],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=docker.full_environment,
    )
    with pull:
        assert pull.stdout is not None
        limit = threading.Timer(PROBE_SECONDS, pull.kill)
        limit.start()
        pull.stdout.readline()  # printed when the registry has answered
        limit.cancel()
        pull.stdout.read()
    return pull.returncode == 0
