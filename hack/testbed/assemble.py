"""From nothing to a cluster that has all images: what the demo and the end-to-end tests begin with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bootstrap import cache_root
from cluster import KUBECONFIG, clusters
from testbed.bed import CHECKOUT, Bed
from toolchain import docker_engine, images
from toolchain.clusters import NAME
from toolchain.console import Console
from toolchain.store import Store


def assemble(console: Console | None = None, name: str = NAME) -> Bed:
    """Bring the cluster up and the images onto it, both at the same time. Quick when all is there.

    Raises:
        BuildError, ClusterError, DockerError, EngineError, MissingPrerequisiteError: see `hack/cluster.py`.
    """
    console = console or Console()
    made, store = clusters(console), Store(cache_root(), console)
    docker = docker_engine.find_or_start(cache_root(), CHECKOUT / "hack/cluster/runc.py", console)
    with ThreadPoolExecutor(2) as pool:
        kubeconfig = KUBECONFIG if name == NAME else KUBECONFIG.with_name(f"kubeconfig-{name}")
        up = pool.submit(made.up, name, kubeconfig)
        built = pool.submit(images.build_all, docker, store, CHECKOUT)
        cluster, references = up.result(), built.result()
    made.find(name)  # refuses a kubeconfig that leads elsewhere
    started = console.seconds
    loaded = cluster.load(list(references.values()))
    if loaded:
        console.say("images", f"{len(loaded)} loaded in {console.seconds - started:.0f} s")
    runtime = CHECKOUT / "build/runtime"
    return Bed(
        kubeconfig=cluster.kubeconfig,
        kubectl_program=runtime / "kubernetes/kubectl",
        helm_program=runtime / "helm",
        images=references,
        say=lambda text: console.say("demo", text),
    )


if __name__ == "__main__":
    assemble()
