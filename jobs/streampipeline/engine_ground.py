"""The ground on any place: how an engine is started exactly, fenced and repaired after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from streampipeline import start
from streampipeline.api.spec import ModelRef, StreamPipelineSpec
from streampipeline.decide import Observed, State
from streampipeline.decide import actions as act
from streampipeline.decide.observed import (
    Controls,
    PlanFailed,
    Repairs,
    StartPlan,
    Writer,
)
from streampipeline.engines.flink import sql
from streampipeline.engines.flink.gateway import Job
from streampipeline.job_configs import JobConfigs
from streampipeline.jobconfig import (
    Assignment,
    EngineName,
    Generation,
    JobConfig,
    Origin,
    PipelineConfig,
    SinkEndpoint,
)
from streampipeline.place import Place
from streampipeline.planner import Planner
from streampipeline.probes.flink import ENDED
from streampipeline.probes.pipeline import PipelineLook
from streampipeline.sight import Sight
from streampipeline.sinks.base import SinkAdmin, write_secret
from streampipeline.sinks.tokens import WriteTokens

log = structlog.get_logger()

REPAIR_PAUSE_SECONDS = 5.0
"""Between the end of one repair pass and the start of the next: each is a process of its own."""
SAME_REPAIR_PAUSE_SECONDS = 30.0
"""The same, when the next one would find what the last one found: it failed, or windows are still open."""


class EngineGround:
    """Implements `ground.Ground`. `sink`: where points go; `token_file` is replaced by each job's own.

    `engines`: the configuration as engines are told it, where paths of secrets differ from this process's.
    `model_url`: where the model of a generation answers (None: where that of `config` does).
    """

    def __init__(
        self,
        config: PipelineConfig,
        place: Place,
        sink: SinkEndpoint,
        sink_admin: SinkAdmin,
        *,
        engines: PipelineConfig | None = None,
        model_url: Callable[[ModelRef], str] | None = None,
    ) -> None:
        self._config = config
        self._place = place
        self._sink = sink
        self._sink_admin = sink_admin
        self._tokens = WriteTokens(sink_admin)
        self._state: State | None = None
        self._origin: Origin | None = None
        self._plan: StartPlan | PlanFailed | None = None
        self._fenced: set[Writer] = set()
        self._rewound = 0
        self._repair_ended = 0.0
        self._repaired: tuple[int, int, int] | None = None
        """Of the last pass: epoch, windows until when (ms), requests that were not done."""
        self._repair_lock = threading.Lock()
        asked = model_url or (lambda _: config.model_url)
        self.configs = JobConfigs(engines or config, sink, asked)
        self._sight = Sight(config, place, sink_admin, asked)
        self._planner = Planner(config, place.files, lambda: self.look)
        self.controls = Controls()

    def follow(self, spec: StreamPipelineSpec) -> None:
        """Another spec is in force: of the same source, windows and sink."""
        self._config = self._config.model_copy(update={"spec": spec})
        self.configs.follow(spec)
        self._planner.follow(spec)
        self._sight.follow(spec)

    @property
    def look(self) -> PipelineLook:
        """The newest look at Kafka; an empty one before the first."""
        return self._sight.look

    @property
    def looked(self) -> bool:
        """Whether every probe has answered once: before, what is not seen may well be there."""
        return self._sight.looked

    @property
    def fenced(self) -> frozenset[Writer]:
        """Nothing of theirs can land any more."""
        return frozenset(self._fenced)

    def observe(self, state: State) -> Observed:
        """See `ground.Ground`."""
        self._state = state
        repairs = Repairs(
            pending=self.look.repairs_pending,
            running=self._place.repairing(),
            rewound=self._rewound,
            cut=self._place.windows_cut(),
            unscorable=self._place.repairs_unscorable(),
        )
        return self._sight.observed(state).model_copy(
            update={
                "fenced": tuple(self.fenced),
                "fencing": self._tokens.fencing,
                "repairs": repairs,
                "origin": self._origin,
                "plan": self._plan,
                "controls": self.controls,
            }
        )

    def carry_out(self, action: act.Action) -> None:
        """See `ground.Ground`."""
        match action:
            case act.EnsureFlinkCluster(up=up):
                self._place.flink_cluster(up)
            case act.ScaleDask(workers=workers):
                self._place.scale_dask(workers)
            case act.FixOrigin():
                if self._origin is None:
                    self._origin = start.origin(self._config)
            case act.PlanStart():
                self._plan_start(action)
            case act.RunEngine(assignment=assignment, generation=generation):
                self._run_engine(assignment, generation)
            case act.StopEngine(engine=engine, epoch=epoch):
                self._stop_engine(engine, epoch)
            case act.EndDoubles(epoch=epoch):
                self._end_doubles(epoch)
            case act.Revoke(engine=engine, epoch=epoch):
                self._revoke(engine, epoch)
            case act.RewindRepairs(number=number, offset=offset):
                self._rewind(number, offset)
            case act.Repair(until=until):
                self._repair(until)

    def not_asked(self, kind: type[act.Action]) -> None:
        """See `ground.Ground`: only repairs go on no longer than they are asked for."""
        if kind is act.Repair and self._place.repairing():
            with self._repair_lock:
                self._place.end_repair()

    # Where an engine starts

    def _plan_start(self, action: act.PlanStart) -> None:
        state, plan = self._state, self._plan
        if isinstance(plan, StartPlan) and (plan.engine, plan.epoch) == (action.engine, action.epoch):
            return
        assert state is not None
        # The state is the last look's: an origin that was stored since is known here only.
        origin = state.origin or self._origin
        assert origin is not None
        plan = self._planner.plan(action, state, origin)
        if action.clear and isinstance(plan, StartPlan):
            self._clear(plan)
        self._plan = plan

    def _clear(self, plan: StartPlan) -> None:
        """Remove what the old generation's engine has written of windows that will be the new one's."""
        window = self._config.spec.window
        first = plan.boundary - window.size_ms + window.slide_ms
        # A leading dot: it is not shown to engines.
        token = self._place.files.here / f".{plan.epoch}-clear.token"
        if not self._place.health().up:
            # Somebody else may lead by now, and have started the engine.
            raise RuntimeError("points are removed only where the place is known to answer")
        self._sink_admin.clear(self._config.pipeline, first, epoch=plan.epoch, token_file=token)
        log.info("sink.cleared", above=plan.boundary, epoch=plan.epoch)

    # Engines

    def _prepare_job(self, assignment: Assignment, generation: Generation | None) -> JobConfig:
        """Issue the token, write the job's file, and let its engine see both."""
        assert self._state is not None
        assert self._state.origin is not None
        engine, epoch, files = assignment.engine, assignment.epoch, self._place.files
        token = files.token(engine, epoch)
        self._tokens.issue(epoch, engine, token)
        seen = files.seen(token)
        if engine is EngineName.REPAIR:
            config = self.configs.repair(assignment, self._state, seen)
        else:
            config = self.configs.engine(assignment, self._state.origin, seen, generation)
        write_secret(files.config(engine, epoch), config.dump())
        self._place.deliver(engine, epoch)
        return config

    def _run_engine(self, assignment: Assignment, generation: Generation | None) -> None:
        epoch = assignment.epoch
        if assignment.engine is EngineName.DASK:
            dask = self._place.dask()
            if epoch not in dask.drivers and dask.up:
                self._prepare_job(assignment, generation)
                self._place.start_driver(epoch)
            return
        name = sql.name_of_job(self._config.uid, epoch)
        if any(job.name == name for job in self._place.jobmanager.jobs()):
            return
        config = self._prepare_job(assignment, generation)
        file = self._place.files.seen(self._place.files.config(EngineName.FLINK, epoch))
        started = time.monotonic()
        job_id = self._place.gateway.submit(sql.session_properties(config), sql.statements(config, file))
        log.info("flink.submitted", epoch=epoch, job=job_id, seconds=round(time.monotonic() - started, 1))

    def _end_doubles(self, epoch: int) -> None:
        """The newest job stays, which is the one that probes tell of."""
        live = self._jobs_alive(epoch)
        for double in sorted(live, key=lambda job: job.start_ms)[:-1]:
            log.warning("flink.double_cancelled", name=double.name, job=double.id)
            self._place.jobmanager.cancel(double.id)

    def _jobs_alive(self, epoch: int) -> list[Job]:
        """Flink jobs of an epoch that have not ended."""
        name = sql.name_of_job(self._config.uid, epoch)
        jobs = self._place.jobmanager.jobs()
        return [job for job in jobs if job.name == name and job.state not in ENDED]

    def _stop_engine(self, engine: EngineName, epoch: int) -> None:
        if engine is EngineName.DASK:
            self._place.stop_driver(epoch)
            return
        for job in self._jobs_alive(epoch):
            self._place.jobmanager.cancel(job.id)

    def _revoke(self, engine: EngineName, epoch: int) -> None:
        writer = Writer(engine=engine, epoch=epoch)
        if writer in self._fenced:
            return
        for fenced in (engine, EngineName.REPAIR):
            self._tokens.revoke(epoch, fenced, self._place.files.token(fenced, epoch))
            self._place.withdraw(fenced, epoch)
        log.info("engine.revoked", engine=engine.value, epoch=epoch)
        if self._sink.influxdb is not None:
            # A write that the server took in before the token was gone may still land.
            time.sleep(self._sink.influxdb.timeout_seconds)
        if self._state is not None:
            self._planner.retired(engine, epoch, self._state)
        self._fenced.add(writer)

    # Repairs

    def _rewind(self, number: int, offset: int) -> None:
        if self._rewound >= number:
            return
        with self._repair_lock:
            self._place.end_repair()
            if self._place.repairing():
                raise RuntimeError("a repair pass is still ending: it may commit a later offset")
            self._planner.rewind_repairs(offset)
            self._repaired = None
        self._rewound = number

    def _repair(self, until: int) -> None:
        with self._repair_lock:
            if self._place.repairing():
                self._repair_ended = time.monotonic()
                return
            state = self._state
            assert state is not None
            live = state.flink or state.dask
            if live is None:
                return
            found = (live.assignment.epoch, until, self.look.repairs_pending)
            pause = SAME_REPAIR_PAUSE_SECONDS if found == self._repaired else REPAIR_PAUSE_SECONDS
            if time.monotonic() - self._repair_ended < pause:
                return
            self._prepare_job(live.assignment.model_copy(update={"engine": EngineName.REPAIR}), None)
            self._place.start_repair(live.assignment.epoch, until)
            self._repaired = found
            self._repair_ended = time.monotonic()

    def close(self) -> None:
        """Stop probing."""
        self._sight.close()
        self._planner.close()
