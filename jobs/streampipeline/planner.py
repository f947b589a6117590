"""Where the next engine starts, by what the topics say now; and what its predecessors could not count."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog
from confluent_kafka import KafkaException, TopicPartition

from streampipeline import start
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Observed, State
from streampipeline.decide import actions as act
from streampipeline.decide.facts import frontier
from streampipeline.decide.observed import RETENTION_PASSED, PlanFailed, StartPlan
from streampipeline.jobconfig import EngineName, JobConfig, Origin, PipelineConfig
from streampipeline.kafka import consumer
from streampipeline.offsets import OffsetLookup
from streampipeline.place import JobFiles
from streampipeline.probes.pipeline import PipelineLook, PipelineProbe
from streampipeline.requests import RepairReason, RepairRequest, RequestWriter
from streampipeline.sight import progress_of

log = structlog.get_logger()


class Planner:
    """Asks the brokers anew each time. Its methods may be called from several threads.

    `files`: of the assignments there were; `look`: the newest look at Kafka.
    """

    def __init__(self, config: PipelineConfig, files: JobFiles, look: Callable[[], PipelineLook]) -> None:
        self._config = config
        self._files = files
        self._look = look
        self._probe = PipelineProbe(config)
        self._requests = RequestWriter(config, lambda: False)
        self._lock = threading.Lock()

    def follow(self, spec: StreamPipelineSpec) -> None:
        """Another spec is in force: of the same source and windows."""
        self._config = self._config.model_copy(update={"spec": spec})

    def plan(self, action: act.PlanStart, state: State, origin: Origin) -> StartPlan | PlanFailed:
        """Where an engine would start. Raises KafkaException, KeyError (no such topic)."""
        try:
            with self._lock:
                progress, repaired = self._probe.progress(), self._probe.repairs_committed()
            rows = [row for row in progress.values() if row.generation == action.generation]
            newest = max(rows, key=lambda row: (row.frontier, row.epoch), default=None)
            begin = action.begin or origin
            boundary = newest.frontier if newest else begin.boundary
            started = self._started(newest.engine, newest.epoch, state) if newest else None
            offsets = start.start_offsets(
                self._config,
                origin,
                frontier=boundary,
                set_by=newest.engine if newest else None,
                started=started or begin.offsets,
            )
            new = sorted(set(offsets) - set(started or begin.offsets))
            self._repair_uncounted(start.uncounted_of(self._config, new, boundary) if new else None)
            return StartPlan(
                engine=action.engine,
                epoch=action.epoch,
                boundary=boundary,
                offsets=offsets,
                repairs_offset=repaired or 0,
            )
        except start.RetentionPassed as gone:
            if action.accept_loss:
                return self._from_log_start(action, state)
            return PlanFailed(
                engine=action.engine,
                epoch=action.epoch,
                reason=RETENTION_PASSED,
                message=str(gone),
                records_gone=gone.count,
            )

    def _from_log_start(self, action: act.PlanStart, state: State) -> StartPlan:
        """After the user's word: from the first records that are left."""
        lookup = OffsetLookup(self._config)
        rows = [row for row in progress_of(self._look()) if row.generation == action.generation]
        newest = frontier(Observed(progress=tuple(rows)), state)
        assert newest is not None
        return StartPlan(
            engine=action.engine,
            epoch=action.epoch,
            boundary=newest,
            offsets=lookup.log_starts(lookup.partitions()),
        )

    def _started(self, engine: EngineName, epoch: int, state: State) -> dict[int, int] | None:
        """Offsets at which an assignment began."""
        file = self._files.config(engine, epoch)
        if file.exists():
            return JobConfig.load(file).assignment.offsets
        known = [live.assignment for live in (state.flink, state.dask) if live]
        known += [retiring.assignment for retiring in state.retiring]
        return next((a.offsets for a in known if (a.engine, a.epoch) == (engine, epoch)), None)

    def retired(self, engine: EngineName, epoch: int, state: State) -> None:
        """An engine can write no more. Raises as `plan`.

        It may have written windows after an engine that reads more partitions, and without those.
        """
        known = self._started(engine, epoch, state)
        if known is not None:
            self._repair_uncounted(start.published_without(self._config, known))

    def _repair_uncounted(self, span: tuple[int, int] | None) -> None:
        """Ask for the windows that were published by who did not read the partitions that are new."""
        if span is None:
            return
        request = RepairRequest(reason=RepairReason.DROPPED, start=span[0], end=span[1])
        with self._lock:
            self._requests.write([request])
        log.info("partitions.uncounted", repair_from=request.start, repair_to=request.end)

    def rewind_repairs(self, offset: int) -> None:
        """Have the repairs from `offset` on done anew; no pass may run. Raises KafkaException."""
        with self._lock:
            done = self._probe.repairs_committed()
        if done is not None and offset < done:
            client = consumer(self._config, self._config.group(EngineName.REPAIR))
            try:
                client.commit(
                    offsets=[TopicPartition(self._config.repairs_topic, 0, offset)], asynchronous=False
                )
            finally:
                client.close()

    def close(self) -> None:
        """End the connections."""
        with suppress(KafkaException):
            self._probe.close()
