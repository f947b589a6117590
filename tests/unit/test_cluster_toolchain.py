"""What of the cluster's toolchain can be judged without a cluster."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toolchain import base_image, clusters, docker_engine, kubernetes, node_image
from toolchain.clusters import STOCK_IMAGE, Clusters, Record, config, pullable
from toolchain.console import Console
from toolchain.docker import Docker
from toolchain.egress import closed_corefile
from toolchain.kind_cluster import ClusterError, full_name, has_image, names_only
from toolchain.store import BuildError, Store

HACK = Path(__file__).resolve().parents[2] / "hack"
ID = "sha256:" + "a" * 64
DIGEST = "sha256:" + "b" * 64


@pytest.fixture(scope="module")
def runc() -> ModuleType:
    spec = importlib.util.spec_from_file_location("runc_wrapper", HACK / "cluster/runc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("bounding", "lacks"),
    [("000001ffffffffff", False), ("000001fffeffffff", True), ("0000000000000000", True)],
)
def test_the_capability_is_read_from_the_bounding_set(bounding: str, lacks: bool) -> None:
    status = f"Name:\tpython\nCapEff:\t000001ffffffffff\nCapBnd:\t{bounding}\nCapAmb:\t0000000000000000\n"
    assert docker_engine.lacks_sys_resource(status) is lacks


def test_a_container_loses_the_capability_and_its_negative_oom_score(runc: ModuleType) -> None:
    both = ["CAP_NET_RAW", "CAP_SYS_RESOURCE"]
    process: dict[str, Any] = {"oomScoreAdj": -998, "capabilities": {"bounding": both, "permitted": both[:]}}
    spec = {"ociVersion": "1.0.2", "process": process, "root": {"path": "rootfs"}}
    runc.without_missing(spec)
    kept = {"bounding": ["CAP_NET_RAW"], "permitted": ["CAP_NET_RAW"]}
    assert spec["process"] == {"oomScoreAdj": 0, "capabilities": kept}
    assert spec["root"] == {"path": "rootfs"}


def test_a_positive_oom_score_stays(runc: ModuleType) -> None:
    process = {"oomScoreAdj": 500}
    runc.without_missing(process)
    assert process == {"oomScoreAdj": 500}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["create", "--bundle", "/b", "id"], "/b/config.json"),
        (["--root", "/r", "create", "--bundle=/b", "id"], "/b/config.json"),
        (["exec", "--process", "/p/file", "id"], "/p/file"),
        (["delete", "--force", "id"], None),
        (["create", "--bundle"], None),
    ],
)
def test_the_file_to_rewrite(runc: ModuleType, arguments: list[str], found: str | None) -> None:
    assert runc.spec_file(arguments) == (Path(found) if found else None)


def test_the_wrapper_rewrites_and_becomes_runc(tmp_path: Path) -> None:
    real = program(tmp_path, "runc", 'echo "$@"; exit 7')
    wrapper = tmp_path / "wrapper.py"
    wrapper.write_text((HACK / "cluster/runc.py").read_text().replace("/usr/sbin/runc", str(real)))
    spec = tmp_path / "config.json"
    spec.write_text(json.dumps({"process": {"capabilities": {"bounding": ["CAP_SYS_RESOURCE"]}}}))
    command = [sys.executable, "-IS", str(wrapper), "create", "--bundle", str(tmp_path), "id"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (7, f"create --bundle {tmp_path} id\n")
    assert json.loads(spec.read_text())["process"]["capabilities"]["bounding"] == []


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim"),
        ("streampipeline/dask:1", "docker.io/streampipeline/dask:1"),
        ("localhost:5000/dask", "localhost:5000/dask:latest"),
        ("example.org/a/b:2", "example.org/a/b:2"),
    ],
)
def test_the_name_of_an_image_in_containerd(image: str, name: str) -> None:
    assert full_name(image) == name


def test_an_image_is_in_the_node_only_with_the_same_content() -> None:
    line = "docker.io/streampipeline/dask:1 application/vnd.oci.image.manifest.v1+json {} 9 MiB linux/amd64 -"
    listing = f"REF TYPE DIGEST SIZE PLATFORMS LABELS\n{line.format(DIGEST)}\n"
    by_id = listing + line.format(DIGEST).replace("docker.io/streampipeline/dask:1", ID) + "\n"
    older = listing + line.format("sha256:" + "c" * 64).replace("docker.io/streampipeline/dask:1", ID) + "\n"
    assert has_image(by_id, "streampipeline/dask:1", ID)
    assert has_image(listing, "streampipeline/dask:1", DIGEST)
    assert not has_image(listing, "streampipeline/dask:1", ID)
    assert not has_image(older, "streampipeline/dask:1", ID)
    assert not has_image(by_id, "streampipeline/dask:2", ID)


def test_a_kubeconfig_that_leads_elsewhere_is_refused() -> None:
    server = "https://127.0.0.1:4711"
    text = f"clusters:\n- cluster:\n    server: {server}\n  name: kind-a\ncurrent-context: kind-a\n"
    assert names_only(text, "kind-a", server)
    assert not names_only(text, "kind-b", server)
    assert not names_only(text, "kind-a", "https://127.0.0.1:4712")
    assert not names_only(text + "- cluster:\n    server: https://prod.example\n", "kind-a", server)
    assert not names_only("", "kind-a", server)


def test_only_a_built_node_brings_its_own_network() -> None:
    assert config(built=True)["networking"]["disableDefaultCNI"] is True
    assert "disableDefaultCNI" not in config(built=False)["networking"]
    assert config(built=False)["networking"]["apiServerAddress"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("pull", "taken"),
    [
        ("echo v1: Pulling from kindest/node; exit 0", True),
        ("echo v1: Pulling from kindest/node; echo connection lost; exit 1", False),
        ("echo dial tcp: no such host; exit 1", False),
        ("exec sleep 60", False),
    ],
)
def test_the_stock_image_is_taken_where_it_can_be_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pull: str, taken: bool
) -> None:
    monkeypatch.setattr(clusters, "PROBE_SECONDS", 0.5)
    client = program(
        tmp_path, "docker", f'if [ "$1" = image ]; then echo "No such image" >&2; exit 1; fi; {pull}'
    )
    assert pullable(Docker(str(client)), STOCK_IMAGE) is taken


def test_an_image_that_is_there_is_not_pulled(tmp_path: Path) -> None:
    client = program(tmp_path, "docker", f"""[ "$1" = image ] && echo '[{{"Id": "{ID}"}}]'""")
    assert pullable(Docker(str(client)), STOCK_IMAGE)


def test_a_cluster_that_was_not_made_here_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    node = '[{"Id": "foreign", "State": {"Running": true}}]'
    client = program(tmp_path, "docker", f"""echo "$@" >> {calls}; echo '{node}'""")
    monkeypatch.setattr(docker_engine, "find", lambda: Docker(str(client)))
    made = Clusters(Store(tmp_path / "cache", Console()), HACK)
    with pytest.raises(ClusterError, match="not made here"):
        made.up("streampipeline", tmp_path / "kubeconfig")
    assert made.down("streampipeline") is False
    made._write(
        "streampipeline", Record(str(tmp_path / "kubeconfig"), "image", closed=True, container="ours")
    )
    with pytest.raises(ClusterError, match="not made here"):
        made.up("streampipeline", tmp_path / "kubeconfig")
    with pytest.raises(ClusterError, match="not the one"):
        made.down("streampipeline")
    with pytest.raises(ClusterError, match="does not run"):
        made.find("streampipeline")
    assert {line.split()[0] for line in calls.read_text().splitlines()} == {"container"}


def test_without_a_daemon_a_user_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_engine, "find", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(docker_engine.EngineError, match="root on Debian"):
        docker_engine.find_or_start(tmp_path, HACK / "cluster/runc.py", Console())


def test_other_names_than_the_clusters_do_not_exist_in_a_closed_cluster() -> None:
    forward = "    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n"
    before = ".:53 {\n    errors\n" + forward + "    cache 30\n}\n"
    after = closed_corefile(before)
    assert "forward" not in after
    assert after.startswith("cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {\n    errors\n    cache 30\n}\n")
    assert after.endswith(".:53 {\n    errors\n    template ANY ANY {\n        rcode NXDOMAIN\n    }\n}\n")


def test_each_pod_of_the_control_plane_has_an_image() -> None:
    names = {"x/kube-proxy:v1": "control-plane", "x/etcd:3": "control-plane", "x/pause:3.10.1": "pause"}
    names["x/coredns/coredns:v1.12.1"] = "coredns"
    assert {name: node_image.pod_image(name) for name in names} == names
    stages = (HACK / "cluster/Dockerfile").read_text()
    assert all(f" AS {target}\n" in stages for target in (*node_image.POD_IMAGES, "node"))
    assert f"FROM {base_image.TAG} AS node" in stages


def test_the_node_image_follows_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = node_image.NodeParts.of(HACK)
    name = node_image.tag(HACK, parts)
    assert name == node_image.tag(HACK, node_image.NodeParts.of(HACK))
    monkeypatch.setattr(base_image, "REVISION", "another")
    assert name != node_image.tag(HACK, node_image.NodeParts.of(HACK))


def test_the_storage_manifest_gets_our_images() -> None:
    source = (
        "const defaultStorageManifest = `\nkind: Pod\nimage: ` + storageProvisionerImage + `\n"
        "helper: ` + storageHelperImage + `\n`\n"
    )
    manifest = kubernetes.storage_manifest(source)
    images = kubernetes.STORAGE_IMAGES
    assert manifest == "kind: Pod\nimage: {storageProvisionerImage}\nhelper: {storageHelperImage}\n".format(
        **images
    )
    with pytest.raises(BuildError):
        kubernetes.storage_manifest(source.replace("storageHelperImage", "storageOtherImage"))


def test_kubernetes_and_its_libraries_have_one_version() -> None:
    text = (HACK / "kubernetes/go.mod").read_text()
    library = kubernetes.version(HACK).replace("v1.", "v0.", 1)
    replaced = [line.split() for line in text.splitlines() if " => k8s.io/" in line]
    assert len(replaced) > 25
    assert {words[-1] for words in replaced} == {library}
