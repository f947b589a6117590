"""One stack: a `streampipeline run` with doors in front of its model server and its sink."""

from __future__ import annotations

import os
import time
from pathlib import Path
from time import time_ns as _time_ns
from urllib.parse import urlsplit

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # in its stubs, but not exported

from faults.doors import HeldWrite
from faults.landings import Landings
from faults.proxy import Proxy
from streampipeline.api.load import load
from streampipeline.decide.observed import Controls
from streampipeline.jobconfig import EngineName, JobConfig, Origin
from streampipeline.kafka import admin
from streampipeline.local.fault_injector import FaultInjector
from streampipeline.local.outcome import Outcome
from streampipeline.local.run import Run
from streampipeline.local.runtime import ROOT
from streampipeline.local.services import ModelProcess
from streampipeline.local.settings import RunSettings
from streampipeline.local.stream import PRODUCER
from streampipeline.local.view import View
from streampipeline.offsets import OffsetLookup

SAMPLE = ROOT / "samples/nurse-stress.yaml"
THRESHOLDS = {
    "STREAMPIPELINE_FAILOVER_CHECK_INTERVAL_SECONDS": "2",
    "STREAMPIPELINE_FAILOVER_PRIMARY_RECOVERY_SECONDS": "4",
    "STREAMPIPELINE_FAILOVER_MINIMUM_FALLBACK_SECONDS": "5",
    "STREAMPIPELINE_FAILOVER_RESUME_CHECKS": "2",
    # Faults follow each other faster than any user would have it.
    "STREAMPIPELINE_FAILOVER_MAX_LATENCY_SWITCHES_PER_HOUR": "1000",
}
"""Shorter than the defaults, so that many faults fit into the time; for latency it is the sample's."""


class Stack(Run):
    """A run of the sample on InfluxDB. All that scenarios do to it is a method, or one of its parts."""

    def __init__(self, settings: RunSettings, view: View) -> None:
        """Raises as `Run`."""
        manifest = load(settings.file)
        super().__init__(
            manifest, manifest.pipeline(settings.name, {**os.environ, **THRESHOLDS}), settings, view
        )
        influxdb = self.site.sink.influxdb
        assert influxdb is not None
        window = self.spec.window.size_ms
        delay = self.spec.source.event_time.allowed_delay_seconds * 1000
        self.landings = Landings(window, delay)
        self.model_door = Proxy(_port(self.model.url))
        self.sink_door = Proxy(_port(influxdb.url), self.landings.watch)
        influxdb.url = self.sink_door.url
        self.model.url = self.model_door.url
        self.config = self.config.model_copy(update={"model_url": self.model_door.url})
        self.injector = FaultInjector(self.processes)
        self.held_write: HeldWrite | None = None
        self.history_begins: Origin | None = None
        """Where the audit begins, when that is not the pipeline's own origin."""
        self.cut: dict[int, int] = {}
        """Offsets up to which records were deleted."""
        self.cut_at = 0
        """When (ms, UTC)."""
        self.records_gone = 0
        """How many of these no engine had read."""
        self.extra_records = 0
        """Sent by scenarios, beside the producer's."""

    @property
    def model(self) -> ModelProcess:
        """The one model server."""
        return next(iter(self.site.models.bundled.values()))

    def __enter__(self) -> Stack:
        super().__enter__()
        return self

    def control(
        self, *, pin: EngineName | None = None, drill: str | None = None, accept_loss: str | None = None
    ) -> None:
        """Ask for what a user can ask for; without any: nothing."""
        self.ground.controls = Controls(pin=pin, drill=drill, accept_loss=accept_loss)

    def keep_workers(self, least: int) -> None:
        """Change `spec.fallback.dask.workers.min`, as an edit does."""
        fallback = self.spec.fallback
        workers = fallback.dask.workers.model_copy(update={"min": least})
        dask = fallback.dask.model_copy(update={"workers": workers})
        changed = fallback.model_copy(update={"dask": dask})
        self.spec = self.spec.model_copy(update={"fallback": changed})
        self.ground.follow(self.spec)

    def set_clock(self, ahead_seconds: float) -> None:
        """Shift the clock of this process, which decides and measures; engines have their own."""
        vars(time)["time_ns"] = lambda: _time_ns() + round(ahead_seconds * 1e9)

    def signal(self, name: str, number: int) -> None:
        """To a process and all that it started."""
        self.processes.signal(name, number)

    def end_stream(self) -> None:
        """Let the producer end, once all that it has sent is delivered."""
        child = self.processes.get(PRODUCER)
        if child is not None and child.alive:
            child.process.terminate()

    def add_partition(self) -> int:
        """Returns its number. Raises confluent_kafka.KafkaException."""
        topic = self.config.spec.source.kafka.topic
        client = admin(self.config)
        count = len(client.list_topics(topic, timeout=5).topics[topic].partitions)
        client.create_partitions([NewPartitions(topic, count + 1)])[topic].result(10)
        return count

    def ends(self) -> dict[int, int]:
        """End of each partition of the source. Raises confluent_kafka.KafkaException."""
        lookup = OffsetLookup(self.config)
        return lookup.high_watermarks(lookup.partitions())

    def delete_records(self, until: dict[int, int]) -> None:
        """What retention does, at once. Raises confluent_kafka.KafkaException."""
        topic = self.config.spec.source.kafka.topic
        asked = [TopicPartition(topic, partition, offset) for partition, offset in until.items()]
        for done in admin(self.config).delete_records(asked).values():
            done.result(10)

    def begin_history_after(self, cut: dict[int, int]) -> None:
        """The audit is to begin behind these offsets: from where Dask first started there.

        A window that could hold a record of before them is not repaired but reported (`RepairCut`), so it is
        left out too: `maxFutureSeconds` of windows.
        """
        files = self.place.files.here.glob(f"*-{EngineName.DASK.value}.json")
        started = [JobConfig.load(file).assignment for file in files]
        behind = [a for a in started if all(a.offsets[p] >= offset for p, offset in cut.items())]
        first = min(behind, key=lambda assignment: assignment.epoch)
        slide = self.spec.window.slide_ms
        repairable = self.cut_at + self.spec.source.event_time.max_future_seconds * 1000
        boundary = first.boundary - (first.boundary - repairable) // slide * slide
        self.history_begins = Origin(boundary=boundary, offsets=first.offsets)

    def outcome(self) -> Outcome:
        """See `Run`."""
        if self.history_begins is not None:
            state = self.status.state.model_copy(update={"origin": self.history_begins})
            self.status = self.status.model_copy(update={"state": state})
        return super().outcome()

    def send(self, partition: int, key: bytes, values: list[bytes]) -> None:
        """Send records of the scenario's own. Raises confluent_kafka.KafkaException."""
        producer = Producer({"bootstrap.servers": self.site.kafka.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(self.config.spec.source.kafka.topic, value, key, partition)
        producer.flush(10)
        self.extra_records += len(values)

    @property
    def checkpoints(self) -> Path:
        """Where Flink puts its checkpoints."""
        return self.workdir / "flink" / "checkpoints"


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
