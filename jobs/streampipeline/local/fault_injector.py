"""Injects the faults of a run from outside: signals to processes, as a failing machine would."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

import structlog

from streampipeline.local.faults import Fault, FaultKind
from streampipeline.local.flink import JOBMANAGER, TASKMANAGER
from streampipeline.local.kafka import BROKER
from streampipeline.local.processes import Processes
from streampipeline.local.services import INFLUXDB, MODEL

log = structlog.get_logger()

BLINK_SECONDS = 0.4
"""How long a slowed process stands still in each tick."""
FLINK, DASK = "flink", "dask"
"""Engines as `held_down` names them; shared parts are named by their process."""

_KILLED = {
    FaultKind.KILL_FLINK: (FLINK, signal.SIGKILL),
    FaultKind.KILL_DASK: (DASK, signal.SIGKILL),
    FaultKind.STOP_MODEL: (MODEL, signal.SIGKILL),
    FaultKind.STOP_KAFKA: (BROKER, signal.SIGTERM),
    FaultKind.STOP_SINK: (INFLUXDB, signal.SIGKILL),
}


class FaultInjector:
    """Keeps each fault in force for its time; `held_down` tells the ground what must not be started."""

    def __init__(
        self, processes: Processes, faults: Sequence[Fault], held_down: set[str], say: Callable[[str], None]
    ) -> None:
        self._processes = processes
        self._faults = faults
        self._held_down = held_down
        self._say = say
        self._frozen = False
        self.times: dict[str, int] = {}
        """When (ms, UTC) each fault began, by its text."""

    def apply(self, elapsed: float) -> None:
        """Bring what is in force `elapsed` seconds into the stream about; end what is over."""
        active = [fault for fault in self._faults if fault.active(elapsed)]
        self._held_down.clear()
        for fault in active:
            if str(fault) not in self.times:
                self.times[str(fault)] = time.time_ns() // 1_000_000
                self._say(f"fault: {fault}")
                log.warning("fault", fault=str(fault))
            self._keep(fault.kind)
        if self._frozen and not any(fault.kind is FaultKind.FREEZE_FLINK for fault in active):
            self._flink(signal.SIGCONT)
            self._frozen = False

    def over(self, elapsed: float) -> bool:
        """Whether no fault is in force or still to come."""
        return all(fault.at + fault.hold <= elapsed for fault in self._faults)

    def _keep(self, kind: FaultKind) -> None:
        if kind is FaultKind.SLOW_MODEL:
            self._processes.signal(MODEL, signal.SIGSTOP)
            time.sleep(BLINK_SECONDS)
            self._processes.signal(MODEL, signal.SIGCONT)
        elif kind is FaultKind.FREEZE_FLINK:
            self._flink(signal.SIGSTOP)
            self._frozen = True
        else:
            target, number = _KILLED[kind]
            self._held_down.add(target)
            for name in self._names(target):
                if self._processes.alive(name):
                    self._processes.signal(name, number)

    def _names(self, target: str) -> list[str]:
        if target == FLINK:
            return [JOBMANAGER, TASKMANAGER]
        return self._processes.names("dask-") if target == DASK else [target]

    def _flink(self, number: int) -> None:
        for name in self._names(FLINK):
            self._processes.signal(name, number)
