"""How long windows that can be repaired wait for it, seen from outside while a run is at work."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from confluent_kafka import KafkaException

from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.kafka import GroupOffsets
from streampipeline.progress import ProgressReader
from streampipeline.repair_plan import starts_of
from streampipeline.requests import PARTITION, RepairRequest
from streampipeline.scan import scan

LOOK_SECONDS = 0.5


class RepairWatch:
    """Watches the run of one working directory, in a thread of its own."""

    def __init__(self, workdir: Path) -> None:
        self._jobs = workdir / "jobs"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._position = 0
        self._due: dict[int, int] = {}
        """Offset of a request -> when its last window ends, ms."""
        self._since: dict[int, float] = {}
        """Offset of a request that can be done -> when that was first seen (monotonic)."""
        self.seconds: list[float] = []
        """From when a request could be done to when it was; of those not done, to the end of the watch."""

    def __enter__(self) -> RepairWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            file = next(iter(sorted(self._jobs.glob("*-flink.json"))), None)
            if file is not None:
                self._follow(JobConfig.load(file))

    def _follow(self, config: JobConfig) -> None:
        try:
            progress = ProgressReader(config)
        except KafkaException:
            return
        done = GroupOffsets(config, config.group(EngineName.REPAIR))
        last_seen = time.monotonic()
        try:
            while not self._stop.wait(LOOK_SECONDS):
                try:
                    progress.poll()
                    self._take_requests(config)
                    frontier = progress.frontier(config.assignment.generation) or 0
                    reached = done.committed(config.repairs_topic, [PARTITION]).get(PARTITION, 0)
                except (KafkaException, TimeoutError):
                    continue  # the broker is away
                last_seen = time.monotonic()
                for offset, due in self._due.items():
                    if due <= frontier:
                        self._since.setdefault(offset, last_seen)
                for offset in [offset for offset in self._due if offset < reached]:
                    self.seconds.append(last_seen - self._since.pop(offset, last_seen))
                    del self._due[offset]
        finally:
            self.seconds += [last_seen - since for since in self._since.values()]
            progress.close()
            done.close()

    def _take_requests(self, config: JobConfig) -> None:
        window, origin = config.spec.window, config.origin.boundary
        for _, offset, message in scan(config, config.repairs_topic, {PARTITION: self._position}):
            request = RepairRequest.decode(message.value() or b"")
            starts = starts_of(request.start, request.end, window, after=origin)
            self._due[offset] = starts.last + window.size_ms if starts else 0
            self._position = offset + 1
