"""Everything that one pipeline's engines stand on, built for one state of its spec and references."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from streampipeline.api.oneoff import OneOff
from streampipeline.decide import Observed, State
from streampipeline.decide import actions as act
from streampipeline.decide.observed import Controls, Health, Probe
from streampipeline.engine_ground import EngineGround
from streampipeline.ground import Executor
from streampipeline.jobconfig import TimestampType
from streampipeline.probes.pipeline import PipelineLook
from streampipeline.sinks.base import write_secret
from streampipeline_operator.cluster_place import ClusterPlace
from streampipeline_operator.desired import dask, model
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.job_files import JobsSecret
from streampipeline_operator.names import JOBS_DIRECTORY
from streampipeline_operator.preparation import Preparation
from streampipeline_operator.resolve import References, config, endpoint, write_kafka_access
from streampipeline_operator.sink_access import SinkAccess
from streampipeline_operator.world import World

log = structlog.get_logger()

FIRST_LOOK_SECONDS = 10.0


class Stage:
    """Place, ground and executor of one pipeline. Its ground exists once the preparation is over."""

    def __init__(
        self,
        world: World,
        pipeline: Pipeline,
        references: References,
        known: TimestampType | None,
        first_model: str,
        tell: Callable[[str, str], None],
    ) -> None:
        """`first_model`: digest of the pipeline's first managed model. Raises ApiException."""
        self._began = time.monotonic()
        self._world = world
        self._pipeline = pipeline
        self._references = references
        self._first_model = first_model
        folder = world.settings.workdir / pipeline.uid
        self._private, jobs = folder / "private", folder / "jobs"
        self._private.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._jobs = JobsSecret(world.api, pipeline, jobs)
        self._jobs.restore()
        write_kafka_access(references.kafka, jobs)
        self.place = ClusterPlace(world.api, world.watches, pipeline, self._jobs, tell)
        self._sink = endpoint(pipeline)
        self._access = SinkAccess(world.api, pipeline, references, self._sink, self._private)
        self._sink_admin = self._access.admin
        first = config(pipeline, references, known or TimestampType.LOG_APPEND_TIME, jobs)
        self._preparation = Preparation(pipeline.namespace, first, known, self._sink_admin)
        self.ground: EngineGround | None = None
        self._executor: Executor | None = None

    @property
    def timestamps(self) -> TimestampType | None:
        """Who sets the topic's timestamps; None: not known yet."""
        return self._preparation.timestamps

    def observe(self, state: State, controls: Controls) -> tuple[Observed, PipelineLook]:
        """One look; before the ground exists, only what it still waits for."""
        if self.ground is None and self._preparation.done:
            self.ground = self._make_ground()
            self._executor = Executor(self.ground.carry_out, self.ground.not_asked, [act.Repair])
        if self.ground is None:
            return self._waiting(), PipelineLook()
        self.ground.controls = controls
        return self.ground.observe(state), self.ground.look

    def looked(self) -> bool:
        """Whether there is something to judge by: every probe has answered, or had time enough to."""
        answered = self.ground is not None and self.ground.looked
        return answered or time.monotonic() - self._began > FIRST_LOOK_SECONDS

    def _waiting(self) -> Observed:
        def probe(problem: str) -> Probe:
            return Probe(health=Health.DOWN, message=problem) if problem else Probe(health=Health.UP)

        return Observed(
            ground=self.place.health(),
            kafka=probe(self._preparation.source_problem),
            sink=probe(self._preparation.sink_problem),
        )

    def _make_ground(self) -> EngineGround:
        timestamps = self._preparation.timestamps
        assert timestamps is not None
        known = (self._pipeline, self._references, timestamps)
        here = config(*known, self._jobs.files.here, self._first_model)
        engines = config(*known, JOBS_DIRECTORY, self._first_model)
        return EngineGround(
            here,
            self.place,
            self._sink,
            self._sink_admin,
            engines=engines,
            model_url=lambda asked: model.url(self._pipeline, asked, self._first_model),
        )

    def follow(self, pipeline: Pipeline) -> None:
        """Another spec is in force, which differs in what decisions read and generations define alone."""
        self._pipeline = pipeline
        if self.ground is not None:
            self.ground.follow(pipeline.spec)

    def apply(self, actions: tuple[act.Action, ...]) -> None:
        """Carry out in the background what can be by now. Raises ApiException."""
        for action in actions:
            # Without a ground too: a suspended pipeline's pods go.
            if isinstance(action, act.EnsureFlinkCluster):
                self.place.flink_cluster(action.up)
        if self._executor is not None:
            self._executor.apply(actions)
        self.place.hurry()

    def ensure_secrets(self) -> list[str]:
        """Put our Secrets back when they were removed; names those that were. Raises ApiException."""
        names = self._pipeline.names
        back = {names.jobs: self._jobs.ensure(), names.influxdb_admin: self._access.ensure()}
        return [f"Secret {name}" for name, was_gone in back.items() if was_gone]

    def audit(self, state: State, request: str) -> None:
        """Start the audit that a user asked for. Raises ApiException, SinkUnavailable."""
        token = self._jobs.files.here / "audit.token"
        self._sink_admin.issue_reader(token)
        self._tell_reader(state, "audit.json")
        name = f"{self._pipeline.name}-audit-{request}"
        self._world.api.create(dask.audit(self._pipeline, name, request))

    def one_off(self, state: State, annotation: str, asked: OneOff) -> None:
        """Start what a user asked for. Raises ApiException."""
        self._tell_reader(state, "oneoff.json")
        self._world.api.create(dask.one_off(self._pipeline, annotation, asked))

    def _tell_reader(self, state: State, file: str) -> None:
        """Write the file of a process that no engine depends on, and let it be seen."""
        assert self.ground is not None
        files = self._jobs.files
        told = self.ground.configs.reader(state, files.seen(files.here / "audit.token"))
        write_secret(files.here / file, told.dump())
        self._jobs.publish()

    def close(self) -> None:
        """Stop probing and doing; engines go on."""
        self._preparation.close()
        if self._executor is not None:
            self._executor.close()
        if self.ground is not None:
            self.ground.close()
