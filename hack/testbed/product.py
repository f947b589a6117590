"""The product and what it needs on a test cluster: the chart, a broker, a pipeline, a stream of records."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from influxdb_client.client.influxdb_client import InfluxDBClient
from urllib3 import Retry

from streampipeline.local.processes import free_port
from streampipeline_operator import kube
from streampipeline_operator.kube import Object
from testbed.bed import CHECKOUT, OPERATOR_NAMESPACE, Bed

RELEASE = "streampipeline"
SAMPLE = CHECKOUT / "samples/nurse-stress.yaml"
PARTITIONS = 4
JOB = kube.Kind("batch/v1", "Job", "jobs")


def chart_values(bed: Bed, secret_namespaces: Sequence[str], watch: Sequence[str] = ()) -> Object:
    """Values for the images as they are on the cluster, whole references."""
    named = {
        "operator": "operator",
        "flink": "flink",
        "dask": "dask",
        "modelServer": "model-server",
        "influxdb": "influxdb",
        "daskOperator": "dask-operator",
    }
    return {
        "image": {"pullPolicy": "IfNotPresent"},
        "images": {key: bed.images[name] for key, name in named.items()},
        "secretNamespaces": list(secret_namespaces),
        "watchNamespaces": list(watch),
    }


def install(bed: Bed, secret_namespaces: Sequence[str], **more: Any) -> None:
    """Helm upgrade --install, and wait until the operator leads. Raises BedError."""
    values = {**chart_values(bed, secret_namespaces), **more}
    file = CHECKOUT / "build/testbed-values.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(values))
    bed.helm(
        "upgrade", "--install", RELEASE, str(CHECKOUT / "charts/streampipeline"),
        "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
        "--values", str(file), "--wait", "--timeout", "180s",
    )  # fmt: skip


def start_broker(bed: Bed, namespace: str) -> None:
    """Kafka and the topic of the samples."""
    documents = []
    for document in yaml.safe_load_all((CHECKOUT / "samples/kafka.yaml").read_text()):
        text = json.dumps(document)
        text = text.replace("apache/kafka:4.1.0", bed.images["kafka"])
        text = text.replace("streampipeline/dask:dev", bed.images["dask"])
        documents.append(json.loads(text))
    bed.apply(namespace, *documents)
    bed.kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/stress-topic", "--timeout=180s")


def sample(name: str = "nurse-stress", **changes: Any) -> list[Object]:
    """The documents of the sample, the pipeline under another name and with parts of its spec replaced."""
    documents = list(yaml.safe_load_all(SAMPLE.read_text()))
    pipeline = documents[-1]
    pipeline["metadata"]["name"] = name
    for path, value in changes.items():
        place = pipeline["spec"]
        *parents, last = path.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    return documents


def grant(bed: Bed, namespace: str) -> None:
    """Let the operator use Secrets in a namespace that came after it: as its condition says."""
    role = "streampipeline-operator-secrets"
    account = f"{OPERATOR_NAMESPACE}:streampipeline-operator"
    bed.kubectl(
        "create", "rolebinding", role, "-n", namespace, f"--clusterrole={role}", f"--serviceaccount={account}"
    )


def newest_points(bed: Bed, namespace: str, pipeline: str) -> list[dict[str, Any]]:
    """The newest result of each key, as a user would query it. Raises BedError."""
    secret = bed.api.get(kube.SECRET, namespace, f"{pipeline}-influxdb-admin")
    assert secret is not None
    access = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    port = free_port()
    forward = subprocess.Popen(
        [
            str(bed.kubectl_program), "port-forward", "-n", namespace, f"svc/{pipeline}-influxdb",
            f"{port}:8086",
        ],
        env=bed.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    query = (
        'from(bucket: "stress") |> range(start: 0) |> filter(fn: (r) => r._measurement == "nurse_stress") '
        '|> filter(fn: (r) => r._field == "stress_level" or r._field == "source") |> last() '
        "|> map(fn: (r) => ({r with _value: string(v: r._value)}))"
    )
    try:
        url = f"http://127.0.0.1:{port}"
        with InfluxDBClient(
            url, access["token"], org=access["org"], retries=Retry(5, backoff_factor=0.5)
        ) as db:
            bed.until("InfluxDB answers", db.ping, seconds=20)
            rows: dict[str, dict[str, Any]] = {}
            for table in db.query_api().query(query):
                for record in table.records:
                    row = rows.setdefault(record["id"], {"key": record["id"]})
                    row["time"] = record.get_time().isoformat(timespec="seconds")
                    row["value" if record.get_field() == "stress_level" else "source"] = record.get_value()
    finally:
        forward.terminate()
        forward.wait()
    return [rows[key] for key in sorted(rows)]


class Producer:
    """A Job that sends records, on the cluster."""

    def __init__(self, bed: Bed, namespace: str, name: str = "producer") -> None:
        self._bed, self._namespace, self._name = bed, namespace, name

    def start(
        self,
        *,
        rate: str,
        seconds: float | None,
        recording: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """`recording`: a file to replay, copied into the pod; `options`: more of the producer's own."""
        arguments = ["--bootstrap-servers=kafka:9092", "--topic=stress-topic", f"--rate={rate}"]
        if seconds is not None:
            arguments.append(f"--duration={seconds:g}")
        command = ["python", "-m", "streampipeline.producer", *arguments, *options]
        if recording is not None:
            place = f"/tmp/{recording.name}"  # noqa: S108 - the pod's own
            run = " ".join([*command, f"--data={place}"])
            command = ["sh", "-c", f"until [ -e {place}.whole ]; do sleep 0.2; done; exec {run}"]
        security = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        container = {
            "name": "producer",
            "image": self._bed.images["dask"],
            "imagePullPolicy": "IfNotPresent",
            "args": command,
            "securityContext": security,
            "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
        }
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001},
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }
        self._bed.apply(
            self._namespace,
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": self._name},
                "spec": {
                    "backoffLimit": 0,
                    "template": {"metadata": {"labels": {"app": self._name}}, "spec": pod},
                },
            },
        )
        self._bed.kubectl(
            "wait", "-n", self._namespace, "--for=condition=Ready", "pod", "-l", f"app={self._name}",
            "--timeout=60s",
        )  # fmt: skip
        if recording is not None:
            self._send(recording)

    def _send(self, recording: Path) -> None:
        pod = self._pod()["metadata"]["name"]
        place = f"/tmp/{recording.name}"  # noqa: S108 - the pod's own
        self._bed.kubectl("cp", "-n", self._namespace, str(recording), f"{pod}:{place}")
        self._bed.kubectl("exec", "-n", self._namespace, pod, "--", "touch", f"{place}.whole")

    def _pod(self) -> Object:
        return self._bed.api.list(kube.POD, self._namespace, f"app={self._name}")[0]

    def running(self) -> bool:
        """Whether it still sends."""
        return self._pod()["status"].get("phase") in ("Pending", "Running")

    def report(self) -> dict[str, Any]:
        """What it said that it sent. Raises BedError, IndexError when it said nothing."""
        log = self._bed.kubectl("logs", "-n", self._namespace, self._pod()["metadata"]["name"])
        said = [line for line in log.splitlines() if line.startswith("{") and '"records"' in line]
        found: dict[str, Any] = json.loads(said[-1])
        return found


def hold_flink_down(bed: Bed, namespace: str, pipeline: str, seconds: float) -> None:
    """Kill Flink's pods, and each that comes back, for so long."""
    deadline = time.monotonic() + seconds
    selector = "streampipeline.io/pipeline={},app.kubernetes.io/component in (jobmanager,taskmanager)"
    query = {"labelSelector": selector.format(pipeline), "gracePeriodSeconds": "0"}
    while time.monotonic() < deadline:
        bed.api.request("DELETE", kube.POD.path(namespace), query=query)
        time.sleep(1)
