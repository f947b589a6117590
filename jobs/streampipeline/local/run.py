"""`streampipeline run`: one pipeline on one machine, from an empty directory to an audited result.

`start` brings up what is shared; `loop` looks, decides, stores, acts and shows; `outcome` audits and reports.
"""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from streampipeline.api.load import Manifest
from streampipeline.api.problems import InvalidPipelineError
from streampipeline.api.spec import InfluxDbSink, ModelRef, ParquetSink, StreamPipeline, StreamPipelineSpec
from streampipeline.decide import Observed, Phase, State, decide, headline, worth_writing
from streampipeline.decide import actions as act
from streampipeline.decide.events import Event
from streampipeline.decide.observed import Controls
from streampipeline.engine_ground import EngineGround
from streampipeline.ground import Executor
from streampipeline.jobconfig import (
    InfluxDbEndpoint,
    ParquetEndpoint,
    PipelineConfig,
    SinkEndpoint,
    TimestampType,
)
from streampipeline.local.edits import ChangedSourceError, EditedFile, refuse_type_changes
from streampipeline.local.fault_injector import Faults, FaultSchedule
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.kafka import BROKER, KafkaProcess
from streampipeline.local.log_file import log_to
from streampipeline.local.memory import MemoryWatch
from streampipeline.local.outcome import Outcome, report, run_audit
from streampipeline.local.place import LocalPlace
from streampipeline.local.processes import Child, Processes, end_leftovers, last_json
from streampipeline.local.runtime import MissingProgramError, Runtime
from streampipeline.local.services import INFLUXDB, MODEL, DaskProcesses, InfluxDbProcess, ModelProcess
from streampipeline.local.settings import RunSettings, sink_of
from streampipeline.local.status import PhaseChange, Status, StatusFile
from streampipeline.local.view import Frame, View
from streampipeline.local.workdir import WorkdirLock, empty
from streampipeline.simulate.trace import Header, TraceWriter, row_of
from streampipeline.sinks.base import write_secret
from streampipeline.sinks.opening import open_admin
from streampipeline.topics import ensure_source, ensure_topics

log = structlog.get_logger()

TICK_SECONDS = 0.5
SHORT_TICK_SECONDS = 0.1
READY_SECONDS = 180.0
SETTLE_SECONDS = 240.0
"""How long, after the stream has ended, a run waits for its last windows, hand-backs and repairs."""
PRODUCER = "producer"


class RunError(Exception):
    """The run cannot go on; the message says why and what to do."""


