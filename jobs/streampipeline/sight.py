"""What a ground sees of one pipeline: probes in threads of their own, put together into one `Observed`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaException

from streampipeline.api.spec import ModelRef, StreamPipelineSpec
from streampipeline.decide import Observed, State
from streampipeline.decide.facts import frontier
from streampipeline.decide.observed import Health, Job, JobState, Probe, Progress
from streampipeline.engines.flink import sql
from streampipeline.jobconfig import EngineName, PipelineConfig
from streampipeline.kafka import admin
from streampipeline.place import DaskSeen, Place
from streampipeline.probes.dropped import DropWatch
from streampipeline.probes.flink import FlinkReading, probe_flink
from streampipeline.probes.models import Models
from streampipeline.probes.pipeline import PipelineLook, PipelineProbe
from streampipeline.probes.poller import Poller, Reading
from streampipeline.requests import RequestWriter
from streampipeline.sinks.base import SinkAdmin

log = structlog.get_logger()

DROPS_SECONDS = 5.0
"""Between two looks at what Flink has dropped."""

_FLINK_STATES = {
    "CREATED": JobState.STARTING,
    "INITIALIZING": JobState.STARTING,
    "RUNNING": JobState.RUNNING,
    "FINISHED": JobState.FINISHED,
    "CANCELED": JobState.FINISHED,
    "FAILED": JobState.FINISHED,
}


class Sight:
    """Looks at Kafka, the model, the sink and Flink until closed."""

    def __init__(
        self,
        config: PipelineConfig,
        place: Place,
        sink_admin: SinkAdmin,
        model_url: Callable[[ModelRef], str],
    ) -> None:
        self._config = config
        self._place = place
        self._state: State | None = None
        self._dropped_records = 0
        self._models = Models(config.spec, model_url)
        self._probe = PipelineProbe(config)
        self._drops = DropWatch(config)
        self._requests = RequestWriter(config, lambda: False)
        self._pollers: dict[str, Poller[Any]] = {
            "kafka": Poller("kafka", self._probe_broker, 1, fresh_seconds=5),
            "sink": Poller("sink", sink_admin.probe, 2, fresh_seconds=8),
        }
        self._flink = Poller("flink", lambda: probe_flink(place.jobmanager), 1, fresh_seconds=5)
        self._look = Poller("pipeline", self._look_at_pipeline, 1, fresh_seconds=5)
        self._dropped = Poller("dropped", self._watch_drops, DROPS_SECONDS, fresh_seconds=30)

    def follow(self, spec: StreamPipelineSpec) -> None:
        """Another spec is in force: of the same source and windows."""
        self._config = self._config.model_copy(update={"spec": spec})
        self._models.follow(spec)

    @property
    def look(self) -> PipelineLook:
        """The newest look at Kafka; an empty one before the first."""
        reading = self._look.read()
        return reading.value if reading and reading.value else PipelineLook()

    @property
    def looked(self) -> bool:
        """Whether every probe has answered once."""
        pollers = (*self._pollers.values(), self._flink, self._look)
        return self._models.looked and all(poller.read() is not None for poller in pollers)

    def observed(self, state: State) -> Observed:
        """What is seen now; what only the hands know (origin, plan, fences, repairs) is not in it."""
        self._state = state
        reading = self._look.read()
        look = reading.value if reading else None
        flink = self._flink.read()
        seen = flink.value if flink else None
        dask = self._place.dask()
        newest = frontier(Observed(progress=progress_of(look)), state)
        return Observed(
            ground=self._place.health(),
            kafka=source_health(self._health("kafka"), reading),
            sink=self._health("sink"),
            model=self._models.newest(state),
            next_model=self._models.next(state),
            flink=self._flink_health(seen, flink.error if flink else ""),
            dask=Probe(health=Health.UP if dask.up else Health.DOWN),
            dask_workers=dask.workers,
            jobs=(*self._flink_jobs(seen, look, state), *self._dask_jobs(dask, look, state)),
            progress=progress_of(look),
            latency_ms=look.latency.get(newest) if look and newest is not None else None,
            partitions=look.partitions if look and look.partitions else None,
            dropped=self._dropped_records,
        )

    def _probe_broker(self) -> None:
        admin(self._config).list_topics(timeout=1.5)

    def _watch_drops(self) -> None:
        reading, look = self._flink.read(), self._look.read()
        running = [
            job for job in (reading.value.jobs if reading and reading.value else ()) if job.state == "RUNNING"
        ]
        if not running or look is None or look.value is None:
            return
        dropped = self._place.jobmanager.dropped_records(running[0].id)
        committed = look.value.committed.get(EngineName.FLINK, {})
        request = self._drops.look(running[0].id, dropped, committed)
        if request is not None:
            log.warning("flink.dropped", records=dropped, repair_from=request.start, repair_to=request.end)
            self._requests.write([request])
            self._dropped_records = dropped
        elif look.value.repairs_pending == 0:
            self._dropped_records = 0

    def _look_at_pipeline(self) -> PipelineLook:
        frontiers = set()
        if self._state is not None:
            lives = [live for live in (self._state.flink, self._state.dask) if live]
            frontiers = {live.assignment.boundary for live in lives}
            if self._state.newest is not None:
                frontiers.add(self._state.newest.boundary)
            if self._state.origin is not None:
                frontiers.add(self._state.origin.boundary)
        return self._probe.look(frontiers)

    def _health(self, name: str) -> Probe:
        reading = self._pollers[name].read()
        if reading is None:
            return Probe(health=Health.UNKNOWN, message="no answer yet")
        return Probe(health=Health.DOWN, message=reading.error) if reading.error else Probe(health=Health.UP)

    def _flink_health(self, seen: FlinkReading | None, error: str) -> Probe:
        if seen is None:
            return Probe(health=Health.DOWN, message=error or "the JobManager does not answer")
        needed = self._config.spec.primary.flink.parallelism
        if seen.slots < needed:
            return Probe(health=Health.DOWN, message=f"{seen.slots} of {needed} task slots are registered")
        running = any(job.state == "RUNNING" for job in seen.jobs)
        # The gateway only starts jobs: one that runs is well without it.
        if not running and not self._place.gateway.ready():
            return Probe(health=Health.DOWN, message="the SQL gateway does not answer")
        return Probe(health=Health.UP)

    def _flink_jobs(self, seen: FlinkReading | None, look: PipelineLook | None, state: State) -> list[Job]:
        if seen is None:
            return []
        prefix = sql.job_prefix(self._config.uid)
        epochs = {int(job.name.removeprefix(prefix)) for job in seen.jobs if job.name.startswith(prefix)}
        jobs = []
        for epoch in sorted(epochs):
            name = f"{prefix}{epoch}"
            job = seen.job(name)
            assert job is not None
            jobs.append(
                Job(
                    engine=EngineName.FLINK,
                    epoch=epoch,
                    state=_FLINK_STATES.get(job.state, JobState.FAILING),
                    failure=seen.failures.get(job.id, ""),
                    doubles=max(0, seen.alive(name) - 1),
                    latency_ms=_own_latency(EngineName.FLINK, epoch, look, state),
                )
            )
        return jobs

    @staticmethod
    def _dask_jobs(dask: DaskSeen, look: PipelineLook | None, state: State) -> list[Job]:
        return [
            Job(
                engine=EngineName.DASK,
                epoch=epoch,
                state=job_state,
                failure=dask.failures.get(epoch, ""),
                latency_ms=_own_latency(EngineName.DASK, epoch, look, state),
            )
            for epoch, job_state in dask.drivers.items()
        ]

    def close(self) -> None:
        """Stop probing."""
        self._models.close()
        for poller in (*self._pollers.values(), self._flink, self._look, self._dropped):
            poller.stop()
        with suppress(KafkaException):
            self._probe.close()


def source_health(broker: Probe, look: Reading[PipelineLook] | None) -> Probe:
    """Of Kafka: it has to answer, and to let the topics be looked at (their leaders, offsets, records)."""
    if broker.up and look is not None and look.error:
        return Probe(health=Health.DOWN, message=look.error)
    return broker


def _own_latency(engine: EngineName, epoch: int, look: PipelineLook | None, state: State) -> int | None:
    live = state.live(engine)
    if look is None or live is None or live.assignment.epoch != epoch:
        return None
    row = look.progress.get((state.generation, epoch, engine))
    return look.latency.get(row.frontier if row else live.assignment.boundary)


def progress_of(look: PipelineLook | None) -> tuple[Progress, ...]:
    """The rows of a look, as decisions know them."""
    if look is None:
        return ()
    return tuple(
        Progress(
            engine=row.engine,
            epoch=row.epoch,
            generation=row.generation,
            frontier=row.frontier,
            at=row.at,
        )
        for row in look.progress.values()
    )
