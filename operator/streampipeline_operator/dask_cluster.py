"""Dask's scheduler and workers: a DaskCluster, of which Dask's operator makes them and removes them again."""

from __future__ import annotations

import time
from collections.abc import Callable

from streampipeline_operator import kube
from streampipeline_operator.desired import dask
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import Kube, Object
from streampipeline_operator.names import COMPONENT_LABEL, DASK_SCHEDULER, DASK_WORKER
from streampipeline_operator.watch import Watches

REMAINS_SECONDS = 15.0
"""What Dask's operator has not removed by then is removed for it."""


class DaskCluster:
    """Of one pipeline. What changes something raises ApiException."""

    def __init__(
        self, api: Kube, watches: Watches, pipeline: Pipeline, tell: Callable[[str, str], None]
    ) -> None:
        """`tell(reason, message)` makes a warning event."""
        self._api = api
        self._watches = watches
        self._pipeline = pipeline
        self._namespace, self._name = pipeline.namespace, pipeline.names.dask
        self._tell = tell
        self._zero_since: float | None = None
        self._missing_told = False

    def ensure(self, workers: int) -> None:
        """Keep a scheduler and so many workers. Raises RuntimeError while the last cluster goes."""
        self._zero_since = None
        # Asked for when the watch knows none, so that none is made twice.
        found = self._known() or self._api.get(kube.DASK_CLUSTER, self._namespace, self._name)
        if found is None:
            self._make(workers)
        elif found["metadata"].get("deletionTimestamp"):
            raise RuntimeError("the last DaskCluster is still being removed")
        elif found["spec"]["worker"].get("replicas") != workers:
            changes = {"spec": {"worker": {"replicas": workers}}}
            self._api.merge(kube.DASK_CLUSTER, self._namespace, self._name, changes)

    def remove(self) -> None:
        """Keep none. To be repeated: what Dask's operator leaves behind is removed after a while."""
        cluster = self._known()
        remains = self._remains()
        if cluster is None and not remains:
            self._zero_since = None
            return
        if self._zero_since is None:
            self._zero_since = time.monotonic()
        if cluster is not None and not cluster["metadata"].get("deletionTimestamp"):
            self._api.delete(kube.DASK_CLUSTER, self._namespace, self._name)
        elif time.monotonic() - self._zero_since > REMAINS_SECONDS:
            self._remove_remains(cluster, remains)
            self._zero_since = time.monotonic()

    def _known(self) -> Object | None:
        return self._watches.child(kube.DASK_CLUSTER, self._namespace, self._name)

    def _make(self, workers: int) -> None:
        try:
            self._api.apply(dask.cluster(self._pipeline, workers))
        except kube.ApiException as error:
            if error.status == 404 and not self._missing_told:
                self._missing_told = True
                remedy = "install it, or the chart with daskOperator.enabled"
                self._tell(
                    "DaskOperatorMissing", f"there can be no fallback without Dask's operator: {remedy}"
                )
            raise

    def _remains(self) -> list[tuple[kube.Kind, Object]]:
        """Scheduler and workers, as Deployments and as pods."""
        return [
            (kind, body)
            for kind in (kube.DEPLOYMENT, kube.POD)
            for body in self._watches.children(kind, self._namespace, self._pipeline.name)
            if body["metadata"]["labels"].get(COMPONENT_LABEL) in (DASK_SCHEDULER, DASK_WORKER)
        ]

    def _remove_remains(self, cluster: Object | None, remains: list[tuple[kube.Kind, Object]]) -> None:
        """Dask's operator leaves workers behind at times, or is not there itself."""
        named = [f"{kind.kind} {body['metadata']['name']}" for kind, body in remains]
        if cluster is not None:
            named.append(f"DaskCluster {self._name}")
            changes = {"metadata": {"finalizers": None}}
            self._api.merge(kube.DASK_CLUSTER, self._namespace, self._name, changes)
        for kind, body in remains:
            self._api.delete(kind, self._namespace, body["metadata"]["name"], grace_seconds=0)
        self._tell("DaskRemains", f"removed what Dask's operator left behind: {', '.join(named)}")
