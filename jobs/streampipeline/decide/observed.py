"""What a ground saw in one look at the world: the input of a decision. Times are ms, UTC."""

from __future__ import annotations

from enum import StrEnum

from streampipeline.api.spec import Model
from streampipeline.jobconfig import Assignment, EngineName, Origin


class Health(StrEnum):
    """What a probe found."""

    UP = "Up"
    DOWN = "Down"
    UNKNOWN = "Unknown"
    """The probe itself could not answer."""


class Probe(Model):
    """Answer of one probe that did real work (a predict, a canary write)."""

    health: Health = Health.UNKNOWN
    message: str = ""
    version: str = ""
    """Of a model that answered."""

    @property
    def up(self) -> bool:
        """Known to work."""
        return self.health is Health.UP


class JobState(StrEnum):
    """Of one job."""

    ABSENT = "Absent"
    STARTING = "Starting"
    RUNNING = "Running"
    FAILING = "Failing"
    """It still exists but makes no progress: restarting, crash-looping."""
    FINISHED = "Finished"
    """It ended, by itself or not, and will not come back."""
    UNKNOWN = "Unknown"


class Job(Model):
    """The job of one (engine, epoch): a Flink job, or the driver of Dask."""

    engine: EngineName
    epoch: int
    state: JobState
    failure: str = ""
    doubles: int = 0
    """More jobs of the same epoch that have not ended: a submission was carried out late."""
    latency_ms: int | None = None
    """Latency seen from this job's own frontier (its boundary while it has none). None: unknown."""


class Progress(Model):
    """The newest committed row of the progress topic for one (generation, epoch, engine)."""

    engine: EngineName
    epoch: int
    generation: int = 1
    frontier: int
    at: int
    """When the engine wrote the row."""


class Writer(Model):
    """Name of one assignment."""

    engine: EngineName
    epoch: int


class Repairs(Model):
    """The repair machine."""

    pending: int = 0
    """Requests in the repairs topic that are not done yet."""
    running: bool = False
    rewound: int = 0
    """Number of the last `RewindRepairs` that was carried out."""
    cut: int = 0
    """Windows that could not be repaired because retention has cut their records."""
    unscorable: int = 0
    """Requests for windows of an older generation whose model is gone."""


class StartPlan(Model):
    """Answer to `PlanStart`: where the engine would start."""

    engine: EngineName
    epoch: int
    boundary: int
    offsets: dict[int, int]
    repairs_offset: int = 0

    def assignment(self, generation: int) -> Assignment:
        """The assignment that the plan makes possible."""
        return Assignment(
            engine=self.engine,
            epoch=self.epoch,
            generation=generation,
            boundary=self.boundary,
            offsets=self.offsets,
            repairs_offset=self.repairs_offset,
        )


RETENTION_PASSED = "RetentionPassed"
"""`PlanFailed.reason` when records between the start position and the log start are gone."""


class PlanFailed(Model):
    """Answer to `PlanStart` when there is no start. Only `RetentionPassed` stops; others are tried again."""

    engine: EngineName
    epoch: int
    reason: str
    message: str = ""
    records_gone: int = 0


class Controls(Model):
    """What a user asks for at run time (annotations, flags)."""

    pin: EngineName | None = None
    drill: str | None = None
    """Any text; a text not seen before starts one drill."""
    accept_loss: str | None = None
    """Any text; a text not used before accepts the loss that the pipeline stands at."""


class Observed(Model):
    """One look. Lists are complete: a job that is not in `jobs` was not there for a probe that answered."""

    ground: Probe = Probe(health=Health.UP)
    """The place where engines run (the API server); processes on one machine always answer."""
    kafka: Probe = Probe()
    sink: Probe = Probe()
    model: Probe = Probe()
    """Of the newest generation; one that answers as another version is down. Before: of the spec."""
    next_model: Probe = Probe()
    """The spec's, where that differs from the newest generation."""
    flink: Probe = Probe()
    """Flink's cluster, not its job."""
    dask: Probe = Probe()
    """Dask's scheduler, not the driver."""
    dask_workers: int = 0
    jobs: tuple[Job, ...] = ()
    progress: tuple[Progress, ...] = ()
    latency_ms: int | None = None
    """Of the pipeline: seen from its newest frontier. 0: nothing closable. None: unknown."""
    fenced: tuple[Writer, ...] = ()
    """Token revoked, and the sink's time-out waited out since: nothing of theirs can land any more."""
    fencing: bool = True
    """False: tokens cannot be made or revoked here; then only a stopped job counts as fenced."""
    repairs: Repairs = Repairs()
    origin: Origin | None = None
    """Answer to `FixOrigin`."""
    plan: StartPlan | PlanFailed | None = None
    """Answer to `PlanStart`; one for another epoch than the wanted one is ignored."""
    partitions: tuple[int, ...] | None = None
    """Partitions the topic has now; None: unknown."""
    dropped: int = 0
    """Records that engines reported as dropped and whose spans are not repaired yet."""
    controls: Controls = Controls()

    def job(self, engine: EngineName, epoch: int) -> Job:
        """The job as seen; Absent only where the probe that would know it answered."""
        for job in self.jobs:
            if job.engine is engine and job.epoch == epoch:
                return job
        knows = self.ground.up and (engine is not EngineName.FLINK or self.flink.up)
        return Job(engine=engine, epoch=epoch, state=JobState.ABSENT if knows else JobState.UNKNOWN)

    def stopped(self, engine: EngineName, epoch: int) -> bool:
        """Known not to run any more (or not yet)."""
        return self.job(engine, epoch).state in (JobState.ABSENT, JobState.FINISHED)
