"""What engines would have done, had they been asked at other times: a recorded run as a world to decide in.

From the recording, whatever is decided: the health of Kafka, sink, model, API server and Flink's cluster,
when records came, when a job failed or died, what users asked for. Of an engine's progress:

* an engine that works in the recording too does the work that it did there; one that has more behind it than
  there catches up at its own speed until it is where it was;
* one that had no work in the recording catches up at its own speed and keeps up, but for a Flink whose work
  was taken away for its latency: it goes on as fast as in its last half minute, until it is given work again;
* engines take a fixed time to start. Fences and repairs take none; plans and stops are done at once.

Positions are ms: all records that came before it are published. Latency is now less the position.
"""

from __future__ import annotations

from dataclasses import dataclass

from streampipeline.api.spec import StreamPipelineSpec, UnavailablePolicy
from streampipeline.decide import Observed
from streampipeline.decide import actions as act
from streampipeline.decide.observed import (
    Controls,
    Health,
    Job,
    JobState,
    Probe,
    Progress,
    Repairs,
    StartPlan,
    Writer,
)
from streampipeline.decide.state import TriggerKind
from streampipeline.jobconfig import Assignment, EngineName, Origin
from streampipeline.simulate.engines import DRIVER_START_MS, Engines
from streampipeline.simulate.recorded import Recorded
from streampipeline.simulate.trace import Row

FLINK, DASK = EngineName.FLINK, EngineName.DASK


@dataclass
class Running:
    """A job that was started."""

    assignment: Assignment
    position: float
    ready_at: int
    lost: bool = False
    shaken: bool = False
    """Its cluster was down: whether it survives shows when that is up again."""