def for_the_cluster_only(spec: StreamPipelineSpec) -> list[str]:
    """Fields of the spec that say how the user's brokers are reached: a run has a broker of its own."""
    access = {"tls": spec.source.kafka.tls, "sasl": spec.source.kafka.sasl}
    return [f"spec.source.kafka.{name}" for name, value in access.items() if value is not None]


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
        self._manifest = manifest
        self._sink = sink_of(self.spec, settings.sink, self.workdir)
        schema = manifest.resolve_schema(pipeline)
        self.status_file = StatusFile(self.workdir / "state.json")
        # A replay of a recording sets its records' timestamps itself.
        asked = TimestampType.CREATE_TIME if settings.data else TimestampType.LOG_APPEND_TIME
        self.status: Status = self.status_file.load(
            pipeline.metadata.name, _fingerprint(pipeline, schema, self._sink), asked
        )
        refuse_type_changes(self.spec, self.status.state)
        self._file = EditedFile(settings.file, settings.name, self._same_results)
        self.processes = Processes(self.workdir)
        self.kafka = KafkaProcess(self.processes, home=self.runtime.kafka_home)
        managed = isinstance(self._sink, InfluxDbSink) and self._sink.external is None
        self.influxdb = InfluxDbProcess(self.processes, self.runtime) if managed else None
        self.models: dict[str, ModelProcess] = {}
        """By the name of the bundled model."""
        self._serve(self.spec.model)
        for generation in self.status.state.generations:
            self._serve(generation.definition.model)
        self.config = PipelineConfig(
            pipeline=pipeline.metadata.name,
            uid=self.status.uid,
            spec=self.spec,
            avro_schema=schema,
            bootstrap_servers=[self.kafka.bootstrap],
            timestamp_type=self.status.timestamp_type,
            model_url=self._model_url(self.spec.model),
        )
        self.memory = MemoryWatch(self.processes)
        header = Header(pipeline=self.config.pipeline, failover=self.spec.failover)
        self._trace = TraceWriter(settings.save_trace, header) if settings.save_trace else None
        self.stopping = False
        self.stream_began: float | None = None

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

    # What it is made of

    def _serve(self, model: ModelRef) -> None:
        """Have a model server for a managed model."""
        managed = model.managed
        if managed is None or managed.bundled in self.models:
            return
        if managed.bundled is None:
            raise MissingProgramError(
                "spec.model.managed.image: one machine runs no images; serve the model yourself and name it "
                "with spec.model.external.url, or use a bundled model"
            )
        name = f"{MODEL}-{managed.bundled}" if self.models else MODEL
        served = ModelProcess(self.processes, self.runtime, managed.bundled, name=name)
        self.models[managed.bundled] = served

    def _model_url(self, model: ModelRef) -> str:
        if model.external is not None:
            return model.external.url
        assert model.managed is not None
        return self.models[model.managed.bundled or ""].url

    def _same_results(self, pipeline: StreamPipeline, schema: str) -> bool:
        """Whether a pipeline may go on from the results that are here."""
        sink = sink_of(pipeline.spec, self.settings.sink, self.workdir)
        named = (pipeline.metadata.name, _fingerprint(pipeline, schema, sink))
        return named == (self.status.pipeline, self.status.fingerprint)

    def _follow_file(self) -> None:
        """An edited file takes effect, as an applied resource does on a cluster."""
        try:
            spec = self._file.edited(self.status.state)
            if spec is None:
                return
            self._serve(spec.model)
        except (InvalidPipelineError, ChangedSourceError, MissingProgramError, OSError) as error:
            self.view.say(f"the edited file is refused, the pipeline goes on as it was: {error}")
            return
        self.spec = spec
        self.ground.follow(spec)
        self.view.say("the edited file is in force")

    def _endpoint(self) -> SinkEndpoint:
        """Where points go; each job puts its own token file in."""
        sink = self._sink
        if not isinstance(sink, InfluxDbSink):
            return SinkEndpoint(parquet=ParquetEndpoint(path=sink.path, token_file=""))
        local = self.influxdb.url if self.influxdb else ""
        return SinkEndpoint(
            influxdb=InfluxDbEndpoint(
                url=sink.external.url if sink.external else local,
                org=sink.external.org if sink.external else InfluxDbProcess.ORG,
                bucket=sink.bucket,
                measurement=sink.measurement,
                token_file="",
                timeout_seconds=sink.write_timeout_seconds,
            )
        )

    def _admin_token_file(self) -> Path | None:
        """The file of the token that makes tokens: generated, or the user's own written out for the run."""
        if self.influxdb is not None:
            return self.influxdb.admin_token_file
        if not isinstance(self._sink, InfluxDbSink) or self._sink.external is None:
            return None
        ref = self._sink.external.token_secret_ref
        file = self.workdir / "tokens" / "external"
        write_secret(file, self._manifest.secret(ref.name, ref.key))
        return file

    # Start

    def start(self) -> None:
        """Start everything that is shared, all at once. Raises RunError, SinkUnavailable."""
        self.view.say("starting Kafka, the model server, the sink and Flink")
        if unused := for_the_cluster_only(self.spec):
            self.view.say(f"not used: {', '.join(unused)}: this run's own Kafka, on loopback, has neither")
        flink = FlinkProcesses(
            self.processes,
            home=self.runtime.flink_home,
            python=self.runtime.flink_python,
            python_path=self.runtime.python_path,
            slots=self.spec.primary.flink.parallelism,
        )
        self.kafka.start()
        flink.ensure()
        self._keep_shared_up()
        self._await("Kafka", BROKER, self.kafka.answers)
        ensure_source(self.config, partitions=self.settings.partitions)
        ensure_topics(self.config)
        if self.influxdb:
            self._await("InfluxDB", INFLUXDB, self.influxdb.answers)
        sink = self._endpoint()
        admin = open_admin(
            sink,
            pipeline=f"{self.config.pipeline}-{self.config.uid}",
            admin_token_file=self._admin_token_file(),
            onboard=self.influxdb is not None,
        )
        admin.prepare()
        self.sink_admin = admin
        self.place = LocalPlace(
            processes=self.processes,
            flink=flink,
            dask_processes=DaskProcesses(self.processes, self.runtime),
            python=self.runtime.python,
            python_path=self.runtime.python_path,
        )
        self.ground = EngineGround(self.config, self.place, sink, admin, model_url=self._model_url)
        self.faults: Faults = FaultSchedule(self.processes, self.settings.faults, self.view.say)

    def _await(self, what: str, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            child: Child | None = self.processes.get(name)
            if child is None or not child.alive:
                raise RunError(f"{what} ended while it started:\n{child.last_lines() if child else ''}")
            if time.monotonic() > deadline or self.stopping:
                raise RunError(f"{what} did not answer; its log is {child.log_file}")
            time.sleep(0.1)

    def _keep_shared_up(self) -> None:
        """Start again what both engines need and has died, as a cluster would; engines are decided on."""
        self.kafka.start()
        for served in self.models.values():
            served.ensure()
        if self.influxdb:
            self.influxdb.ensure()

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
                if self.stream_began is not None:
                    self.faults.apply(self._elapsed())
                    self._drill()
                self._follow_file()
                self._keep_shared_up()
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
                if state.phase is not Phase.STARTUP and self.stream_began is None:
                    self._begin_stream()
                if self._stream_over():
                    settle_by = settle_by or time.monotonic() + SETTLE_SECONDS
                    if self._settled(observed, state) or time.monotonic() > settle_by:
                        break
                self._pause(executor)
        finally:
            executor.close()
            self._store(state)

    def _drill(self) -> None:
        """Ask for the planned failover and hand-back when its time has come; asking again does nothing."""
        at = self.settings.drill_at
        if at is not None and self._elapsed() >= at:
            self.ground.controls = Controls(drill=f"{at:g} s into the stream")

    @staticmethod
    def _pause(executor: Executor) -> None:
        """Until the next look: a tick, or less when an action was carried out."""
        time.sleep(SHORT_TICK_SECONDS)
        executor.done.wait(TICK_SECONDS - SHORT_TICK_SECONDS)
        executor.done.clear()

    def _elapsed(self) -> float:
        """Seconds since the stream began."""
        return 0.0 if self.stream_began is None else time.monotonic() - self.stream_began

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
                elapsed=None if self.stream_began is None else self._elapsed(),
            )
        )

    # The stream

    def _begin_stream(self) -> None:
        self.stream_began = time.monotonic()
        if not self.settings.produce:
            self.view.say(f"waiting for records: Kafka is at {self.kafka.bootstrap}")
            return
        argv = [
            str(self.runtime.python), "-m", "streampipeline.producer",
            "--bootstrap-servers", self.kafka.bootstrap,
            "--topic", self.spec.source.kafka.topic,
            "--rate", self.settings.rate,
            *(["--data", str(self.settings.data)] if self.settings.data else []),
            *(["--duration", f"{self.settings.duration:g}"] if self.settings.duration else []),
            *self.settings.producer_options,
        ]  # fmt: skip
        self.processes.start(PRODUCER, argv, env={"PYTHONPATH": self.runtime.python_path})
        self.view.say("the stream begins")

    def _stream_over(self) -> bool:
        if self.stream_began is None:
            return False
        if self.settings.produce:
            return not self.processes.alive(PRODUCER)
        return self.settings.duration is not None and self._elapsed() > self.settings.duration

    def _settled(self, observed: Observed, state: State) -> bool:
        """Normal, every closable window in the sink, nothing left to repair, every fault over."""
        return (
            self.faults.over(self._elapsed())
            and state.phase is Phase.NORMAL
            and not state.retiring
            and observed.latency_ms == 0
            and observed.repairs.pending == 0
            and not observed.repairs.running
        )

    def producer_report(self) -> dict[str, Any] | None:
        """What the producer said that it sent; None: it did not get that far."""
        child = self.processes.get(PRODUCER)
        return last_json(child.last_lines(50), "records") if child else None

    # The end

    def outcome(self) -> Outcome:
        """Audit and report; `--report` is written. Raises AuditFailed."""
        state = self.status.state
        audit = None
        if state.origin is not None:
            served = next(iter(self.models.values()), None)
            model = served.model_dir / "model.txt" if served else None
            audit = run_audit(self.runtime, self._audit_file(), model, self.workdir / "logs" / "audit.log")
        said = report(
            pipeline=self.config.pipeline,
            phases=self.status.phases,
            state=state,
            faults=self.faults.times,
            written=self.ground.look.written,
            producer=self.producer_report(),
            peak_memory=self.memory.peak,
            audit=audit,
        )
        if self.settings.report is not None:
            self.settings.report.parent.mkdir(parents=True, exist_ok=True)
            self.settings.report.write_text(json.dumps(said, indent=1) + "\n")
        sent = not self.settings.produce or said["producer"] is not None
        return Outcome(state.phase, self.stopping, audit, said, sent)

    def _audit_file(self) -> Path:
        """The audit's JobConfig: it only reads, with a token of its own."""
        token = self.place.files.here / "audit.token"
        self.sink_admin.issue_reader(token)
        config = self.ground.configs.reader(self.status.state, str(token))
        file = self.place.files.here / "audit.json"
        write_secret(file, config.dump())
        return file


def _fingerprint(pipeline: StreamPipeline, schema: str, sink: InfluxDbSink | ParquetSink) -> str:
    """Of what a working directory is bound to."""
    spec = pipeline.spec
    parts = (spec.source, spec.window, schema, sink)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
