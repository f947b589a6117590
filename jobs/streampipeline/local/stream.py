"""The stream of a run: when it began, who produces it, when it is over and when all of it is settled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from streampipeline.decide import Observed, Phase, State
from streampipeline.jobconfig import PipelineConfig
from streampipeline.local.processes import Processes, last_json
from streampipeline.local.runtime import Runtime
from streampipeline.local.settings import RunSettings

PRODUCER = "producer"


class Stream:
    """From a producer of the run's own, or, without one, from elsewhere."""

    def __init__(
        self, settings: RunSettings, processes: Processes, runtime: Runtime, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._runtime = runtime
        self._say = say
        self._began: float | None = None

    def begin(self, config: PipelineConfig) -> None:
        """From now on records come."""
        self._began = time.monotonic()
        settings, bootstrap = self._settings, ",".join(config.bootstrap_servers)
        if not settings.produce:
            self._say(f"waiting for records: Kafka is at {bootstrap}")
            return
        argv = [
            str(self._runtime.python), "-m", "streampipeline.producer",
            "--bootstrap-servers", bootstrap,
            "--topic", config.spec.source.kafka.topic,
            "--rate", settings.rate,
            *(["--data", str(settings.data)] if settings.data else []),
            *(["--duration", f"{settings.duration:g}"] if settings.duration else []),
            *settings.producer_options,
        ]  # fmt: skip
        self._processes.start(PRODUCER, argv, env={"PYTHONPATH": self._runtime.python_path})
        self._say("the stream begins")

    @property
    def began(self) -> bool:
        """Whether it has begun; it may be over."""
        return self._began is not None

    @property
    def elapsed(self) -> float:
        """Seconds since it began; 0 before."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def over(self) -> bool:
        """Whether no more records come."""
        if not self.began:
            return False
        if self._settings.produce:
            return not self._processes.alive(PRODUCER)
        return self._settings.duration is not None and self.elapsed > self._settings.duration

    def sent(self) -> dict[str, Any] | None:
        """What the producer said that it sent; None: it did not get that far."""
        child = self._processes.get(PRODUCER)
        return last_json(child.last_lines(50), "records") if child else None


def settled(observed: Observed, state: State) -> bool:
    """Normal, every closable window in the sink, nothing left to repair."""
    return (
        state.phase is Phase.NORMAL
        and not state.retiring
        and observed.latency_ms == 0
        and observed.repairs.pending == 0
        and not observed.repairs.running
    )
