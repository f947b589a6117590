"""What happened to a pipeline on the cluster: phases as they came, figures, and the audit."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kubernetes.client.exceptions import ApiException
from prometheus_client.parser import text_string_to_metric_families
from urllib3.exceptions import HTTPError

from streampipeline.decide import State
from streampipeline.jobconfig import EngineName
from streampipeline.local.outcome import report
from streampipeline.local.status import PhaseChange
from streampipeline_operator import kube
from streampipeline_operator.names import PIPELINE_LABEL
from testbed.bed import OPERATOR_NAMESPACE, Bed, BedError

MEMORY_SECONDS = 5.0
CHILDREN = (
    "deployments,statefulsets,services,pods,secrets,networkpolicies,daskclusters,persistentvolumeclaims"
)


class Watcher:
    """Notes each phase of a pipeline, and how much memory its pods and the operator take."""

    def __init__(self, bed: Bed, namespace: str, name: str) -> None:
        self._bed, self._namespace, self._name = bed, namespace, name
        self._stop = threading.Event()
        self.phases: list[PhaseChange] = []
        self.peak_mib: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=self._follow, daemon=True),
            threading.Thread(target=self._measure, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        # What a user would look at, in its own words.
        self._table = subprocess.Popen(
            [str(bed.kubectl_program), "get", "streampipelines", "-n", namespace, "-w"], env=bed.environment()
        )

    def _follow(self) -> None:
        while not self._stop.is_set():
            with suppress(BedError, ApiException, HTTPError):
                status = self._bed.pipeline(self._namespace, self._name).get("status") or {}
                decisions = (status.get("state") or {}).get("decisions") or {}
                if decisions and (not self.phases or self.phases[-1].phase != decisions["phase"]):
                    self.phases.append(PhaseChange(phase=decisions["phase"], at=decisions["since"]))
            self._stop.wait(0.25)

    def _measure(self) -> None:
        nodes = self._bed.json_of("get", "nodes")["items"]
        path = f"/api/v1/nodes/{nodes[0]['metadata']['name']}/proxy/stats/summary"
        while not self._stop.is_set():
            with suppress(ApiException, HTTPError):
                for pod in self._bed.api.request("GET", path)["pods"]:
                    if pod["podRef"]["namespace"] not in (self._namespace, OPERATOR_NAMESPACE):
                        continue
                    for container in pod.get("containers", []):
                        used = container.get("memory", {}).get("workingSetBytes", 0) >> 20
                        part = f"{container['name']}"
                        self.peak_mib[part] = max(self.peak_mib.get(part, 0), used)
            self._stop.wait(MEMORY_SECONDS)

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._table.terminate()
        self._table.wait()
        for thread in self._threads:
            thread.join(10)


def state_of(bed: Bed, namespace: str, name: str) -> State:
    """What the operator remembers. Raises BedError, pydantic.ValidationError."""
    status = bed.pipeline(namespace, name)["status"]
    return State.model_validate(status["state"]["decisions"])


def audited(bed: Bed, namespace: str, name: str) -> dict[str, Any]:
    """The audit's report, made on the cluster. Raises BedError."""
    done = bed.streampipeline("audit", name, "-n", namespace, "-o", "json", check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise BedError(f"the audit failed: {done.stdout}\n{done.stderr}") from None
    return found


def outcome(
    bed: Bed,
    watcher: Watcher,
    namespace: str,
    name: str,
    *,
    faults: Mapping[str, int],
    producer: dict[str, Any] | None,
) -> dict[str, Any]:
    """The report of a run, with the keys of one machine's."""
    audit = audited(bed, namespace, name)
    sources = audit.get("by_source", {})
    return report(
        pipeline=name,
        phases=watcher.phases,
        state=state_of(bed, namespace, name),
        faults=faults,
        written={engine: sources.get(engine.value, 0) for engine in (EngineName.FLINK, EngineName.DASK)},
        producer=producer,
        peak_memory=watcher.peak_mib,
        audit=audit,
    )


def requests_per_minute(bed: Bed, seconds: float = 60) -> float:
    """Of the operator to the API server, its watches and the Lease included. Raises BedError."""
    began, first = time.monotonic(), _requests(bed)
    time.sleep(seconds)
    return (_requests(bed) - first) / (time.monotonic() - began) * 60


def _requests(bed: Bed) -> float:
    """As the replica that leads counts them."""
    total = 0.0
    for pod in bed.api.list(kube.POD, OPERATOR_NAMESPACE, "app.kubernetes.io/component=operator"):
        name = f"{pod['metadata']['name']}:8080"
        text = bed.kubectl(
            "get", "--raw", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{name}/proxy/metrics"
        )
        total += sum(
            sample.value
            for family in text_string_to_metric_families(text)
            if family.name == "streampipeline_api_requests"
            for sample in family.samples
            if sample.name.endswith("_total")
        )
    return total


LIVE_MS = 15_000
"""While records come, the newest closable windows are always on their way."""


def fresh(bed: Bed, namespace: str, name: str, *, since: float) -> bool:
    """Results of windows that end after `since` (Unix seconds) are there, and on time, in whatever phase."""
    status = bed.pipeline(namespace, name).get("status") or {}
    latency = status.get("state", {}).get("observed", {}).get("latencyMs")
    later = (status.get("frontier") or 0) > since * 1000
    return bool(later and latency is not None and latency <= LIVE_MS)


def settled(bed: Bed, namespace: str, name: str, *, streaming: bool = False) -> bool:
    """Normal, nothing to repair, nothing of Dask left; all closable windows in the sink, or nearly so."""
    pipeline = bed.pipeline(namespace, name)
    stored = (pipeline.get("status") or {}).get("state") or {}
    observed, decisions = stored.get("observed", {}), stored.get("decisions", {})
    latency = observed.get("latencyMs")
    fresh = time.time() * 1000 - stored.get("at", 0) < 45_000
    pods = bed.pods(namespace, name, "dask-scheduler", "dask-worker", "dask-driver", "repair")
    clusters = bed.api.list(kube.DASK_CLUSTER, namespace, f"streampipeline.io/pipeline={name}")
    return bool(
        fresh
        and decisions.get("phase") == "Normal"
        and not decisions.get("retiring")
        and latency is not None
        and latency <= (LIVE_MS if streaming else 0)
        and not observed.get("repairs", {}).get("pending")
        and not [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]
        and not clusters
    )


def remains(bed: Bed, namespace: str) -> list[str]:
    """Names of what belongs to any pipeline of a namespace."""
    return bed.kubectl("get", CHILDREN, "-n", namespace, "-l", PIPELINE_LABEL, "-o", "name").split()
