"""The cluster as demo and tests use it: kubectl for what users type, the API for what is looked at often."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from streampipeline_operator import kube
from streampipeline_operator.kube import Kube, Object
from streampipeline_operator.names import COMPONENT_LABEL, PIPELINE_LABEL

CHECKOUT = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "streampipeline-system"


class BedError(Exception):
    """Something did not come about; the message says what, and where to look."""


@dataclass
class Bed:
    """A cluster that was made for us: `kubeconfig` knows no other."""

    kubeconfig: Path
    kubectl_program: Path
    helm_program: Path
    images: Mapping[str, str]
    """Name -> reference, as the cluster's nodes have them."""
    say: Callable[[str], None] = print
    api: Kube = field(init=False)

    def __post_init__(self) -> None:
        self.api = Kube.of(self.kubeconfig)

    def environment(self) -> dict[str, str]:
        """For programs: nothing but this cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def _run(
        self, program: Path, arguments: tuple[str, ...], stdin: str | None, check: bool
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
        )
        if check and done.returncode:
            raise BedError(
                f"{program.name} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints. Raises BedError."""
        return self._run(self.kubectl_program, arguments, stdin, check).stdout

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl says when it is refused. Raises BedError when it is not."""
        done = self._run(self.kubectl_program, arguments, stdin, check=False)
        if not done.returncode:
            raise BedError(f"kubectl {' '.join(arguments)} was not refused")
        return done.stderr

    def helm(self, *arguments: str) -> str:
        """What helm prints. Raises BedError."""
        return self._run(self.helm_program, arguments, None, True).stdout

    def streampipeline(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Our command line. Raises BedError when it fails and `check` is set."""
        program = CHECKOUT / "bin/kubectl-streampipeline"
        return self._run(program, (*arguments, "--kubeconfig", str(self.kubeconfig)), None, check)

    def apply(self, namespace: str, *documents: Object) -> None:
        """`kubectl apply`. Raises BedError."""
        # As JSON: YAML's readers do not agree about a plain Y.
        together = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(together))

    def namespace(self, name: str) -> str:
        """Make a namespace in which the operator may use Secrets."""
        self.kubectl("create", "namespace", name)
        return name

    # Looking

    def pipeline(self, namespace: str, name: str) -> Object:
        """The resource. Raises BedError when there is none."""
        found = self.api.get(kube.PIPELINE, namespace, name)
        if found is None:
            raise BedError(f"there is no StreamPipeline {name} in {namespace}")
        return found

    def pods(self, namespace: str, pipeline: str, *components: str) -> list[Object]:
        """Of a pipeline, of these components or all."""
        selector = f"{PIPELINE_LABEL}={pipeline}"
        if components:
            selector += f",{COMPONENT_LABEL} in ({','.join(components)})"
        return self.api.list(kube.POD, namespace, selector)

    def until(self, what: str, holds: Callable[[], Any], *, seconds: float, every: float = 0.5) -> Any:
        """Wait until something holds; returns it. Raises BedError with what is there instead."""
        deadline = time.monotonic() + seconds
        while True:
            found = None
            with suppress(HTTPError):  # a busy API server's silence says nothing
                found = holds()
            if found:
                return found
            if time.monotonic() > deadline:
                raise BedError(f"not within {seconds:.0f} s: {what}\n{self.describe()}")
            time.sleep(every)

    def describe(self) -> str:
        """What a person would look at first when something hangs."""
        looks = [
            ("get", "sp", "-A", "-o", "wide"),
            ("get", "pods", "-A", "-o", "wide"),
            ("get", "events", "-A", "--sort-by=.lastTimestamp"),
            ("logs", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator", "--tail=40"),
        ]
        return "\n".join(self.kubectl(*look, check=False)[-6000:] for look in looks)

    def condition(self, namespace: str, name: str, kind: str) -> Object:
        """One condition; {} while there is none."""
        conditions = (self.pipeline(namespace, name).get("status") or {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def phase(self, namespace: str, name: str) -> str:
        """Of a pipeline; empty at first."""
        return str((self.pipeline(namespace, name).get("status") or {}).get("phase", ""))

    def json_of(self, *arguments: str) -> Any:
        """What kubectl prints with -o json."""
        return json.loads(self.kubectl(*arguments, "-o", "json"))
