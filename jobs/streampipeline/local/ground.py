"""The ground of one machine: engines are child processes, the topics and the sink are on loopback."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streampipeline import start
from streampipeline.decide import Observed, State
from streampipeline.decide import actions as act
from streampipeline.decide.facts import frontier
from streampipeline.decide.observed import (
    RETENTION_PASSED,
    Controls,
    Health,
    Job,
    JobState,
    PlanFailed,
    Probe,
    Progress,
    Repairs,
    StartPlan,
    Writer,
)
from streampipeline.engines.flink import sql
from streampipeline.jobconfig import Assignment, EngineName, JobConfig, Origin, PipelineConfig, SinkEndpoint
from streampipeline.kafka import consumer
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.processes import Processes, last_json
from streampipeline.local.services import DaskProcesses
from streampipeline.offsets import OffsetLookup
from streampipeline.probes.dropped import DropWatch
from streampipeline.probes.flink import ENDED, FlinkReading, probe_flink
from streampipeline.probes.model import probe_model
from streampipeline.probes.pipeline import PipelineLook, PipelineProbe
from streampipeline.probes.poller import Poller
from streampipeline.requests import RequestWriter
from streampipeline.sinks.base import SinkAdmin, write_secret

log = structlog.get_logger()

REPAIR = "repair"
DROPS_SECONDS = 5.0
"""Between two looks at what Flink has dropped."""
REPAIR_PAUSE_SECONDS = 5.0
"""Between the end of one repair pass and the start of the next: each is a process of its own."""

_FLINK_STATES = {
    "CREATED": JobState.STARTING,
    "INITIALIZING": JobState.STARTING,
    "RUNNING": JobState.RUNNING,
    "FINISHED": JobState.FINISHED,
    "CANCELED": JobState.FINISHED,
    "FAILED": JobState.FINISHED,
}


@dataclass
class Places:
    """What the ground of one machine is made of."""

    config: PipelineConfig
    processes: Processes
    flink: FlinkProcesses
    dask: DaskProcesses
    sink: SinkEndpoint
    """`token_file` is replaced by each job's own."""
    sink_admin: SinkAdmin
    held_down: set[str] = field(default_factory=set)
    """What a fault keeps down: "flink", "dask"."""


