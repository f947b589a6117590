"""`streampipeline run`: one pipeline on one machine, from an empty directory to an audited result.

`start` brings up what is shared; `loop` looks, decides, stores, acts and shows; `outcome` audits and reports.
"""

from __future__ import annotations

import json
import signal
import time
from types import FrameType

import structlog

from streampipeline.api.load import Manifest
from streampipeline.api.problems import InvalidPipelineError
from streampipeline.api.spec import StreamPipeline
from streampipeline.decide import Observed, Phase, State, decide, headline, worth_writing
from streampipeline.decide import actions as act
from streampipeline.decide.events import Event
from streampipeline.decide.generations import refuse_type_changes
from streampipeline.decide.observed import Controls
from streampipeline.engine_ground import EngineGround
from streampipeline.ground import Executor
from streampipeline.jobconfig import PipelineConfig, TimestampType
from streampipeline.local.audit_job import write_audit_job
from streampipeline.local.edits import ChangedSourceError, EditedFile
from streampipeline.local.fault_injector import Faults, FaultSchedule
from streampipeline.local.fingerprint import fingerprint
from streampipeline.local.log_file import log_to
from streampipeline.local.memory import MemoryWatch
from streampipeline.local.outcome import Outcome, report, run_audit
from streampipeline.local.processes import Processes, end_leftovers
from streampipeline.local.runtime import MissingProgramError, Runtime
from streampipeline.local.settings import RunSettings, sink_of
from streampipeline.local.sink import LocalSink
from streampipeline.local.site import Site, for_the_cluster_only
from streampipeline.local.status import PhaseChange, Status, StatusFile
from streampipeline.local.stream import Stream, settled
from streampipeline.local.view import Frame, View
from streampipeline.local.workdir import WorkdirLock, empty
from streampipeline.simulate.trace import Header, TraceWriter, row_of

log = structlog.get_logger()

TICK_SECONDS = 0.5
SHORT_TICK_SECONDS = 0.1
SETTLE_SECONDS = 240.0
"""How long, after the stream has ended, a run waits for its last windows, hand-backs and repairs."""


