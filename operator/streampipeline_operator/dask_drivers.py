"""Dask's drivers as pods: one stands by until it is given an epoch, by a label."""

from __future__ import annotations

import json

import structlog

from streampipeline.decide.observed import JobState
from streampipeline_operator import kube
from streampipeline_operator.desired import dask
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import Kube, Object
from streampipeline_operator.names import DASK_DRIVER, EPOCH_LABEL, FILES_ANNOTATION
from streampipeline_operator.pods import Pods, alive, ended, ready, running

log = structlog.get_logger()

FAILURE_LENGTH = 300
ENDED_KEPT = 1
"""Drivers that ended by themselves and are kept while Dask is there: their logs tell why."""


class DaskDrivers:
    """Of one pipeline. What changes something raises ApiException."""

    def __init__(self, api: Kube, pipeline: Pipeline, pods: Pods) -> None:
        self._api = api
        self._pipeline = pipeline
        self._pods = pods

    def by_epoch(self) -> dict[int, Object]:
        """Those that were given one, ended or not."""
        return {int(epoch): pod for pod in self._pods.of(DASK_DRIVER) if (epoch := _epoch(pod))}

    def waiting(self) -> dict[str, str]:
        """The epoch of each, by its pod's name, that may not have seen its files yet."""
        return {
            pod["metadata"]["name"]: epoch
            for pod in self._pods.of(DASK_DRIVER)
            if (epoch := _epoch(pod)) and alive(pod) and not ready(pod)
        }

    def ensure(self) -> None:
        """Keep one that is alive, at work or standing by."""
        drivers = self._pods.of(DASK_DRIVER)
        gone = [pod for pod in drivers if not alive(pod)]
        for pod in sorted(gone, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))[:-ENDED_KEPT]:
            self._pods.delete(pod, grace_seconds=0)
        if len(gone) == len(drivers):
            self._pods.create(dask.driver(self._pipeline, self._pods.new_name(DASK_DRIVER), None))

    def remove(self) -> bool:
        """Remove all, unless one has the right to write: its end is asked for by itself. Whether it did."""
        drivers = self._pods.of(DASK_DRIVER)
        if any(alive(pod) and _epoch(pod) for pod in drivers):
            return False
        for pod in drivers:
            self._pods.delete(pod, grace_seconds=0)
        return True

    def start(self, epoch: int) -> None:
        """Give the epoch to one that stands by, or to a new one."""
        standby = [pod for pod in self._pods.of(DASK_DRIVER) if alive(pod) and not _epoch(pod)]
        # Running ones first: they have imported all and wait at the scheduler.
        for pod in sorted(standby, key=lambda pod: not running(pod)):
            metadata = pod["metadata"]
            changes = {
                "metadata": {
                    "resourceVersion": metadata["resourceVersion"],
                    "labels": {EPOCH_LABEL: str(epoch)},
                    "annotations": {FILES_ANNOTATION: str(epoch)},
                }
            }
            try:
                self._api.merge(kube.POD, self._pipeline.namespace, metadata["name"], changes)
            except kube.ApiException as error:
                if error.status not in (404, 409):
                    raise
                continue  # it changed a moment ago; the next attempt sees how
            log.info(
                "dask.assigned",
                namespace=self._pipeline.namespace,
                pipeline=self._pipeline.name,
                epoch=epoch,
                pod=metadata["name"],
            )
            return
        if standby:
            raise RuntimeError("the driver that stands by has just changed")
        self._pods.create(dask.driver(self._pipeline, f"{self._pipeline.name}-{DASK_DRIVER}-{epoch}", epoch))

    def stop(self, epoch: int) -> None:
        """The pod goes, and with it the driver is absent."""
        for pod in self._pods.of(DASK_DRIVER):
            if _epoch(pod) == str(epoch):
                self._pods.delete(pod, grace_seconds=5)


def _epoch(pod: Object) -> str | None:
    """None while it stands by."""
    epoch: str | None = pod["metadata"]["labels"].get(EPOCH_LABEL)
    return epoch


def state_of(driver: Object) -> JobState:
    """What its pod says."""
    if ended(driver):
        return JobState.FINISHED
    return JobState.RUNNING if ready(driver) else JobState.STARTING


def failure_of(driver: Object) -> str:
    """The last thing that a driver that failed has logged, one line; empty while it has not."""
    for status in driver["status"].get("containerStatuses", []):
        terminated = status.get("state", {}).get("terminated", {})
        lines = [line for line in terminated.get("message", "").splitlines() if line.strip()]
        if terminated.get("exitCode") and lines:
            try:
                said = json.loads(lines[-1])
            except ValueError:
                return str(lines[-1])[:FAILURE_LENGTH]
            exception = said.get("exception") or said.get("reason") or said.get("event", "")
            return str(exception).strip().splitlines()[-1][:FAILURE_LENGTH]
    return ""
