"""Pods of one pipeline as kubelets and Dask's operator would have them: their status is played."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.mortal_parts import ListedWatches
from tests.support.outside import Outside

from streampipeline_operator import kube
from streampipeline_operator.kube import Kube, Object
from streampipeline_operator.names import (
    COMPONENT_LABEL,
    DASK_DRIVER,
    DASK_SCHEDULER,
    DASK_WORKER,
    EPOCH_LABEL,
    REPAIR,
)


@dataclass
class PlayedPods:
    """Of one pipeline."""

    name: str
    namespace: str
    nodes: Kube
    watches: ListedWatches
    outside: Outside
    dask_starts: bool = True
    """Whether Dask's operator is at work, and drivers start."""

    def step(self) -> None:
        """A moment goes by."""
        pods = self.watches.children(kube.POD, self.namespace, self.name)
        clusters = self.watches.children(kube.DASK_CLUSTER, self.namespace, self.name)
        parts = [pod for pod in pods if _component(pod) in (DASK_SCHEDULER, DASK_WORKER)]
        if clusters and self.dask_starts and not parts:
            self._run_dask(clusters[0])
        for pod in [] if clusters else parts:
            self.nodes.delete(kube.POD, self.namespace, pod["metadata"]["name"], grace_seconds=0)
            self.watches.forget("pods")
        drivers = [pod for pod in pods if _component(pod) == DASK_DRIVER]
        for pod in drivers:
            self._run_driver(pod)
        there = {pod["metadata"]["uid"] for pod in drivers}
        for uid, work in self.outside.drivers.items():
            work.ended = work.ended or uid not in there
        for pod in pods:
            if _component(pod) == REPAIR and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                self.outside.repairs_done = self.outside.repairs_end
                self._set(pod, {"phase": "Succeeded"})
        self.outside.work()

    def _run_dask(self, cluster: Object) -> None:
        for component in (DASK_SCHEDULER, DASK_WORKER):
            labels = cluster["metadata"]["labels"] | {COMPONENT_LABEL: component}
            metadata = {"name": f"{self.name}-{component}", "namespace": self.namespace, "labels": labels}
            spec = cluster["spec"]["scheduler"]["spec"]
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            self._run(self.nodes.create(body))

    def _run_driver(self, pod: Object) -> None:
        epoch, uid = pod["metadata"]["labels"].get(EPOCH_LABEL), pod["metadata"]["uid"]
        if epoch and uid not in self.outside.drivers:
            self.outside.assign(uid, int(epoch))
            if self.dask_starts:
                self._run(pod)
        elif not epoch and not pod["status"].get("conditions"):
            self._set(pod, {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})

    def _run(self, pod: Object) -> None:
        self._set(pod, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})

    def _set(self, pod: Object, status: Object) -> None:
        path = kube.POD.path(self.namespace, pod["metadata"]["name"])
        self.nodes.request(
            "PATCH", f"{path}/status", body={"status": status}, content_type="application/merge-patch+json"
        )
        self.watches.forget("pods")


def _component(pod: Object) -> str:
    return str(pod["metadata"]["labels"].get(COMPONENT_LABEL))
