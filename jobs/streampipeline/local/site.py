"""What the engines of a run need and share, as processes: started all at once, and kept up."""

from __future__ import annotations

import time
from collections.abc import Callable

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.jobconfig import PipelineConfig
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.kafka import BROKER, KafkaProcess
from streampipeline.local.model_servers import ModelServers
from streampipeline.local.place import LocalPlace
from streampipeline.local.processes import Child, Processes
from streampipeline.local.runtime import Runtime
from streampipeline.local.services import INFLUXDB, DaskProcesses
from streampipeline.local.sink import LocalSink
from streampipeline.topics import ensure_source, ensure_topics

READY_SECONDS = 180.0


class RunError(Exception):
    """The run cannot go on; the message says why and what to do."""


class Site:
    """Kafka, the model servers and the sink of one run."""

    def __init__(self, processes: Processes, runtime: Runtime, sink: LocalSink) -> None:
        self._processes = processes
        self._runtime = runtime
        self.sink = sink
        self.kafka = KafkaProcess(processes, home=runtime.kafka_home)
        self.models = ModelServers(processes, runtime)

    def start(self, config: PipelineConfig, *, partitions: int, stopping: Callable[[], bool]) -> LocalPlace:
        """Start all of it beside Flink, and make the topics; returns where engines run.

        `stopping`: whether the user has given up. Raises RunError.
        """
        flink = FlinkProcesses(
            self._processes,
            home=self._runtime.flink_home,
            python=self._runtime.flink_python,
            python_path=self._runtime.python_path,
            slots=config.spec.primary.flink.parallelism,
        )
        self.kafka.start()
        flink.ensure()
        self.keep_up()
        self._await("Kafka", BROKER, self.kafka.answers, stopping)
        ensure_source(config, partitions=partitions)
        ensure_topics(config)
        if self.sink.influxdb:
            self._await("InfluxDB", INFLUXDB, self.sink.influxdb.answers, stopping)
        return LocalPlace(
            processes=self._processes,
            flink=flink,
            dask_processes=DaskProcesses(self._processes, self._runtime),
            python=self._runtime.python,
            python_path=self._runtime.python_path,
        )

    def _await(self, what: str, name: str, ready: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            child: Child | None = self._processes.get(name)
            if child is None or not child.alive:
                raise RunError(f"{what} ended while it started:\n{child.last_lines() if child else ''}")
            if time.monotonic() > deadline or stopping():
                raise RunError(f"{what} did not answer; its log is {child.log_file}")
            time.sleep(0.1)

    def keep_up(self) -> None:
        """Start again what both engines need and has died, as a cluster would; engines are decided on."""
        self.kafka.start()
        self.models.ensure()
        if self.sink.influxdb:
            self.sink.influxdb.ensure()


def for_the_cluster_only(spec: StreamPipelineSpec) -> list[str]:
    """Fields of the spec that say how the user's brokers are reached: a run has a broker of its own."""
    access = {"tls": spec.source.kafka.tls, "sasl": spec.source.kafka.sasl}
    return [f"spec.source.kafka.{name}" for name, value in access.items() if value is not None]
