"""The place of a cluster: engines are pods. Implements `streampipeline.place.Place`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable

import structlog

from streampipeline.decide.observed import Health, JobState, Probe
from streampipeline.engines.flink.gateway import JobManager, SqlGateway
from streampipeline.jobconfig import EngineName
from streampipeline.place import DaskSeen, JobFiles
from streampipeline_operator import kube
from streampipeline_operator.desired import dask, flink
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.job_files import JobsSecret
from streampipeline_operator.kube import Kube, Object
from streampipeline_operator.names import (
    COMPONENT_LABEL,
    DASK_DRIVER,
    DASK_SCHEDULER,
    DASK_WORKER,
    EPOCH_LABEL,
    FILES_ANNOTATION,
    JOBMANAGER,
    REPAIR,
    TASKMANAGER,
)
from streampipeline_operator.nudges import Nudges
from streampipeline_operator.watch import Watches

log = structlog.get_logger()

API_FRESH_SECONDS = 20.0
"""The API server answers, at the least, each renewal of the Lease."""
FAILURE_LENGTH = 300
ENDED_KEPT = 1
"""Drivers that ended by themselves and are kept while Dask is there: their logs tell why."""
REMAINS_SECONDS = 15.0
"""What Dask's operator has not removed by then is removed for it."""


