"""A node image for kind without a registry of images: Debian's packages, kind's files, our Kubernetes.

The images of Kubernetes' own pods are in it already, as in kind's: binaries on the Debian base, known in the
node's containerd by the names that kubeadm gives them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from toolchain import base_image, kubernetes, prerequisites
from toolchain.docker import Docker, DockerError
from toolchain.store import Piece, Store, hash_of

REPOSITORY = "streampipeline/node"
POD_IMAGES = ("control-plane", "coredns", "pause", "local-path-provisioner", "local-path-helper")
CONTAINERD_SECONDS = 30


@dataclass(frozen=True)
class NodeParts:
    """The pieces that a node image is made of."""

    kubernetes: Piece
    kind: Piece
    addons: Piece
    base: Piece

    @classmethod
    def of(cls, hack: Path) -> NodeParts:
        """The parts as the sources in `hack` describe them."""
        return cls(
            kubernetes.kubernetes(hack), kubernetes.kind(hack), kubernetes.addons(hack), base_image.base()
        )

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of them, to be installed."""
        return (self.kubernetes, self.kind, self.addons, self.base)


def tag(hack: Path, parts: NodeParts) -> str:
    """The name of the node image made of these parts and the files in `hack/cluster`."""
    text = "\0".join([hash_of(hack / "cluster"), *(piece.key for piece in parts.pieces)])
    return f"{REPOSITORY}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def ensure(docker: Docker, store: Store, hack: Path) -> str:
    """Build the node image if the daemon lacks it; return its name.

    Raises:
        BuildError: a part could not be built.
        DockerError: the image could not be built.
        MissingPrerequisiteError: a tool for that is missing.
    """
    parts = NodeParts.of(hack)
    name = tag(hack, parts)
    with store.lock("node-image"):
        if docker.image_id(name) is None:
            _build(docker, store, hack, parts, name)
    return name


def _build(docker: Docker, store: Store, hack: Path, parts: NodeParts, name: str) -> None:
    tools = [tool for piece in store.missing(parts.pieces) for tool in piece.tools]
    prerequisites.require(tools, store.console, install=True)
    store.install(parts.pieces)
    base_image.load(docker, store, parts.base)
    console = store.console
    console.say("node image", "building")
    started = console.seconds
    with _context(store, hack, parts) as context:
        log = store.root / "logs/node-image.log"
        pods = {target: f"streampipeline/{target}:node" for target in POD_IMAGES}
        for target, pod in pods.items():
            docker.build(context, pod, target=target, log=log)
        docker.build(context, f"{name}-bare", target="node", log=log)
    console.say("node image", f"images built, {console.seconds - started:.1f} s")
    _commit(docker, store.path(parts.kubernetes) / "kubeadm", kubernetes.version(hack), pods, name)
    for old in docker.run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split():
        if old != name:
            with suppress(DockerError):  # a cluster is made from it
                docker.run("image", "rm", old)
    console.say("node image", f"{name} ready after {console.seconds - started:.1f} s")


@contextmanager
def _context(store: Store, hack: Path, parts: NodeParts) -> Iterator[Path]:
    """The folder that the Dockerfile copies from, in the cache so that the programs can be links."""
    with tempfile.TemporaryDirectory(dir=store.root / "building", prefix="node-") as folder:
        context = Path(folder)
        shutil.copytree(hack / "cluster", context, dirs_exist_ok=True)
        shutil.copytree(store.path(parts.kind) / "node", context / "kind")
        shutil.copyfile(store.path(parts.kind) / "storage.yaml", context / "storage.yaml")
        os.link(store.path(parts.kubernetes) / "kubernetes", context / "kubernetes")
        for program in ("coredns", "local-path-provisioner"):
            os.link(store.path(parts.addons) / program, context / program)
        (context / "version").write_text(kubernetes.version(hack))
        yield context


def pod_image(kubeadm_name: str) -> str:
    """Which of our images serves for the one that kubeadm calls `kubeadm_name`."""
    program = kubeadm_name.rpartition("/")[2].partition(":")[0]
    return program if program in POD_IMAGES else "control-plane"


def _commit(docker: Docker, kubeadm: Path, version: str, pods: dict[str, str], name: str) -> None:
    """Import the pods' images in a running container of the bare node image, and make that the node image."""
    listing = [str(kubeadm), "config", "images", "list", "--kubernetes-version", version]
    wanted = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    container = docker.run(
        "run",
        "--detach",
        "--security-opt",
        "seccomp=unconfined",
        "--entrypoint",
        "sleep",
        f"{name}-bare",
        "infinity",
    ).strip()
    ctr = ("exec", container, "ctr", "-n", "k8s.io", "images")
    try:
        docker.run("exec", "--detach", container, "containerd")
        _wait_for_containerd(docker, container)
        load(docker, container, list(pods.values()), "--no-unpack")
        for kubeadm_name in wanted:
            image = pods[pod_image(kubeadm_name)]
            docker.run(*ctr, "tag", f"docker.io/{image}", kubeadm_name)
        # The sandbox of every pod: the name in kind's configuration of containerd may be another version's.
        pause = next(found for found in wanted if pod_image(found) == "pause")
        config = "/etc/containerd/config.toml"
        docker.run("exec", container, "sed", "-i", f's|sandbox_image = .*|sandbox_image = "{pause}"|', config)
        docker.run("exec", container, "pkill", "containerd")
        entrypoint = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
        docker.run("commit", "--change", entrypoint, container, name)
    finally:
        docker.run("rm", "--force", "--volumes", container)


def load(docker: Docker, container: str, images: list[str], *options: str) -> None:
    """Copy images of the daemon into the containerd of a node, layers that they share only once.

    Raises:
        DockerError: the copy failed.
    """
    save = [docker.client, "save", *images]
    take = [
        docker.client,
        "exec",
        "-i",
        container,
        "ctr",
        "-n",
        "k8s.io",
        "images",
        "import",
        "--all-platforms",
    ]
    env = docker.full_environment
    with subprocess.Popen(save, stdout=subprocess.PIPE, env=env) as source:
        answer = subprocess.run(
            [*take, *options, "-"], stdin=source.stdout, capture_output=True, text=True, check=False, env=env
        )
    if source.returncode or answer.returncode:
        raise DockerError(f"loading {', '.join(images)} failed: {answer.stderr[-2000:]}")


def _wait_for_containerd(docker: Docker, container: str) -> None:
    deadline = time.monotonic() + CONTAINERD_SECONDS
    while True:
        try:
            docker.run("exec", container, "ctr", "version")
            return
        except DockerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
