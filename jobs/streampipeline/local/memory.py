"""Peak memory of a run's processes, by part."""

from __future__ import annotations

import time

import psutil

from streampipeline.local.processes import Processes

EVERY_SECONDS = 2.0


class MemoryWatch:
    """Keeps, for each child with all that it started, the most resident memory seen, in MiB."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._last = 0.0
        self.peak: dict[str, int] = {}

    def look(self) -> None:
        """Take a sample when the last one is old enough."""
        if time.monotonic() - self._last < EVERY_SECONDS:
            return
        self._last = time.monotonic()
        for name in self._processes.names():
            child = self._processes.get(name)
            if child is not None and child.alive:
                part = name.rstrip("0123456789").rstrip("-")
                self.peak[part] = max(self.peak.get(part, 0), _resident(child.process.pid) >> 20)


def _resident(pid: int) -> int:
    """Bytes of a process and its descendants; 0 when it is gone."""
    try:
        leader = psutil.Process(pid)
        return sum(process.memory_info().rss for process in [leader, *leader.children(recursive=True)])
    except psutil.Error:
        return 0
