"""The place of a cluster: engines are pods. Implements `streampipeline.place.Place`."""

from __future__ import annotations

import time
from collections.abc import Callable

from streampipeline.decide.observed import Health, Probe
from streampipeline.engines.flink.gateway import JobManager, SqlGateway
from streampipeline.jobconfig import EngineName
from streampipeline.place import DaskSeen, JobFiles
from streampipeline_operator.dask_cluster import DaskCluster
from streampipeline_operator.dask_drivers import DaskDrivers, failure_of, state_of
from streampipeline_operator.desired import flink
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.job_files import JobsSecret
from streampipeline_operator.kube import Kube
from streampipeline_operator.names import DASK_SCHEDULER, DASK_WORKER, JOBMANAGER, REPAIR, TASKMANAGER
from streampipeline_operator.nudges import Nudges
from streampipeline_operator.pods import Pods, alive, ready, running
from streampipeline_operator.repair_pods import RepairPods
from streampipeline_operator.watch import Watches

API_FRESH_SECONDS = 20.0
"""The API server answers, at the least, each renewal of the Lease."""


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
        self._jobs = jobs
        self._flink_up = True
        self._flink_files = ""
        """Digest of what Flink's pods were told to look at last."""
        self._pods = Pods(api, watches, pipeline)
        self._cluster = DaskCluster(api, watches, pipeline, tell)
        self._drivers = DaskDrivers(api, pipeline, self._pods)
        self._repairs = RepairPods(pipeline, self._pods)
        self._nudges = Nudges(self._pods.look_again)
        names = pipeline.names
        self._jobmanager = JobManager(f"http://{names.host(names.jobmanager)}:{flink.REST}")
        self._gateway = SqlGateway(f"http://{names.host(names.gateway)}:{flink.GATEWAY}")

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

    # Dask

    def dask(self) -> DaskSeen:
        """See `place.Place`."""
        drivers = self._drivers.by_epoch()
        return DaskSeen(
            up=any(ready(pod) for pod in self._pods.of(DASK_SCHEDULER)),
            workers=sum(running(pod) for pod in self._pods.of(DASK_WORKER)),
            drivers={epoch: state_of(pod) for epoch, pod in drivers.items()},
            failures={epoch: failure_of(pod) for epoch, pod in drivers.items()},
        )

    def scale_dask(self, workers: int) -> None:
        """See `place.Place`."""
        if workers > 0:
            self._cluster.ensure(workers)
            self._drivers.ensure()
        elif self._drivers.remove():
            self._cluster.remove()

    def start_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        self._drivers.start(epoch)

    def stop_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        self._drivers.stop(epoch)

    # Files

    def deliver(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`."""
        digest = self._jobs.publish()
        if engine is EngineName.FLINK:
            self._flink_files = digest
            for name in self._alive(JOBMANAGER, TASKMANAGER):
                self._pods.look_again(name, digest)

    def withdraw(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`."""
        self._jobs.publish()

    def hurry(self) -> None:
        """Let pods see the files that were delivered to them. To be called often. Raises ApiException."""
        repairs = dict.fromkeys(self._alive(REPAIR), REPAIR)
        told = self._alive(JOBMANAGER, TASKMANAGER) if self._flink_files else []
        self._nudges.follow({**self._drivers.waiting(), **repairs, **dict.fromkeys(told, self._flink_files)})

    def _alive(self, *components: str) -> list[str]:
        return [
            pod["metadata"]["name"]
            for component in components
            for pod in self._pods.of(component)
            if alive(pod)
        ]

    # Repairs

    def start_repair(self, epoch: int, until: int) -> None:
        """See `place.Place`."""
        self._repairs.start(epoch, until)

    def repairing(self) -> bool:
        """See `place.Place`."""
        return self._repairs.running()

    def end_repair(self) -> None:
        """See `place.Place`."""
        self._repairs.end()

    def windows_cut(self) -> int:
        """See `place.Place`."""
        return self._repairs.said("cut")

    def repairs_unscorable(self) -> int:
        """See `place.Place`."""
        return self._repairs.said("unscorable")
