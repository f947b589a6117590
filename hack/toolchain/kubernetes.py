"""Kubernetes, etcd, kind, Helm and two add-ons of a cluster, built from Go's module proxy.

Most come from one Go module of ours, `hack/kubernetes`: its go.sum vouches for them and what they share
is compiled once. Helm and CoreDNS are not in it, they want other versions of Kubernetes' libraries: for them
Go's checksum database vouches.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain import influxd
from toolchain.store import BuildError, Job, Piece, hash_of

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
)
KIND = "sigs.k8s.io/kind"
LOCAL_PATH_PROVISIONER = "github.com/rancher/local-path-provisioner"
COREDNS = "github.com/coredns/coredns"
COREDNS_VERSION = "v1.12.1"  # what kubeadm of this Kubernetes installs
# The constants in kind's sources that name the images of its provisioner of volumes, and what we call ours.
STORAGE_IMAGES = {
    "storageProvisionerImage": "streampipeline/local-path-provisioner:node",
    "storageHelperImage": "streampipeline/local-path-helper:node",
}
HELM = "helm.sh/helm/v3"
HELM_VERSION = "v3.20.2"
# Static programs run in any image; "auto" lets Go fetch the toolchain that a module asks for.
GO_ENV = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "-trimpath -buildvcs=false"}
VERSIONS = "k8s.io/component-base/version"


def version(hack: Path) -> str:
    """The version of Kubernetes that is built, such as `v1.34.4`."""
    return _required(hack, "k8s.io/kubernetes")


def kubernetes(hack: Path) -> Piece:
    """A folder with Kubernetes' programs and etcd: links to one program, ten minutes on two cores."""
    number = version(hack)
    major, minor = number.removeprefix("v").split(".")[:2]
    known = {"gitVersion": number, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(["-s -w", *(f"-X {VERSIONS}.{name}={value}" for name, value in known.items())])

    def build(job: Job) -> None:
        job.say(f"building Kubernetes {number} and etcd from source: about 10 minutes on 2 cores, once")
        with _go(job) as go:
            go.build(hack / "kubernetes", ["-ldflags", flags, "-o", job.folder / "kubernetes", "."])
        for name in PROGRAMS:
            (job.folder / name).symlink_to("kubernetes")

    return Piece("kubernetes", (hash_of(hack / "kubernetes"), flags), build, tools=("go",))


def kind(hack: Path) -> Piece:
    """`kind`, and from its sources what a node image of our own is made with.

    Its folder has `kind`, `node/` (files of the node image) and `storage.yaml` (its provisioner of volumes).
    """

    def build(job: Job) -> None:
        with _go(job) as go:
            go.build(hack / "kubernetes", ["-ldflags", "-s -w", "-o", job.folder / "kind", KIND])
            source = go.source(hack / "kubernetes", KIND)
        shutil.copytree(source / "images/base/files", job.folder / "node", copy_function=shutil.copyfile)
        for path, _, _ in os.walk(job.folder / "node"):
            Path(path).chmod(0o755)  # the module cache is read-only
        text = (source / "pkg/build/nodeimage/const_storage.go").read_text()
        (job.folder / "storage.yaml").write_text(storage_manifest(text))

    inputs = (hash_of(hack / "kubernetes"), *STORAGE_IMAGES.values())
    return Piece("kind", inputs, build, tools=("go",))


def storage_manifest(source: str) -> str:
    """The manifest of kind's provisioner of volumes, out of its Go source, with our images.

    Raises:
        BuildError: the source is not as expected.
    """
    for name, image in STORAGE_IMAGES.items():
        source = source.replace(f"` + {name} + `", image)
    found = re.search(r"^const defaultStorageManifest = `\n(.*)^`$", source, re.DOTALL | re.MULTILINE)
    if found is None or "`" in found[1]:
        raise BuildError("kind: its sources have no storage manifest of the expected form")
    return found[1]


def addons(hack: Path) -> Piece:
    """A folder with `coredns` and `local-path-provisioner`, for the cluster's images."""

    def build(job: Job) -> None:
        job.say(f"building CoreDNS {COREDNS_VERSION} from source: about 4 minutes on 2 cores, once")
        flags = ["-ldflags", "-s -w"]
        with _go(job) as go:
            go.build(hack / "kubernetes", [*flags, "-o", f"{job.folder}/", LOCAL_PATH_PROVISIONER])
            go.install(f"{COREDNS}@{COREDNS_VERSION}", flags)

    inputs = (hash_of(hack / "kubernetes"), COREDNS_VERSION)
    return Piece("addons", inputs, build, tools=("go",))


def helm() -> Piece:
    """A folder with `helm`."""
    flags = f"-s -w -X {HELM}/internal/version.version={HELM_VERSION}"

    def build(job: Job) -> None:
        with _go(job) as go:
            go.install(f"{HELM}/cmd/helm@{HELM_VERSION}", ["-ldflags", flags])

    return Piece("helm", (HELM_VERSION, flags), build, tools=("go",))


@dataclass(frozen=True)
class _Go:
    """The Go command at work for one job."""

    job: Job
    program: str

    def run(self, arguments: Sequence[str | Path], cwd: Path, **env: str) -> None:
        self.job.run(["nice", "-n", "5", self.program, *arguments], cwd=cwd, env={**GO_ENV, **env})

    def build(self, module: Path, arguments: Sequence[str | Path]) -> None:
        self.run(["build", *arguments], cwd=module)

    def install(self, package: str, flags: Sequence[str]) -> None:
        self.run(["install", *flags, package], cwd=self.job.folder, GOBIN=str(self.job.folder))

    def source(self, module: Path, name: str) -> Path:
        """The folder of a module that `module` requires, in Go's cache."""
        command = [self.program, "list", "-m", "-f", "{{.Dir}}", name]
        answer = subprocess.run(
            command, cwd=module, capture_output=True, text=True, check=False, env={**os.environ, **GO_ENV}
        )
        if answer.returncode:
            raise BuildError(f"{self.job.name}: {' '.join(command)} failed:\n{answer.stderr}")
        return Path(answer.stdout.strip())


@contextmanager
def _go(job: Job) -> Iterator[_Go]:
    """Go, one build at a time: each uses all cores, and the next one finds what this one compiled."""
    with job.store.lock("go"):
        work = job.folder / "build"
        work.mkdir()
        yield _Go(job, influxd._go(job, work))
        shutil.rmtree(work)


def _required(hack: Path, module: str) -> str:
    found = re.search(
        rf"^\s*{re.escape(module)} (\S+)$", (hack / "kubernetes/go.mod").read_text(), re.MULTILINE
    )
    assert found is not None, module
    return found[1]
