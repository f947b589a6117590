"""A kind cluster of one node that belongs to this project, while it is up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import node_image
from toolchain.docker import Docker

ADMIN = ("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")


class ClusterError(Exception):
    """The cluster is not there, not ours or not well; the message is for the user."""


@dataclass(frozen=True)
class Cluster:
    """A cluster of ours that is up."""

    name: str
    docker: Docker
    kubeconfig: Path

    @property
    def node(self) -> str:
        """The name of the node, and of its container."""
        return f"{self.name}-control-plane"

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 30) -> str:
        """Run `kubectl ARGUMENTS` in the node, as the cluster's administrator; return its standard output.

        Raises:
            DockerError: it failed or took longer than `timeout` seconds.
        """
        command = ("exec", *(() if stdin is None else ("-i",)), self.node, *ADMIN, *arguments)
        return self.docker.run(*command, stdin=stdin, timeout=timeout)

    def load(self, images: Sequence[str]) -> list[str]:
        """Copy images of the daemon into the node; return those that were not there already.

        Raises:
            ClusterError: the daemon lacks an image.
            DockerError: the copy failed.
        """
        ids = {image: self.docker.image_id(image) for image in images}
        if lacking := [image for image, found in ids.items() if found is None]:
            raise ClusterError(f"the Docker daemon has no image {', '.join(lacking)}")
        listing = self.docker.run("exec", self.node, "ctr", "-n", "k8s.io", "images", "ls")
        missing = [image for image, found in ids.items() if not has_image(listing, image, str(found))]
        if missing:
            node_image.load(self.docker, self.node, missing)
        return missing


def has_image(listing: str, image: str, image_id: str) -> bool:
    """Whether a node whose `ctr images ls` prints `listing` has `image` with the id that the daemon gives it.

    Kubernetes' interface to containerd lists each image under its id, too, with the same digest. A daemon
    that keeps its images in containerd gives that digest as the id.
    """
    digests = {words[0]: words[2] for line in listing.splitlines() if len(words := line.split()) > 2}
    digest = digests.get(full_name(image))
    return digest is not None and digest in (image_id, digests.get(image_id))


def full_name(image: str) -> str:
    """The name of an image as containerd knows it, with registry and tag."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not ("." in first or ":" in first or first == "localhost"):
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def names_only(kubeconfig: str, context: str, server: str) -> bool:
    """Whether a kubeconfig has `context` as its current one and leads to no server but `server`."""
    servers = re.findall(r"^\s*server: (\S+)$", kubeconfig, re.MULTILINE)
    current = re.findall(r"^current-context: (\S+)$", kubeconfig, re.MULTILINE)
    return servers == [server] and current == [context]
