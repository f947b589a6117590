"""The place: starts and ends simulated processes; its calls may fail, before or after they took effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from tests.simulator.dask import DaskCluster
from tests.simulator.flink import FlinkCluster
from tests.simulator.scheduler import Process, Scheduler
from tests.simulator.standins import Event

from streampipeline.decide.observed import Health, Probe
from streampipeline.engines.flink.gateway import JobManager, SqlGateway
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.place import DaskSeen, JobFiles
from streampipeline.publish import Fenced, Stopped
from streampipeline.reading import RangeGone
from streampipeline.repair import Repair

GRACE_SECONDS = 5.0


@dataclass
class RepairPass:
    """A process."""

    process: Process
    stop: Event
    ended: bool = False


class SimulatedPlace:
    """Implements `place.Place`. What it starts outlives the control plane, as on a cluster.

    `waits`: `end_repair` returns when the pass has ended, as on one machine; else once it is told to end.
    """

    def __init__(
        self, scheduler: Scheduler, files: JobFiles, flink: FlinkCluster, dask: DaskCluster, *, waits: bool
    ) -> None:
        self._scheduler = scheduler
        self.files = files
        self.flink, self.dask_cluster = flink, dask
        self._waits = waits
        self.answers = True
        """Whether the API server does."""
        self.unreliable = 0.0
        """How often a call fails."""
        self._pass: RepairPass | None = None
        self._cut = 0
        self._unscorable = 0

    @property
    def jobmanager(self) -> JobManager:
        """The cluster answers as its JobManager."""
        return cast(JobManager, self.flink)

    @property
    def gateway(self) -> SqlGateway:
        """The cluster answers as its gateway."""
        return cast(SqlGateway, self.flink)

    def health(self) -> Probe:
        """See `place.Place`."""
        return Probe(health=Health.UP if self.answers else Health.UNKNOWN)

    def _call(self, effect: Callable[[], None]) -> None:
        """One request to where processes are started. Raises ConnectionError."""
        self._scheduler.pause(0.001, 0.05)
        if not self.answers:
            self._scheduler.sleep(1)
            raise ConnectionError("the API server does not answer")
        if self._scheduler.chance(self.unreliable / 2):
            raise ConnectionError("the API server failed")
        effect()
        self._scheduler.pause(0.0, 0.01)
        if self._scheduler.chance(self.unreliable / 2):
            raise ConnectionError("the answer was lost")

    def flink_cluster(self, up: bool) -> None:
        """See `place.Place`."""
        self._call(self.flink.ensure if up else self.flink.stop)

    def dask(self) -> DaskSeen:
        """See `place.Place`."""
        return self.dask_cluster.seen()

    def scale_dask(self, workers: int) -> None:
        """See `place.Place`."""
        self._call(lambda: self.dask_cluster.scale(workers))

    def deliver(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`."""
        self._call(lambda: None)

    def withdraw(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`."""
        self._call(lambda: None)

    def start_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        self._call(lambda: self.dask_cluster.start_driver(epoch))

    def stop_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        self._call(lambda: self.dask_cluster.stop_driver(epoch))

    # Repairs

    def start_repair(self, epoch: int, until: int) -> None:
        """See `place.Place`."""
        self._call(lambda: self._start_repair(epoch, until))

    def _start_repair(self, epoch: int, until: int) -> None:
        running = RepairPass(Process(f"repair-{epoch}"), Event(self._scheduler))
        self._pass = running
        config = JobConfig.load(self.files.config(EngineName.REPAIR, epoch))
        self._scheduler.start(
            running.process,
            lambda: self._repair(config, until, running),
            "repair",
            self._scheduler.random.uniform(0.05, 2),
        )

    def _repair(self, config: JobConfig, until: int, running: RepairPass) -> None:
        """As `repair.run` does with `--once`."""
        why = "stopped"
        try:
            report = Repair(config, running.stop.is_set).run_once(until)
            self._cut += report.cut
            self._unscorable += report.unscorable
            why = f"{report.requests} requests, {report.windows} windows"
        except Fenced:
            why = "fenced"
        except (Stopped, InterruptedError):
            pass
        except RangeGone as gone:
            why = str(gone)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        running.ended = True
        self._scheduler.note(f"repair of epoch {config.assignment.epoch} up to {until}: {why}")

    def kill_repair(self) -> None:
        """As SIGKILL."""
        if self._pass is not None and not self._pass.ended:
            self._pass.ended = True
            self._scheduler.kill(self._pass.process)

    def repairing(self) -> bool:
        """See `place.Place`."""
        return self._pass is not None and not self._pass.ended

    def end_repair(self) -> None:
        """See `place.Place`."""
        ending = self._pass
        if ending is None or ending.ended or ending.stop.is_set():
            return

        def kill() -> None:
            if not ending.ended:
                ending.ended = True
                self._scheduler.kill(ending.process)

        self._call(ending.stop.set)
        self._scheduler.call(GRACE_SECONDS, kill)
        while self._waits and not ending.ended:
            self._scheduler.sleep(0.05)

    def repairs_unscorable(self) -> int:
        """See `place.Place`."""
        return self._unscorable

    def windows_cut(self) -> int:
        """See `place.Place`."""
        return self._cut