class World:
    """Use in turns: `pass_to`, `look`, then `carry_out` each action."""

    def __init__(self, spec: StreamPipelineSpec, engines: Engines, first: Row) -> None:
        """Nothing runs yet; `position` is where the recording was at its first look."""
        self._spec = spec
        self._engines = engines
        self._row = first
        self.now = first.at
        self.position: float = first.at - (first.latency_ms or 0)
        """Of the pipeline: the newest of all engines'."""
        self._arrived = first.at
        self._jobs: dict[tuple[EngineName, int], Running] = {}
        self._published: dict[tuple[EngineName, int], float] = {}
        self._recorded = {FLINK: Recorded(), DASK: Recorded()}
        self._revoked: set[tuple[EngineName, int]] = set()
        self._fenced: set[tuple[EngineName, int]] = set()
        """Revoked since the last look."""
        self._warm_at: int | None = None
        self._workers = 0
        self._origin: Origin | None = None
        self._plan: StartPlan | None = None
        self._rewound = 0
        self._follow(first)

    # Time

    def pass_to(self, now: int, row: Row) -> None:
        """Let time pass up to `now` (ms); `row` is the newest look of the recording then."""
        ms = now - self.now
        if row is not self._row:
            self._follow(row)
        else:
            for recorded in self._recorded.values():
                recorded.step, recorded.died = (float(ms) if recorded.working else 0.0), False
        self._stand_still_in_silence(row, now)
        self.now, self._row = now, row
        led, reached = False, []
        for name, job in list(self._jobs.items()):
            self._age(job)
            if job.lost and name in self._revoked:
                del self._jobs[name]
            elif self._state(job) is JobState.RUNNING and self._can_publish():
                led = led or job.position >= self.position
                job.position = self._moved(job, ms)
                self._published[name] = job.position
                reached.append(job.position)
        self.position = max(reached if led else [self.position, *reached])

    def _follow(self, row: Row) -> None:
        for engine, recorded in self._recorded.items():
            recorded.follow(row, engine)

    def _stand_still_in_silence(self, row: Row, now: int) -> None:
        """Who has published all that came is up to date, however long nothing comes."""
        if row.records is None or self._row.records is None or row.records > self._row.records:
            arrived = now
        else:
            arrived = self._arrived
            self.position = self._up_to_date(self.position, now)
            for job in self._jobs.values():
                job.position = self._up_to_date(job.position, now)
        self._arrived = arrived

    def _up_to_date(self, position: float, now: int) -> float:
        return now if position >= self._arrived else position

    def _can_publish(self) -> bool:
        needed = [self._row.kafka, self._row.sink]
        if self._spec.model.on_unavailable.policy is UnavailablePolicy.WAIT:
            needed.append(self._row.model)
        return all(health is Health.UP for health in needed)

    def _age(self, job: Running) -> None:
        """Follow what the recording says of jobs of this engine: died, cluster gone."""
        engine = job.assignment.engine
        recorded = self._recorded[engine]
        started = self.now >= job.ready_at
        if recorded.died and started:
            job.lost = True
        if engine is FLINK and self._row.ground is Health.UP:
            if self._row.flink_cluster is not Health.UP:
                job.shaken = True
            elif job.shaken:
                job.shaken = False
                job.lost = job.lost or not recorded.alive

    def _moved(self, job: Running, ms: int) -> float:
        """The job's position after `ms` of work."""
        engine = job.assignment.engine
        recorded, most = self._recorded[engine], job.position + self._engines.speed[engine] * ms
        if recorded.working and recorded.position is not None:
            if job.position > recorded.position:
                return max(recorded.position, min(self.now, job.position + recorded.step))
            return min(recorded.position, max(most, job.position + recorded.step))
        if engine is FLINK and self._row.trigger is TriggerKind.LATENCY:
            most = job.position + recorded.pace() * ms
        return min(self.now, most)

    def _state(self, job: Running) -> JobState:
        engine = job.assignment.engine
        if job.lost:
            return JobState.FINISHED
        if job.shaken:
            return JobState.UNKNOWN
        if self.now < job.ready_at:
            return JobState.STARTING
        seen = self._row.engine(engine)
        return JobState.FAILING if seen is not None and seen.job is JobState.FAILING else JobState.RUNNING

    # Looks

    def look(self) -> Observed:
        """What probes would see; who was fenced is told once, until it is asked for again."""
        row = self._row
        fenced, self._fenced = self._fenced, set()
        kafka = row.kafka is Health.UP
        return Observed(
            ground=Probe(health=row.ground),
            kafka=Probe(health=row.kafka),
            sink=Probe(health=row.sink),
            model=Probe(health=row.model),
            flink=Probe(health=row.flink_cluster if row.ground is Health.UP else Health.UNKNOWN),
            dask=Probe(health=self._dask()),
            dask_workers=self._workers if self._warm() else 0,
            jobs=tuple(self._seen()) if row.ground is Health.UP else (),
            progress=tuple(
                Progress(engine=engine, epoch=epoch, frontier=int(position), at=self.now)
                for (engine, epoch), position in self._published.items()
            )
            if kafka
            else (),
            latency_ms=self._latency(self.position),
            fenced=tuple(Writer(engine=engine, epoch=epoch) for engine, epoch in sorted(fenced)),
            repairs=Repairs(rewound=self._rewound),
            origin=self._origin,
            plan=self._plan,
            controls=Controls(pin=row.pin, drill=row.drill),
        )

    def _seen(self) -> list[Job]:
        return [
            Job(engine=engine, epoch=epoch, state=self._state(job), latency_ms=self._latency(job.position))
            for (engine, epoch), job in self._jobs.items()
        ]

    def _latency(self, position: float) -> int | None:
        return None if self._row.latency_ms is None else max(0, int(self.now - position))

    def _warm(self) -> bool:
        return self._warm_at is not None and self.now >= self._warm_at

    def _dask(self) -> Health:
        """Of its scheduler: as recorded where a driver ran there, else up once it has started."""
        seen = self._row.dask
        if not self._warm():
            return Health.DOWN
        recorded = seen is not None and seen.job is JobState.RUNNING
        return self._row.dask_cluster if recorded else Health.UP

    # Deeds

    def carry_out(self, action: act.Action) -> None:
        """Do what was decided."""
        if isinstance(action, act.FixOrigin):
            self._origin = self._origin or Origin(boundary=int(self.position), offsets={0: 0})
        elif isinstance(action, act.PlanStart):
            self._plan_start(action)
        elif isinstance(action, act.RunEngine):
            self._run(action.assignment)
        elif isinstance(action, act.StopEngine):
            self._jobs.pop((action.engine, action.epoch), None)
        elif isinstance(action, act.Revoke):
            self._revoked.add((action.engine, action.epoch))
            self._fenced.add((action.engine, action.epoch))
        elif isinstance(action, act.RewindRepairs):
            self._rewound = max(self._rewound, action.number)
        elif isinstance(action, act.ScaleDask):
            self._scale(action.workers)

    def _plan_start(self, action: act.PlanStart) -> None:
        if self._plan is None or self._plan.epoch != action.epoch:
            self._plan = StartPlan(
                engine=action.engine, epoch=action.epoch, boundary=int(self.position), offsets={0: 0}
            )

    def _run(self, assignment: Assignment) -> None:
        name = (assignment.engine, assignment.epoch)
        if name in self._jobs or name in self._revoked:
            return
        if assignment.engine is FLINK:
            ready_at = self.now + self._engines.flink_start_ms
        elif self._warm_at is not None:
            ready_at = max(self._warm_at, self.now + DRIVER_START_MS)
        else:
            return
        self.run(assignment, ready_at)

    def run(self, assignment: Assignment, ready_at: int) -> None:
        """Start a job that runs from `ready_at` (ms) on."""
        name = (assignment.engine, assignment.epoch)
        self._jobs[name] = Running(assignment, position=assignment.boundary, ready_at=ready_at)
        # Rows of engines from before the assignments that are in force say nothing any more.
        self._published = {each: at for each, at in self._published.items() if each in self._jobs}

    def _scale(self, workers: int) -> None:
        if not workers:
            self._warm_at = None
        elif self._warm_at is None:
            self._warm_at = self.now + self._engines.dask_start_ms
        self._workers = workers
