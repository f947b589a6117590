#!/usr/bin/env python3
"""A Kubernetes cluster of one node for this project, with kind.

    python3 hack/cluster.py up | status | load IMAGE... | down [--engine]

See docs/cluster.md for what it installs and where.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from bootstrap import CHECKOUT, cache_root
from toolchain import docker_engine
from toolchain.clusters import NAME, Clusters
from toolchain.console import Console
from toolchain.docker import DockerError
from toolchain.kind_cluster import ClusterError
from toolchain.prerequisites import MissingPrerequisiteError
from toolchain.store import BuildError, Store

KUBECONFIG = CHECKOUT / "build/kubeconfig"
ERRORS = (BuildError, ClusterError, DockerError, MissingPrerequisiteError, docker_engine.EngineError)


def clusters(console: Console | None = None) -> Clusters:
    """The clusters of this user's cache."""
    return Clusters(Store(cache_root(), console or Console()), CHECKOUT / "hack")


def owned_kubeconfig(name: str = NAME) -> Path:
    """The kubeconfig of the cluster called `name`, after a look that it leads to that cluster and no other.

    Raises:
        ClusterError: no such cluster was made here, it does not run, or the file leads elsewhere.
    """
    return clusters().find(name).kubeconfig


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description="A Kubernetes cluster for this project, with kind.")
    parser.add_argument("--name", default=NAME, help="the cluster's name (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make or start the cluster; installs Docker if it is missing")
    up.add_argument("--kubeconfig", type=Path, default=KUBECONFIG, help="default: build/kubeconfig")
    commands.add_parser("status", help="say whether the cluster runs")
    load = commands.add_parser("load", help="copy images of the Docker daemon into the node")
    load.add_argument("image", nargs="+")
    down = commands.add_parser("down", help="delete the cluster")
    down.add_argument(
        "--engine", action="store_true", help="and the Docker daemon started here, with its images"
    )
    down.add_argument(
        "--keep-images", action="store_true", help="with --engine: keep its data for the next time"
    )
    arguments = parser.parse_args()
    console = Console()
    try:
        _run(arguments, clusters(console), console)
    except ERRORS as error:
        sys.exit(f"cluster: {error}")
    except KeyboardInterrupt:
        sys.exit("cluster: interrupted; run the same command again to go on")


def _run(arguments: argparse.Namespace, made: Clusters, console: Console) -> None:
    name = arguments.name
    if arguments.command == "up":
        cluster = made.up(name, arguments.kubeconfig.absolute())
        console.say(name, f"export KUBECONFIG={cluster.kubeconfig}  # context kind-{name}")
    elif arguments.command == "status":
        cluster = made.find(name)
        print(cluster.kubectl("get", "nodes", "--output", "wide"), end="")
        print(cluster.kubectl("get", "pods", "--all-namespaces"), end="")
    elif arguments.command == "load":
        started = console.seconds
        loaded = made.find(name).load(arguments.image)
        there = len(arguments.image) - len(loaded)
        took = console.seconds - started
        console.say(name, f"{len(loaded)} images loaded, {there} were there already, {took:.1f} s")
    else:
        console.say(name, "deleted" if made.down(name) else "there is no cluster that was made here")
        if arguments.engine:
            docker_engine.stop(console)
            if not arguments.keep_images:
                shutil.rmtree(cache_root() / "docker", ignore_errors=True)


if __name__ == "__main__":
    main()