class Run:
    """One run. Use as a context manager: on leaving, no process of it is left."""

    def __init__(
        self, manifest: Manifest, pipeline: StreamPipeline, settings: RunSettings, view: View
    ) -> None:
        """Raises MissingProgramError, ChangedPipelineError, InvalidPipelineError, OSError."""
        self.settings = settings
        self.view = view
        self.spec = pipeline.spec
        self.workdir = settings.workdir.resolve()
        self.runtime = Runtime.find()
        self._lock = WorkdirLock(self.workdir)
        end_leftovers(self.workdir)
        if not settings.keep_workdir:
            empty(self.workdir)
        log_to(self.workdir / "logs" / "run.log")
        sink = sink_of(self.spec, settings.sink, self.workdir)
        schema = manifest.resolve_schema(pipeline)
        self.status_file = StatusFile(self.workdir / "state.json")
        # A replay of a recording sets its records' timestamps itself.
        asked = TimestampType.CREATE_TIME if settings.data else TimestampType.LOG_APPEND_TIME
        self.status: Status = self.status_file.load(
            pipeline.metadata.name, fingerprint(pipeline, schema, sink), asked
        )
        refuse_type_changes(self.spec, self.status.state)
        self._file = EditedFile(settings.file, settings.name, self._same_results)
        self.processes = Processes(self.workdir)
        self.site = Site(
            self.processes, self.runtime, LocalSink(sink, manifest, self.processes, self.runtime)
        )
        self.site.models.serve(self.spec.model)
        for generation in self.status.state.generations:
            self.site.models.serve(generation.definition.model)
        self.config = PipelineConfig(
            pipeline=pipeline.metadata.name,
            uid=self.status.uid,
            spec=self.spec,
            avro_schema=schema,
            bootstrap_servers=[self.site.kafka.bootstrap],
            timestamp_type=self.status.timestamp_type,
            model_url=self.site.models.url(self.spec.model),
        )
        self.stream = Stream(settings, self.processes, self.runtime, view.say)
        self.memory = MemoryWatch(self.processes)
        header = Header(pipeline=self.config.pipeline, failover=self.spec.failover)
        self._trace = TraceWriter(settings.save_trace, header) if settings.save_trace else None
        self.stopping = False

    def __enter__(self) -> Run:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self.view.close()
        if self._trace is not None:
            self._trace.close()
        self.processes.stop_all()
        self._lock.release()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True

    def start(self) -> None:
        """Start everything that is shared, all at once. Raises RunError, SinkUnavailable."""
        self.view.say("starting Kafka, the model server, the sink and Flink")
        if unused := for_the_cluster_only(self.spec):
            self.view.say(f"not used: {', '.join(unused)}: this run's own Kafka, on loopback, has neither")
        self.place = self.site.start(
            self.config, partitions=self.settings.partitions, stopping=lambda: self.stopping
        )
        self.sink_admin = self.site.sink.prepared(self.config)
        self.ground = EngineGround(
            self.config, self.place, self.site.sink.endpoint, self.sink_admin, model_url=self.site.models.url
        )
        self.faults: Faults = FaultSchedule(self.processes, self.settings.faults, self.view.say)

    # The loop

    def loop(self) -> None:
        """Go on until the stream is over and all is settled, or the user stops it."""
        executor = Executor(self.ground.carry_out, self.ground.not_asked, [act.Repair])
        state = self.status.state
        if not self.status.phases:
            self._note_phase(state)
        settle_by: float | None = None
        try:
            while not self.stopping:
                now = time.time_ns() // 1_000_000
                if self.stream.began:
                    self.faults.apply(self.stream.elapsed)
                    self._drill()
                self._follow_file()
                self.site.keep_up()
                observed = self.ground.observe(state)
                decision = decide(observed, state, now, self.spec)
                if worth_writing(state, decision.state):
                    self._store(decision.state)
                state = decision.state
                self._tell(decision.events, now)
                executor.apply(decision.actions)
                if self._trace is not None:
                    self._trace.add(row_of(now, observed, decision, self.ground.look.ends, self.spec))
                self._show(observed, state, now)
                self.memory.look()
                if state.phase is not Phase.STARTUP and not self.stream.began:
                    self.stream.begin(self.config)
                if self.stream.over:
                    settle_by = settle_by or time.monotonic() + SETTLE_SECONDS
                    done = self.faults.over(self.stream.elapsed) and settled(observed, state)
                    if done or time.monotonic() > settle_by:
                        break
                self._pause(executor)
        finally:
            executor.close()
            self._store(state)

    def _drill(self) -> None:
        """Ask for the planned failover and hand-back when its time has come; asking again does nothing."""
        at = self.settings.drill_at
        if at is not None and self.stream.elapsed >= at:
            self.ground.controls = Controls(drill=f"{at:g} s into the stream")

    @staticmethod
    def _pause(executor: Executor) -> None:
        """Until the next look: a tick, or less when an action was carried out."""
        time.sleep(SHORT_TICK_SECONDS)
        executor.done.wait(TICK_SECONDS - SHORT_TICK_SECONDS)
        executor.done.clear()

    def _follow_file(self) -> None:
        """An edited file takes effect, as an applied resource does on a cluster."""
        try:
            spec = self._file.edited(self.status.state)
            if spec is None:
                return
            self.site.models.serve(spec.model)
        except (InvalidPipelineError, ChangedSourceError, MissingProgramError, OSError) as error:
            self.view.say(f"the edited file is refused, the pipeline goes on as it was: {error}")
            return
        self.spec = spec
        self.ground.follow(spec)
        self.view.say("the edited file is in force")

    def _same_results(self, pipeline: StreamPipeline, schema: str) -> bool:
        """Whether a pipeline may go on from the results that are here."""
        sink = sink_of(pipeline.spec, self.settings.sink, self.workdir)
        named = (pipeline.metadata.name, fingerprint(pipeline, schema, sink))
        return named == (self.status.pipeline, self.status.fingerprint)

    def _store(self, state: State) -> None:
        if self.status.phases and self.status.phases[-1].phase != state.phase.value:
            self._note_phase(state)
        self.status = self.status.model_copy(update={"state": state})
        self.status_file.store(self.status)

    def _note_phase(self, state: State) -> None:
        change = PhaseChange(phase=state.phase.value, at=state.since)
        self.status = self.status.model_copy(update={"phases": (*self.status.phases, change)})

    def _tell(self, events: tuple[Event, ...], now: int) -> None:
        for event in events:
            log.info("event", reason=event.reason, message=event.message)
            self.view.event(now, event)

    def _show(self, observed: Observed, state: State, now: int) -> None:
        self.view.show(
            Frame(
                now=now,
                headline=headline(state, observed, now),
                state=state,
                observed=observed,
                look=self.ground.look,
                spec=self.spec,
                phases=self.status.phases,
                elapsed=self.stream.elapsed if self.stream.began else None,
            )
        )

    # The end

    def outcome(self) -> Outcome:
        """Audit and report; `--report` is written. Raises AuditFailed."""
        state = self.status.state
        audit = None
        if state.origin is not None:
            served = next(iter(self.site.models.bundled.values()), None)
            model = served.model_dir / "model.txt" if served else None
            job = write_audit_job(self.place.files.here, state, self.ground, self.sink_admin)
            audit = run_audit(self.runtime, job, model, self.workdir / "logs" / "audit.log")
        said = report(
            pipeline=self.config.pipeline,
            phases=self.status.phases,
            state=state,
            faults=self.faults.times,
            written=self.ground.look.written,
            producer=self.stream.sent(),
            peak_memory=self.memory.peak,
            audit=audit,
        )
        if self.settings.report is not None:
            self.settings.report.parent.mkdir(parents=True, exist_ok=True)
            self.settings.report.write_text(json.dumps(said, indent=1) + "\n")
        sent = not self.settings.produce or said["producer"] is not None
        return Outcome(state.phase, self.stopping, audit, said, sent)