class LocalGround:
    """Implements `ground.Ground`."""

    def __init__(self, places: Places, python: Path, python_path: str) -> None:
        self._places = places
        self._config = places.config
        self._python = python
        self._python_path = python_path
        self._workdir = places.processes.workdir
        self._state: State | None = None
        self._origin: Origin | None = None
        self._plan: StartPlan | PlanFailed | None = None
        self._fenced: set[Writer] = set()
        self._fencing = True
        self._cut = 0
        self._dropped_records = 0
        self._collected: float | None = None
        self._rewound = 0
        self._repair_ended = 0.0
        self._repair_lock = threading.Lock()
        self.controls = Controls()
        self._model = httpx.Client(base_url=self._config.model_url, timeout=2, trust_env=False)
        self._broker = AdminClient(
            {"bootstrap.servers": ",".join(self._config.bootstrap_servers), "log_level": 0}
        )
        self._probe = PipelineProbe(self._config)
        self._planner = PipelineProbe(self._config)
        self._planner_lock = threading.Lock()
        self._pollers: dict[str, Poller[Any]] = {
            "kafka": Poller("kafka", self._probe_broker, 1, fresh_seconds=5),
            "model": Poller(
                "model", lambda: probe_model(self._model, self._config.spec.model.inputs), 2, fresh_seconds=5
            ),
            "sink": Poller("sink", self._places.sink_admin.probe, 2, fresh_seconds=8),
        }
        self._flink = Poller("flink", lambda: probe_flink(self._places.flink.jobmanager), 1, fresh_seconds=5)
        self._drops = DropWatch(self._config)
        self._requests = RequestWriter(self._config, lambda: False)
        self._dropped = Poller("dropped", self._watch_drops, DROPS_SECONDS, fresh_seconds=30)
        self._look = Poller("pipeline", self._look_at_pipeline, 1, fresh_seconds=5)

    # What is seen

    @property
    def look(self) -> PipelineLook:
        """The newest look at Kafka; an empty one before the first."""
        reading = self._look.read()
        return reading.value if reading and reading.value else PipelineLook()

    def observe(self, state: State) -> Observed:
        """See `ground.Ground`."""
        self._state = state
        self._collect_repair()
        reading = self._look.read()
        look = reading.value if reading else None
        flink = self._flink.read()
        seen = flink.value if flink else None
        newest = frontier(Observed(progress=self._progress(look)), state)
        return Observed(
            kafka=self._health("kafka"),
            sink=self._health("sink"),
            model=self._health("model"),
            flink=self._flink_health(seen, flink.error if flink else ""),
            dask=Probe(health=Health.UP if self._places.dask.up else Health.DOWN),
            dask_workers=self._places.dask.workers(),
            jobs=(*self._flink_jobs(seen, look, state), *self._dask_jobs(look, state)),
            progress=self._progress(look),
            latency_ms=look.latency.get(newest) if look and newest is not None else None,
            fenced=tuple(self._fenced),
            fencing=self._fencing,
            repairs=Repairs(
                pending=look.repairs_pending if look else 0,
                running=self._places.processes.alive(REPAIR),
                rewound=self._rewound,
                cut=self._cut,
            ),
            origin=self._origin,
            plan=self._plan,
            partitions=look.partitions if look and look.partitions else None,
            dropped=self._dropped_records,
            controls=self.controls,
        )

    def _probe_broker(self) -> None:
        self._broker.list_topics(timeout=1.5)

    def _watch_drops(self) -> None:
        reading, look = self._flink.read(), self._look.read()
        running = [
            job for job in (reading.value.jobs if reading and reading.value else ()) if job.state == "RUNNING"
        ]
        if not running or look is None or look.value is None:
            return
        dropped = self._places.flink.jobmanager.dropped_records(running[0].id)
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
        if not running and not self._places.flink.gateway.ready():
            return Probe(health=Health.DOWN, message="the SQL gateway does not answer")
        return Probe(health=Health.UP)

    def _flink_jobs(self, seen: FlinkReading | None, look: PipelineLook | None, state: State) -> list[Job]:
        if seen is None:
            return []
        prefix = sql.job_prefix(self._config.uid)
        epochs = {int(job.name.removeprefix(prefix)) for job in seen.jobs if job.name.startswith(prefix)}
        jobs = []
        for epoch in sorted(epochs):
            job = seen.job(f"{prefix}{epoch}")
            assert job is not None
            jobs.append(
                Job(
                    engine=EngineName.FLINK,
                    epoch=epoch,
                    state=_FLINK_STATES.get(job.state, JobState.FAILING),
                    failure=seen.failures.get(job.id, ""),
                    latency_ms=self._own_latency(EngineName.FLINK, epoch, look, state),
                )
            )
        return jobs

    def _dask_jobs(self, look: PipelineLook | None, state: State) -> list[Job]:
        jobs = []
        for epoch, alive in self._places.dask.drivers().items():
            running = alive and self._places.dask.started(epoch)
            job_state = JobState.RUNNING if running else JobState.STARTING if alive else JobState.FINISHED
            latency = self._own_latency(EngineName.DASK, epoch, look, state)
            jobs.append(Job(engine=EngineName.DASK, epoch=epoch, state=job_state, latency_ms=latency))
        return jobs

    @staticmethod
    def _own_latency(engine: EngineName, epoch: int, look: PipelineLook | None, state: State) -> int | None:
        live = state.live(engine)
        if look is None or live is None or live.assignment.epoch != epoch:
            return None
        row = look.progress.get((state.generation, epoch, engine))
        return look.latency.get(row.frontier if row else live.assignment.boundary)

    @staticmethod
    def _progress(look: PipelineLook | None) -> tuple[Progress, ...]:
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

    # What is done

    def carry_out(self, action: act.Action) -> None:
        """See `ground.Ground`."""
        match action:
            case act.EnsureFlinkCluster(up=up):
                self._flink_cluster(up)
            case act.ScaleDask(workers=workers):
                if "dask" not in self._places.held_down:
                    self._places.dask.scale(workers)
            case act.FixOrigin():
                if self._origin is None:
                    self._origin = start.origin(self._config)
            case act.PlanStart():
                self._plan_start(action)
            case act.RunEngine(assignment=assignment):
                self._run_engine(assignment)
            case act.StopEngine(engine=engine, epoch=epoch):
                self._stop_engine(engine, epoch)
            case act.Revoke(engine=engine, epoch=epoch):
                self._revoke(engine, epoch)
            case act.RewindRepairs(number=number, offset=offset):
                self._rewind(number, offset)
            case act.Repair(until=until):
                self._repair(until)

    def not_asked(self, kind: type[act.Action]) -> None:
        """See `ground.Ground`: only repairs go on no longer than they are asked for."""
        if kind is act.Repair and self._places.processes.alive(REPAIR):
            self._end_repair()

    def _flink_cluster(self, up: bool) -> None:
        if not up:
            self._places.flink.stop()
        elif "flink" not in self._places.held_down:
            self._places.flink.ensure()

    def _plan_start(self, action: act.PlanStart) -> None:
        state, plan = self._state, self._plan
        if isinstance(plan, StartPlan) and (plan.engine, plan.epoch) == (action.engine, action.epoch):
            return
        assert state is not None
        assert state.origin is not None
        self._plan = self._planned(action, state, state.origin)

    def _planned(self, action: act.PlanStart, state: State, origin: Origin) -> StartPlan | PlanFailed:
        try:
            with self._planner_lock:
                progress, repaired = self._planner.progress(), self._planner.repairs_committed()
            rows = [row for row in progress.values() if row.generation == action.generation]
            newest = max(rows, key=lambda row: (row.frontier, row.epoch), default=None)
            boundary = newest.frontier if newest else origin.boundary
            started = self._started(newest.engine, newest.epoch, state) if newest else None
            offsets = start.start_offsets(
                self._config,
                origin,
                frontier=boundary,
                set_by=newest.engine if newest else None,
                started=started or origin.offsets,
            )
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
        rows = [p for p in self._progress(self.look) if p.generation == action.generation]
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
        file = self._job_file(engine, epoch)
        if file.exists():
            return JobConfig.load(file).assignment.offsets
        known = [live.assignment for live in (state.flink, state.dask) if live]
        known += [retiring.assignment for retiring in state.retiring]
        return next((a.offsets for a in known if (a.engine, a.epoch) == (engine, epoch)), None)

    def _job_file(self, engine: EngineName, epoch: int) -> Path:
        return self._workdir / "jobs" / f"{epoch}-{engine.value}.json"

    def token_file(self, engine: EngineName, epoch: int) -> Path:
        """Where the write token of an (epoch, engine) stands."""
        return self._workdir / "tokens" / f"{epoch}-{engine.value}"

    def job_config(self, assignment: Assignment, origin: Origin, token_file: Path | None = None) -> JobConfig:
        """The content of the file of one assignment; its own token file unless another is named."""
        token = str(token_file or self.token_file(assignment.engine, assignment.epoch))
        sink = self._places.sink
        endpoint = SinkEndpoint(
            influxdb=sink.influxdb.model_copy(update={"token_file": token}) if sink.influxdb else None,
            parquet=sink.parquet.model_copy(update={"token_file": token}) if sink.parquet else None,
        )
        return JobConfig(**dict(self._config), assignment=assignment, origin=origin, sink=endpoint)

    def _prepare_job(self, assignment: Assignment) -> tuple[JobConfig, Path]:
        """Issue the token and write the job's file."""
        assert self._state is not None
        assert self._state.origin is not None
        config = self.job_config(assignment, self._state.origin)
        token = self.token_file(assignment.engine, assignment.epoch)
        if not self._places.sink_admin.issue(assignment.epoch, assignment.engine, token):
            self._fencing = False
        file = self._job_file(assignment.engine, assignment.epoch)
        write_secret(file, config.dump())
        return config, file

    def _run_engine(self, assignment: Assignment) -> None:
        if assignment.engine is EngineName.DASK:
            if assignment.epoch not in self._places.dask.drivers() and self._places.dask.up:
                _, file = self._prepare_job(assignment)
                self._places.dask.start_driver(assignment.epoch, file)
            return
        name = sql.name_of_job(self._config.uid, assignment.epoch)
        if any(job.name == name for job in self._places.flink.jobmanager.jobs()):
            return
        config, file = self._prepare_job(assignment)
        started = time.monotonic()
        job_id = self._places.flink.gateway.submit(
            sql.session_properties(config), sql.statements(config, str(file))
        )
        log.info(
            "flink.submitted",
            epoch=assignment.epoch,
            job=job_id,
            seconds=round(time.monotonic() - started, 1),
        )

    def _stop_engine(self, engine: EngineName, epoch: int) -> None:
        if engine is EngineName.DASK:
            self._places.dask.stop_driver(epoch)
            return
        name = sql.name_of_job(self._config.uid, epoch)
        for job in self._places.flink.jobmanager.jobs():
            if job.name == name and job.state not in ENDED:
                self._places.flink.jobmanager.cancel(job.id)

    def _revoke(self, engine: EngineName, epoch: int) -> None:
        writer = Writer(engine=engine, epoch=epoch)
        if writer in self._fenced:
            return
        for fenced in (engine, EngineName.REPAIR):
            if not self._places.sink_admin.revoke(epoch, fenced, self.token_file(fenced, epoch)):
                self._fencing = False
        if self._places.sink.influxdb is not None:
            # A write that the server took in before the token was gone may still land.
            time.sleep(self._places.sink.influxdb.timeout_seconds)
        self._fenced.add(writer)

    def _rewind(self, number: int, offset: int) -> None:
        if self._rewound >= number:
            return
        self._end_repair()
        with self._planner_lock:
            done = self._planner.repairs_committed()
        if done is not None and offset < done:
            client = consumer(self._config, self._config.group(EngineName.REPAIR))
            try:
                client.commit(
                    offsets=[TopicPartition(self._config.repairs_topic, 0, offset)], asynchronous=False
                )
            finally:
                client.close()
        self._rewound = number

    def _repair(self, until: int) -> None:
        with self._repair_lock:
            if self._places.processes.alive(REPAIR):
                self._repair_ended = time.monotonic()
                return
            if time.monotonic() - self._repair_ended < REPAIR_PAUSE_SECONDS:
                return
            state = self._state
            assert state is not None
            live = state.flink or state.dask
            if live is None:
                return
            repair = live.assignment.model_copy(update={"engine": EngineName.REPAIR})
            _, file = self._prepare_job(repair)
            argv = [
                str(self._python), "-m", "streampipeline.repair", str(file), "--until", str(until), "--once"
            ]  # fmt: skip
            self._places.processes.start(REPAIR, argv, env={"PYTHONPATH": self._python_path})
            self._repair_ended = time.monotonic()

    def _collect_repair(self) -> None:
        """Take in what the last repair pass said when it ended."""
        child = self._places.processes.get(REPAIR)
        if child is None or child.alive or child.started == self._collected:
            return
        self._collected = child.started
        said = last_json(child.last_lines(), "requests")
        self._cut += int(said["cut"]) if said else 0

    def _end_repair(self) -> None:
        with self._repair_lock:
            self._places.processes.end(REPAIR, grace_seconds=5)

    def close(self) -> None:
        """Stop probing."""
        for poller in (*self._pollers.values(), self._flink, self._look, self._dropped):
            poller.stop()
        with suppress(KafkaException):
            self._probe.close()
            self._planner.close()