class ClusterPlace:
    """Of one pipeline. For any thread."""

    def __init__(
        self,
        api: Kube,
        watches: Watches,
        pipeline: Pipeline,
        jobs: JobsSecret,
        tell: Callable[[str, str], None],
    ) -> None:
        """`tell(reason, message)` makes a warning event."""
        self._api = api
        self._watches = watches
        self._pipeline = pipeline
        self._names = pipeline.names
        self._jobs = jobs
        self._tell = tell
        self._flink_up = True
        self._said: dict[str, dict[str, int]] = {}
        """By the pods of repairs that have ended."""
        self._zero_since: float | None = None
        self._missing_told = False
        self._given: dict[str, str] = {}
        self._flink_files = ""
        """Digest of what Flink's pods were told to look at last."""
        self._nudges = Nudges(self._look_again)
        host = self._names.host
        self._jobmanager = JobManager(f"http://{host(self._names.jobmanager)}:{flink.REST}")
        self._gateway = SqlGateway(f"http://{host(self._names.gateway)}:{flink.GATEWAY}")

    @property
    def files(self) -> JobFiles:
        """See `place.Place`."""
        return self._jobs.files

    @property
    def jobmanager(self) -> JobManager:
        """See `place.Place`."""
        return self._jobmanager

    @property
    def gateway(self) -> SqlGateway:
        """See `place.Place`."""
        return self._gateway

    @property
    def flink_up(self) -> bool:
        """Whether Flink's pods are wanted; the pipeline's objects are applied accordingly."""
        return self._flink_up

    def health(self) -> Probe:
        """Whether the API server has answered lately, and told what there is."""
        if not self._watches.synced():
            return Probe(health=Health.UNKNOWN, message="the first look at the cluster is not over")
        silent = time.monotonic() - self._api.answered_at
        if silent > API_FRESH_SECONDS:
            return Probe(health=Health.UNKNOWN, message=f"the API server is silent for {silent:.0f} s")
        return Probe(health=Health.UP)

    def flink_cluster(self, up: bool) -> None:
        """See `place.Place`: carried out where the pipeline's objects are kept as desired."""
        self._flink_up = up

    def _pods(self, component: str) -> list[Object]:
        pods = self._watches.children(kube.POD, self._pipeline.namespace, self._pipeline.name)
        found = [pod for pod in pods if pod["metadata"]["labels"].get(COMPONENT_LABEL) == component]
        if any(pod["metadata"]["name"] == self._given.get(component) for pod in found):
            self._given.pop(component, None)
        return found

    # Dask

    def dask(self) -> DaskSeen:
        """See `place.Place`."""
        drivers = {
            int(pod["metadata"]["labels"][EPOCH_LABEL]): pod
            for pod in self._pods(DASK_DRIVER)
            if pod["metadata"]["labels"].get(EPOCH_LABEL)
        }
        return DaskSeen(
            up=any(_ready(pod) for pod in self._pods(DASK_SCHEDULER)),
            workers=sum(_running(pod) for pod in self._pods(DASK_WORKER)),
            drivers={epoch: _driver_state(pod) for epoch, pod in drivers.items()},
            failures={epoch: _failure(pod) for epoch, pod in drivers.items()},
        )

    def scale_dask(self, workers: int) -> None:
        """See `place.Place`."""
        if workers == 0:
            self._dask_to_zero()
            return
        self._zero_since = None
        found = self._api_cluster()
        if found is None:
            self._make_cluster(workers)
        elif found["metadata"].get("deletionTimestamp"):
            raise RuntimeError("the last DaskCluster is still being removed")
        elif found["spec"]["worker"].get("replicas") != workers:
            changes = {"spec": {"worker": {"replicas": workers}}}
            self._api.merge(kube.DASK_CLUSTER, self._pipeline.namespace, self._names.dask, changes)
        drivers = self._pods(DASK_DRIVER)
        ended = [pod for pod in drivers if not _alive(pod)]
        for pod in sorted(ended, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))[:-ENDED_KEPT]:
            self._delete_pod(pod, grace_seconds=0)
        if len(ended) == len(drivers):
            self._create_once(dask.driver(self._pipeline, self._new_name(DASK_DRIVER), None))

    def _make_cluster(self, workers: int) -> None:
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

    def _api_cluster(self) -> Object | None:
        """As the watch knows it; asked for when it knows none, so that none is made twice."""
        known = self._watches.child(kube.DASK_CLUSTER, self._pipeline.namespace, self._names.dask)
        return known or self._api.get(kube.DASK_CLUSTER, self._pipeline.namespace, self._names.dask)

    def _new_name(self, component: str) -> str:
        """Of the next pod: the same until a watch has told of it.

        So neither a lost reply nor a watch that is behind makes a second one.
        """
        return self._given.setdefault(component, f"{self._pipeline.name}-{component}-{secrets.token_hex(3)}")

    def _create_once(self, pod: Object) -> None:
        try:
            self._api.create(pod)
        except kube.ApiException as error:
            if error.status != 409:
                raise

    def _dask_to_zero(self) -> None:
        drivers = self._pods(DASK_DRIVER)
        if any(_alive(pod) and pod["metadata"]["labels"].get(EPOCH_LABEL) for pod in drivers):
            return  # it still has the right to write: its end is asked for by itself
        for pod in drivers:
            self._delete_pod(pod, grace_seconds=0)
        cluster = self._watches.child(kube.DASK_CLUSTER, self._pipeline.namespace, self._names.dask)
        remains = self._remains()
        if cluster is None and not remains:
            self._zero_since = None
            return
        if self._zero_since is None:
            self._zero_since = time.monotonic()
        if cluster is not None and not cluster["metadata"].get("deletionTimestamp"):
            self._api.delete(kube.DASK_CLUSTER, self._pipeline.namespace, self._names.dask)
        elif time.monotonic() - self._zero_since > REMAINS_SECONDS:
            self._remove_remains(cluster, remains)
            self._zero_since = time.monotonic()

    def _remains(self) -> list[tuple[kube.Kind, Object]]:
        """Scheduler and workers, as Deployments and as pods."""
        return [
            (kind, body)
            for kind in (kube.DEPLOYMENT, kube.POD)
            for body in self._watches.children(kind, self._pipeline.namespace, self._pipeline.name)
            if body["metadata"]["labels"].get(COMPONENT_LABEL) in (DASK_SCHEDULER, DASK_WORKER)
        ]

    def _remove_remains(self, cluster: Object | None, remains: list[tuple[kube.Kind, Object]]) -> None:
        """Dask's operator leaves workers behind at times, or is not there itself."""
        named = [f"{kind.kind} {body['metadata']['name']}" for kind, body in remains]
        if cluster is not None:
            named.append(f"DaskCluster {self._names.dask}")
            changes = {"metadata": {"finalizers": None}}
            self._api.merge(kube.DASK_CLUSTER, self._pipeline.namespace, self._names.dask, changes)
        for kind, body in remains:
            self._api.delete(kind, self._pipeline.namespace, body["metadata"]["name"], grace_seconds=0)
        self._tell("DaskRemains", f"removed what Dask's operator left behind: {', '.join(named)}")

    # Jobs

    def deliver(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`."""
        digest = self._jobs.publish()
        if engine is EngineName.FLINK:
            self._flink_files = digest
            for name in self._names_of(JOBMANAGER, TASKMANAGER):
                self._look_again(name, digest)

    def withdraw(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`."""
        self._jobs.publish()

    def start_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        standby = [
            pod
            for pod in self._pods(DASK_DRIVER)
            if _alive(pod) and not pod["metadata"]["labels"].get(EPOCH_LABEL)
        ]
        # Running ones first: they have imported all and wait at the scheduler.
        for pod in sorted(standby, key=lambda pod: not _running(pod)):
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
        if not standby:
            self._create_once(
                dask.driver(self._pipeline, f"{self._pipeline.name}-{DASK_DRIVER}-{epoch}", epoch)
            )
        else:
            raise RuntimeError("the driver that stands by has just changed")

    def hurry(self) -> None:
        """Let pods see the files that were delivered to them. To be called often. Raises ApiException."""
        drivers = {
            pod["metadata"]["name"]: pod["metadata"]["labels"][EPOCH_LABEL]
            for pod in self._pods(DASK_DRIVER)
            if pod["metadata"]["labels"].get(EPOCH_LABEL) and _alive(pod) and not _ready(pod)
        }
        repairs = dict.fromkeys(self._names_of(REPAIR), REPAIR)
        flink = self._names_of(JOBMANAGER, TASKMANAGER) if self._flink_files else []
        self._nudges.follow({**drivers, **repairs, **dict.fromkeys(flink, self._flink_files)})

    def _names_of(self, *components: str) -> list[str]:
        return [
            pod["metadata"]["name"]
            for component in components
            for pod in self._pods(component)
            if _alive(pod)
        ]

    def _look_again(self, pod: str, value: str) -> None:
        """A pod that has changed is looked at by its kubelet, and its mounts are refreshed."""
        changes = {"metadata": {"annotations": {FILES_ANNOTATION: value}}}
        try:
            self._api.merge(kube.POD, self._pipeline.namespace, pod, changes)
        except kube.ApiException as error:
            if error.status != 404:
                raise

    def stop_driver(self, epoch: int) -> None:
        """See `place.Place`: the pod goes, and with it the driver is absent."""
        for pod in self._pods(DASK_DRIVER):
            if pod["metadata"]["labels"].get(EPOCH_LABEL) == str(epoch):
                self._delete_pod(pod, grace_seconds=5)

    def _delete_pod(self, pod: Object, grace_seconds: int) -> None:
        if not pod["metadata"].get("deletionTimestamp"):
            self._api.delete(
                kube.POD, self._pipeline.namespace, pod["metadata"]["name"], grace_seconds=grace_seconds
            )

    # Repairs

    def start_repair(self, epoch: int, until: int) -> None:
        """See `place.Place`."""
        self.windows_cut()
        for pod in self._pods(REPAIR):
            if not _alive(pod):
                self._delete_pod(pod, grace_seconds=0)
        self._create_once(dask.repair(self._pipeline, self._new_name(REPAIR), epoch, until))

    def repairing(self) -> bool:
        """See `place.Place`."""
        return any(_alive(pod) or pod["metadata"].get("deletionTimestamp") for pod in self._pods(REPAIR))

    def end_repair(self) -> None:
        """See `place.Place`."""
        for pod in self._pods(REPAIR):
            if _alive(pod):
                self._delete_pod(pod, grace_seconds=5)

    def windows_cut(self) -> int:
        """See `place.Place`."""
        return self._said_by_repairs("cut")

    def repairs_unscorable(self) -> int:
        """See `place.Place`."""
        return self._said_by_repairs("unscorable")

    def _said_by_repairs(self, what: str) -> int:
        """The sum of a figure of what each pass wrote when it ended."""
        for pod in self._pods(REPAIR):
            for status in pod["status"].get("containerStatuses", []):
                message = status.get("state", {}).get("terminated", {}).get("message")
                if message:
                    self._said[pod["metadata"]["name"]] = json.loads(message)
        return sum(int(said.get(what, 0)) for said in self._said.values())


def _alive(pod: Object) -> bool:
    """Not ended, and not told to end."""
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not ended and not pod["metadata"].get("deletionTimestamp")


def _running(pod: Object) -> bool:
    return _alive(pod) and pod["status"].get("phase") == "Running"


def _ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return _running(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _failure(pod: Object) -> str:
    """The last thing that a driver that failed has logged, one line; empty while it has not."""
    for status in pod["status"].get("containerStatuses", []):
        ended = status.get("state", {}).get("terminated", {})
        lines = [line for line in ended.get("message", "").splitlines() if line.strip()]
        if ended.get("exitCode") and lines:
            try:
                said = json.loads(lines[-1])
            except ValueError:
                return str(lines[-1])[:FAILURE_LENGTH]
            exception = said.get("exception") or said.get("reason") or said.get("event", "")
            return str(exception).strip().splitlines()[-1][:FAILURE_LENGTH]
    return ""


def _driver_state(pod: Object) -> JobState:
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return JobState.FINISHED
    return JobState.RUNNING if _ready(pod) else JobState.STARTING
