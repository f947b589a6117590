"""The port "a place": where the processes of one pipeline are started, seen and ended.

Implemented by child processes of one machine and by Kubernetes objects. What a ground sees in Kafka, in
Flink and in the sink, and how an engine is started exactly, is the same everywhere: `engine_ground`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streampipeline.decide.observed import JobState, Probe
from streampipeline.engines.flink.gateway import JobManager, SqlGateway
from streampipeline.jobconfig import EngineName


@dataclass(frozen=True)
class DaskSeen:
    """Dask's cluster and its drivers at one look."""

    up: bool = False
    """Whether the scheduler runs."""
    workers: int = 0
    """Workers that run."""
    drivers: Mapping[int, JobState] = field(default_factory=dict)
    """By epoch, for every driver that was started and not forgotten."""
    failures: Mapping[int, str] = field(default_factory=dict)
    """Why a driver ended by itself, in words, where that is known."""


@dataclass(frozen=True)
class JobFiles:
    """The two files of each assignment: its JobConfig, and its write token."""

    here: Path
    """Their folder, as this process sees it."""
    engines: Path
    """The same folder, as engines see it."""

    def config(self, engine: EngineName, epoch: int) -> Path:
        """The JobConfig, here."""
        return self.here / f"{epoch}-{engine.value}.json"

    def token(self, engine: EngineName, epoch: int) -> Path:
        """The write token, here."""
        return self.here / f"{epoch}-{engine.value}.token"

    def seen(self, file: Path) -> str:
        """The path of one of these files, as engines see it."""
        return str(self.engines / file.name)


class Place(Protocol):
    """Where engines run. What blocks may raise any exception: it is logged, and tried again."""

    @property
    def files(self) -> JobFiles:
        """Where the files of assignments are."""
        ...

    @property
    def jobmanager(self) -> JobManager:
        """Of Flink's session cluster."""
        ...

    @property
    def gateway(self) -> SqlGateway:
        """Of Flink's session cluster."""
        ...

    def health(self) -> Probe:
        """Whether the place itself answers (the API server). Returns at once."""
        ...

    def flink_cluster(self, up: bool) -> None:
        """Keep Flink's cluster up, or take it down."""
        ...

    def dask(self) -> DaskSeen:
        """What there is of Dask. Returns at once."""
        ...

    def scale_dask(self, workers: int) -> None:
        """Keep so many workers, and with any a driver that stands by; with none, nothing of Dask at all."""
        ...

    def deliver(self, engine: EngineName, epoch: int) -> None:
        """Make the files of an assignment, as they are now, visible to its engine."""
        ...

    def withdraw(self, engine: EngineName, epoch: int) -> None:
        """The token is revoked: engines need not see it any more."""
        ...

    def start_driver(self, epoch: int) -> None:
        """Start the Dask driver of an epoch whose files were delivered, unless there is one."""
        ...

    def stop_driver(self, epoch: int) -> None:
        """End the driver of an epoch; `dask` goes on to tell of it as one that has finished, or no more."""
        ...

    def start_repair(self, epoch: int, until: int) -> None:
        """Start one repair pass with the delivered files of (repair, epoch); windows that end by `until`."""
        ...

    def repairing(self) -> bool:
        """Whether a repair pass runs."""
        ...

    def end_repair(self) -> None:
        """End the pass that runs, if any."""
        ...

    def repairs_unscorable(self) -> int:
        """Repairs of older generations that the passes ended so far could not make: their model is gone."""
        ...

    def windows_cut(self) -> int:
        """Windows that the repair passes ended so far could not repair: their records are gone."""
        ...
