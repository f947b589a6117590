"""The world around the decisions: small enough to be searched whole, and with what no probe sees.

Windows are numbered 1, 2, ...; window w ends at w * SLIDE. Every window has one late record, so that each has
a repair to come: request w stands at offset w - 1 of the repairs topic as soon as the frontier has reached w.
Records, offsets and values are beneath it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

FLINK, DASK, REPAIR = 0, 1, 2
Writer = tuple[int, int]
"""Engine, epoch."""

STARTING, RUNNING, FAILING, ENDED = 0, 1, 2, 3
ABSENT, ENGINES, REPAIRED = 0, 1, 2
"""What the sink holds of a window: nothing, an engine's value, its final value."""
UP, SINK_DOWN, GROUND_UNKNOWN = 0, 1, 2
ISSUED, REVOKED = 1, 2


class Job(NamedTuple):
    """A process that may write. `at`: the last window that it wrote."""

    writer: Writer
    phase: int
    at: int


class Effect(NamedTuple):
    """One action of a decision, as the world carries it out. `stage`: how far that is."""

    kind: str
    writer: Writer = (0, 0)
    number: int = 0
    """Boundary of a run, `until` of a repair, number of a rewind, 1 for a plan that may lose records."""
    offset: int = 0
    """Of a rewind; `repairs_offset` of a run."""
    stage: int = 0


class Plan(NamedTuple):
    """An answer to PlanStart; `boundary` -1: records are gone."""

    writer: Writer
    boundary: int
    repairs_offset: int


class Look(NamedTuple):
    """What probes say at one moment."""

    flink_up: bool
    shared: int
    jobs: tuple[Job, ...]
    rows: tuple[tuple[Writer, int], ...]
    closable: int
    fresh: bool


class World(NamedTuple):
    """All of it. States of the decisions are numbers of a `loop.Book`."""

    stored: int
    mind: int
    """The state as the operator that is alive remembers it."""

    # What dies with the operator
    plan: Plan | None = None
    fenced: tuple[Writer, ...] = ()
    rewound: int = 0
    flight: tuple[Effect, ...] = ()

    # Engines, the sink, the topics
    jobs: tuple[Job, ...] = ()
    late: tuple[Effect, ...] = ()
    """Submissions under way of which nobody knows: the operator that made them gave up, or is dead."""
    known: tuple[int, ...] = ()
    """Epochs whose job Flink has or had: it takes none of the same id a second time."""
    tokens: tuple[tuple[Writer, int], ...] = ()
    stray: tuple[tuple[Writer, int], ...] = ()
    """Writes that the sink took in before their token was revoked."""
    rows: tuple[tuple[Writer, int], ...] = ()
    """The progress topic."""
    sink: tuple[int, ...] = (ABSENT, ABSENT)
    closable: int = 0
    fresh: bool = False
    """Whether the newest closable window is younger than every threshold."""
    repair: tuple[int, int, int] | None = None
    """The repair pass that runs: epoch of its token, `until`, the request that is next."""
    done: int = 0
    """Offset that the repairs have committed."""

    # Faults and the user
    flink_up: bool = True
    """False: no probe and no request reaches Flink; its jobs may go on, and write."""
    shared: int = UP
    gone: int = 0
    """Spells of retention that no start has accepted yet."""
    pin: int | None = None
    drills: int = 0
    accepts: int = 0
    spec: int = 0
    """Which of `loop.SPECS` is in force."""
    faults: int = 0
    edits: int = 0
    stales: int = 0
    """How many faults, edits of the user and turns on a stale look may still come."""
    seen: Look | None = None
    """The look of the turn before, while a stale one may still be taken for a new one."""

    # What is checked, not known to anybody
    given: int = 0
    """The greatest epoch that an effect ever had."""
    losses: int = 0
    """How often records were given up."""

    def frontier(self) -> int:
        """Newest committed progress."""
        return max((frontier for _, frontier in self.rows), default=0)

    def token(self, writer: Writer) -> int:
        """ISSUED, REVOKED, or 0: there was none."""
        return dict(self.tokens).get(writer, 0)

    def can_write(self, job: Job) -> bool:
        """Whether a write of it would be taken."""
        return self.token(job.writer) == ISSUED

    def is_writing(self, job: Job) -> bool:
        """Whether a write of it may be under way."""
        return job.phase == RUNNING and job.at < self.closable and self.can_write(job)

    def look(self) -> Look:
        """A look that tells the truth, as far as probes reach."""
        seen = self.shared != GROUND_UNKNOWN
        jobs = tuple(job for job in self.jobs if seen and (self.flink_up or job.writer[0] != FLINK))
        if seen and self.flink_up:
            there = {job.writer for job in jobs}
            listed = ((FLINK, epoch) for epoch in self.known)
            jobs += tuple(Job(writer, ENDED, 0) for writer in listed if writer not in there)
        return Look(seen and self.flink_up, self.shared, jobs, self.rows, self.closable, self.fresh)


Step = tuple[str, World]
"""What happened, and the world after it."""


def put(pairs: tuple[tuple[Writer, int], ...], writer: Writer, value: int) -> tuple[tuple[Writer, int], ...]:
    """The pairs with `writer`'s replaced."""
    return tuple(sorted({**dict(pairs), writer: value}.items()))


Item = TypeVar("Item")


def without(items: tuple[Item, ...], item: Item) -> tuple[Item, ...]:
    """The items less one."""
    at = items.index(item)
    return items[:at] + items[at + 1 :]


def name(writer: Writer) -> str:
    """For people: `flink 1`."""
    return f"{('flink', 'dask', 'repair')[writer[0]]} {writer[1]}"


def add(world: World, job: Job) -> World:
    """The world with the job."""
    return world._replace(jobs=tuple(sorted((*world.jobs, job))))


def on_its_way(world: World, job: Job) -> World:
    """The world with the job's next write taken in by the sink, and not carried out yet."""
    return world._replace(stray=tuple(sorted({*world.stray, (job.writer, job.at + 1)})))


def written(sink: tuple[int, ...], window: int, value: int) -> tuple[int, ...]:
    """The sink after a write."""
    return (*sink[: window - 1], value, *sink[window:])
