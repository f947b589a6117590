"""A real kube-apiserver on its own etcd, without nodes and controllers: what is stored is real, nothing runs.

Objects are not collected with their owners, and namespaces are not emptied: that is the work of controllers.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from streampipeline.local.processes import Processes

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("STREAMPIPELINE_TEST_KUBERNETES") or REPOSITORY / "build/runtime/kubernetes")
"""Folder with etcd, kube-apiserver and kubectl."""
CRD = REPOSITORY / "crds/streampipelines.streampipeline.io.yaml"
_names = itertools.count(1)


@dataclass(frozen=True)
class ApiServer:
    """One that answers. `kubeconfig` is that of an administrator."""

    url: str
    certificate: Path
    kubeconfig: Path
    directory: Path
    _token: str = field(repr=False)

    def client(self) -> httpx.Client:
        """For requests of the administrator; paths such as /apis/streampipeline.io/v1alpha1/..."""
        return httpx.Client(
            base_url=self.url,
            verify=_trusting(self.certificate),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=30,
        )

    def kubectl(
        self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator, or as another kubeconfig has it.

        Raises AssertionError when it fails, unless `check` is off.
        """
        done = subprocess.run(
            [str(PROGRAMS / "kubectl"), *arguments],
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.directory),
                "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Server-side apply of objects, as the administrator."""
        text = yaml.safe_dump_all(documents)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def get(self, *arguments: str) -> dict[str, Any]:
        """The object, or the list, that `kubectl get` finds."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)
        return found

    def namespace(self, prefix: str = "test") -> str:
        """A new namespace."""
        name = f"{prefix}-{next(_names)}"
        self.kubectl("create", "namespace", name)
        return name

    def install_crd(self) -> None:
        """Install the CustomResourceDefinition and wait until it is served."""
        self.kubectl("apply", "--server-side", "-f", str(CRD))
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRD))

    def service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig of a ServiceAccount, made if it is missing: with its rights, by a token of its own."""
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        }
        self.apply(account)
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=2h").stdout.strip()
        return _write_kubeconfig(
            self.directory / f"{namespace}-{name}.kubeconfig", self.url, self.certificate, token, namespace
        )


@contextmanager
def running(directory: Path) -> Iterator[ApiServer]:
    """Start etcd and kube-apiserver with all their files in `directory`; both are ended at the end.

    RBAC is in force. Raises RuntimeError, with the end of its log, when one does not come up.
    """
    processes = Processes(directory)
    certificates = directory / "certificates"
    etcd, peers, port = (processes.reserve_port() for _ in range(3))
    token, url = secrets.token_hex(16), f"https://127.0.0.1:{port}"
    key = _write(directory / "service-accounts.key", _private_key())
    users = _write(directory / "tokens.csv", f'{token},administrator,administrator,"system:masters"\n')
    try:
        processes.start(
            "etcd",
            [
                str(PROGRAMS / "etcd"),
                f"--data-dir={directory / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peers}",
                "--unsafe-no-fsync",
            ],
        )
        processes.start(
            "kube-apiserver",
            [
                str(PROGRAMS / "kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={certificates}",
                "--authorization-mode=RBAC",
                f"--token-auth-file={users}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.96.0.0/16",
                # Pods need no account here: no controller makes the one called default.
                "--disable-admission-plugins=ServiceAccount",
                "--endpoint-reconciler-type=none",
            ],
        )
        certificate = certificates / "apiserver.crt"
        _wait(processes, url, certificate)
        kubeconfig = _write_kubeconfig(directory / "kubeconfig", url, certificate, token, "default")
        yield ApiServer(url, certificate, kubeconfig, directory, token)
    finally:
        processes.stop_all(grace_seconds=2)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One for all tests of the session: each takes a namespace of its own."""
    if not (PROGRAMS / "kube-apiserver").exists():
        reason = "no kube-apiserver: install it with hack/bootstrap.py --with kubernetes"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("api-server")
    try:
        with running(directory) as server:
            server.install_crd()
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(processes: Processes, url: str, certificate: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name in ("etcd", "kube-apiserver"):
            child = processes.get(name)
            if child is None or not child.alive:
                raise RuntimeError(f"{name} has ended: {child.last_lines() if child else ''}")
        with suppress(OSError, httpx.HTTPError):
            if httpx.get(f"{url}/readyz", verify=_trusting(certificate), timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    child = processes.get("kube-apiserver")
    raise RuntimeError(f"kube-apiserver is not ready: {child.last_lines() if child else ''}")


def _trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def _private_key() -> str:
    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _write(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def _write_kubeconfig(path: Path, url: str, certificate: Path, token: str, namespace: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(certificate)}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}
        ],
        "current-context": "test",
    }
    return _write(path, yaml.safe_dump(config))
