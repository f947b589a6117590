"""The place of one machine: engines are child processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streampipeline.decide.observed import Health, JobState, Probe
from streampipeline.engines.flink.gateway import JobManager, SqlGateway
from streampipeline.jobconfig import EngineName
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.processes import Processes, last_json
from streampipeline.local.services import DaskProcesses
from streampipeline.place import DaskSeen, JobFiles

REPAIR = "repair"


@dataclass
class LocalPlace:
    """Implements `place.Place`."""

    processes: Processes
    flink: FlinkProcesses
    dask_processes: DaskProcesses
    python: Path
    python_path: str
    _collected: float | None = None
    _cut: int = 0
    _unscorable: int = 0

    @property
    def files(self) -> JobFiles:
        """In the working directory."""
        jobs = self.processes.workdir / "jobs"
        return JobFiles(here=jobs, engines=jobs)

    @property
    def jobmanager(self) -> JobManager:
        """Of the session cluster."""
        return self.flink.jobmanager

    @property
    def gateway(self) -> SqlGateway:
        """Of the session cluster."""
        return self.flink.gateway

    def health(self) -> Probe:
        """See `place.Place`: processes always answer."""
        return Probe(health=Health.UP)

    def flink_cluster(self, up: bool) -> None:
        """See `place.Place`."""
        if up:
            self.flink.ensure()
        else:
            self.flink.stop()

    def dask(self) -> DaskSeen:
        """See `place.Place`."""
        drivers = {
            epoch: self._driver_state(epoch, alive) for epoch, alive in self.dask_processes.drivers().items()
        }
        return DaskSeen(self.dask_processes.up, self.dask_processes.workers(), drivers)

    def _driver_state(self, epoch: int, alive: bool) -> JobState:
        if not alive:
            return JobState.FINISHED
        return JobState.RUNNING if self.dask_processes.started(epoch) else JobState.STARTING

    def scale_dask(self, workers: int) -> None:
        """See `place.Place`."""
        self.dask_processes.scale(workers)

    def deliver(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`: engines see the very files."""

    def withdraw(self, engine: EngineName, epoch: int) -> None:
        """See `place.Place`: who revokes a token removes its file."""

    def start_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        self.dask_processes.start_driver(epoch, self.files.config(EngineName.DASK, epoch))

    def stop_driver(self, epoch: int) -> None:
        """See `place.Place`."""
        self.dask_processes.stop_driver(epoch)

    def start_repair(self, epoch: int, until: int) -> None:
        """See `place.Place`."""
        file = self.files.config(EngineName.REPAIR, epoch)
        argv = [str(self.python), "-m", "streampipeline.repair", str(file), "--until", str(until), "--once"]
        self.processes.start(REPAIR, argv, env={"PYTHONPATH": self.python_path})

    def repairing(self) -> bool:
        """See `place.Place`."""
        return self.processes.alive(REPAIR)

    def end_repair(self) -> None:
        """See `place.Place`."""
        self.processes.end(REPAIR, grace_seconds=5)

    def windows_cut(self) -> int:
        """See `place.Place`."""
        self._collect()
        return self._cut

    def repairs_unscorable(self) -> int:
        """See `place.Place`."""
        self._collect()
        return self._unscorable

    def _collect(self) -> None:
        """Take in what the last pass said when it ended."""
        child = self.processes.get(REPAIR)
        if child is not None and not child.alive and child.started != self._collected:
            self._collected = child.started
            said = last_json(child.last_lines(), "requests")
            self._cut += int(said["cut"]) if said else 0
            self._unscorable += int(said["unscorable"]) if said else 0
