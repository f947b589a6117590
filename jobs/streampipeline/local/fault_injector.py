"""Injects faults from outside, as a failing machine would: signals, a limit on files, nothing in the code."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import psutil
import structlog

from streampipeline.local.faults import Fault, FaultKind
from streampipeline.local.flink import JOBMANAGER, TASKMANAGER
from streampipeline.local.kafka import BROKER
from streampipeline.local.processes import Processes
from streampipeline.local.services import DRIVER, INFLUXDB, MODEL, SCHEDULER, WORKER

log = structlog.get_logger()

BLINK_SECONDS = 0.4
"""How long a slowed process stands still in each tick."""

_KILLED: dict[FaultKind, tuple[str, ...]] = {
    FaultKind.KILL_FLINK: (JOBMANAGER, TASKMANAGER),
    FaultKind.KILL_JOBMANAGER: (JOBMANAGER,),
    FaultKind.KILL_TASKMANAGER: (TASKMANAGER,),
    FaultKind.KILL_DASK: ("dask-",),
    FaultKind.KILL_SCHEDULER: (SCHEDULER,),
    FaultKind.KILL_WORKER: (f"{WORKER}-0",),
    FaultKind.KILL_DRIVER: (DRIVER,),
    FaultKind.STOP_MODEL: (MODEL,),
    FaultKind.STOP_KAFKA: (BROKER,),
    FaultKind.STOP_SINK: (INFLUXDB,),
}
"""Beginnings of the names of what is killed, and held down."""
_SLOWED = {FaultKind.SLOW_MODEL: MODEL, FaultKind.SLOW_SINK: INFLUXDB}


class Faults(Protocol):
    """What goes wrong in a run, and when."""

    times: dict[str, int]
    """When (ms, UTC) each fault began, by its text."""

    def apply(self, elapsed: float) -> None:
        """Called at every tick, `elapsed` seconds into the stream."""
        ...

    def over(self, elapsed: float) -> bool:
        """Whether no fault is in force or still to come."""
        ...


class FaultInjector:
    """Brings a kind of fault about for as long as it is kept; `Processes.held_down`: what stays down."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def keep(self, kind: FaultKind) -> None:
        """Bring it about, or go on with it: to be called at every tick."""
        if kind in _KILLED:
            self._processes.held_down.update(_KILLED[kind])
            number = signal.SIGTERM if kind is FaultKind.STOP_KAFKA else signal.SIGKILL
            for name in self._names(kind):
                if self._processes.alive(name):
                    self._processes.signal(name, number)
        elif kind in _SLOWED:
            self._processes.signal(_SLOWED[kind], signal.SIGSTOP)
            time.sleep(BLINK_SECONDS)
            self._processes.signal(_SLOWED[kind], signal.SIGCONT)
        elif kind is FaultKind.FREEZE_FLINK:
            self._flink(signal.SIGSTOP)
        elif kind is FaultKind.CRASH_JOB:
            self._kill_python_of_flink()
        elif kind is FaultKind.FULL_SINK:
            self._fill_disk_of_sink()

    def end(self, kind: FaultKind) -> None:
        """Let it be over."""
        self._processes.held_down.difference_update(_KILLED.get(kind, ()))
        if kind is FaultKind.FREEZE_FLINK:
            self._flink(signal.SIGCONT)
        elif kind is FaultKind.FULL_SINK:
            # The limit ends with the process, and so does influxd's error: its write-ahead log keeps it.
            self._processes.signal(INFLUXDB, signal.SIGKILL)

    def _names(self, kind: FaultKind) -> list[str]:
        return [name for start in _KILLED[kind] for name in self._processes.names(start)]

    def _flink(self, number: int) -> None:
        for name in (JOBMANAGER, TASKMANAGER):
            self._processes.signal(name, number)

    def _kill_python_of_flink(self) -> None:
        """The workers in which the publishing function runs: the job fails, and fails again."""
        with suppress(psutil.Error):
            for process in self._process(TASKMANAGER).children(recursive=True):
                if process.name().startswith("python"):
                    process.kill()

    def _fill_disk_of_sink(self) -> None:
        """No file of it may become larger: what a full disk says to a program that writes."""
        with suppress(psutil.Error):
            self._process(INFLUXDB).rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))

    def _process(self, name: str) -> psutil.Process:
        """Raises psutil.NoSuchProcess."""
        child = self._processes.get(name)
        if child is None:
            raise psutil.NoSuchProcess(0, name)
        return psutil.Process(child.process.pid)


class FaultSchedule:
    """The faults of `--fault`, each in force for its time. Implements `Faults`."""

    def __init__(self, processes: Processes, faults: Sequence[Fault], say: Callable[[str], None]) -> None:
        self._injector = FaultInjector(processes)
        self._faults = faults
        self._say = say
        self._in_force: set[FaultKind] = set()
        self.times: dict[str, int] = {}

    def apply(self, elapsed: float) -> None:
        """See `Faults`: what is in force is kept, what is over ends."""
        active = [fault for fault in self._faults if fault.active(elapsed)]
        kinds = {fault.kind for fault in active}
        for kind in self._in_force - kinds:
            self._injector.end(kind)
        self._in_force = kinds
        for fault in active:
            if str(fault) not in self.times:
                self.times[str(fault)] = time.time_ns() // 1_000_000
                self._say(f"fault: {fault}")
                log.warning("fault", fault=str(fault))
            self._injector.keep(fault.kind)

    def over(self, elapsed: float) -> bool:
        """See `Faults`."""
        return all(fault.at + fault.hold <= elapsed for fault in self._faults)
