"""What a pipeline remembers between two decisions: its `.status`. Times are ms, UTC."""

from __future__ import annotations

from enum import StrEnum

from streampipeline.api.spec import Model
from streampipeline.jobconfig import Assignment, EngineName, Generation, Origin


class Phase(StrEnum):
    """Of the pipeline; see `phases`."""

    STARTUP = "Startup"
    NORMAL = "Normal"
    TRIGGERING = "Triggering"
    FALLBACK = "Fallback"
    RESUMING = "Resuming"


class TriggerKind(StrEnum):
    """Why results are handed over."""

    LATENCY = "Latency"
    DEATH = "PrimaryDown"
    DRILL = "Drill"
    PIN = "Pinned"
    RECOVERED = "PrimaryRecovered"


class Wanted(Model):
    """An engine is to start: half an assignment, before the I/O that finds boundary and offsets."""

    engine: EngineName
    epoch: int
    accept_loss: bool = False
    clear: bool = False
    """A change of generation: nothing may write now, and what stands above the boundary goes."""


class Live(Model):
    """An assignment in force."""

    assignment: Assignment
    at: int
    """When it was recorded; moved on by the length of a shared failure."""
    seen: bool = False
    """Its job, or its progress, was seen. From then on its absence is a loss: it is never submitted again."""
    ran: bool = False
    """Its job was seen running."""
    target: int | None = None
    """The pipeline's frontier when the job was first seen running: what it has to reach to have caught up."""


class Retiring(Model):
    """An assignment taken away: kept until its job is seen stopped and its writes fenced."""

    assignment: Assignment
    fenced: bool = False


class Rewind(Model):
    """The newest rewind of the repairs: numbered, so that it is carried out once."""

    number: int = 0
    offset: int = 0
    done: bool = False
    """It was carried out: a ground that begins anew, and has forgotten, does not repeat all those repairs."""


class Timers(Model):
    """Starts of the running clocks. A shared failure stops them: they are moved on by its length."""

    phase: int = 0
    primary_down: int | None = None
    dask_down: int | None = None
    thawed: int | None = None
    """End of the last shared failure."""
    backlog: int | None = None
    """End of the last one that was long enough to leave a backlog."""
    settling: int | None = None
    """When a generation's first engine was assigned: until it has caught up, latency is not judged."""


class Checks(Model):
    """The memory of the periodic check. May be lost: counting only begins anew."""

    at: int = 0
    latencies: tuple[int, ...] = ()
    """Latencies of the newest checks, oldest first."""
    resumes: int = 0
    """Checks in a row in which resuming was possible."""


class Change(Model):
    """A change of generation under way: the engine that goes on is stopped first."""

    engine: EngineName
    since: int


class Backoff(Model):
    """Of resuming."""

    count: int = 0
    until: int = 0


class HandOver(Model):
    """One switch between the engines."""

    trigger: TriggerKind
    reason: str
    source: EngineName
    target: EngineName
    epoch: int
    decided: int
    boundary: int | None = None
    windows_pending: int = 0
    """Windows that had ended when it was decided and were not in the sink."""
    first_result: int | None = None
    completed: int | None = None
    abandoned: int | None = None


class Halt(Model):
    """Nothing can start exactly: records before the start position are gone."""

    since: int
    records_gone: int


class ConditionStatus(StrEnum):
    """Kubernetes' three."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """As in Kubernetes' API conventions; the time in ms."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    last_transition_time: int


class State(Model):
    """All of it. Round-trips through JSON."""

    phase: Phase = Phase.STARTUP
    since: int
    """When the phase began, for people; time-outs run on `timers`."""
    epoch: int = 0
    """The last one given out."""
    generation: int = 1
    """Number of the newest."""
    generations: tuple[Generation, ...] = ()
    """Oldest first; empty before the first assignment."""
    change: Change | None = None
    origin: Origin | None = None
    wanted: Wanted | None = None
    flink: Live | None = None
    dask: Live | None = None
    retiring: tuple[Retiring, ...] = ()
    rewind: Rewind = Rewind()
    active: EngineName | None = None
    active_since: int | None = None
    reason: str = ""
    """Why Dask took over last, with the numbers."""
    timers: Timers = Timers()
    checks: Checks = Checks()
    backoff: Backoff = Backoff()
    latency_switches: tuple[int, ...] = ()
    frozen_since: int | None = None
    halt: Halt | None = None
    lost_records: int = 0
    windows_cut: int = 0
    """Windows, or more, that repairs could not mend: their records are gone."""
    unscorable: int = 0
    """Repairs of older generations, or more, that could not be made: their model is gone."""
    accepted_loss: str | None = None
    drill: str | None = None
    """The last drill dealt with."""
    suspended: bool = False
    hand_overs: tuple[HandOver, ...] = ()
    """The last ten, oldest first."""
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def initial(cls, now: int) -> State:
        """Of a pipeline never seen before."""
        return cls(since=now, timers=Timers(phase=now))

    def live(self, engine: EngineName) -> Live | None:
        """The engine's assignment in force."""
        return self.flink if engine is EngineName.FLINK else self.dask

    @property
    def newest(self) -> Generation | None:
        """The generation in force; None before the first assignment."""
        return self.generations[-1] if self.generations else None

    def numbered(self, number: int) -> Generation | None:
        """The generation of that number."""
        return next((each for each in self.generations if each.number == number), None)

    def condition(self, name: str) -> Condition | None:
        """The condition of that type."""
        return next((c for c in self.conditions if c.type == name), None)


def worth_writing(before: State, after: State) -> bool:
    """Whether `after` must be stored before its actions: status holds transitions, not heartbeats."""
    return before != after.model_copy(update={"checks": before.checks})
