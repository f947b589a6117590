"""Whatever may happen next: the operator, and steps of engines, of time, of faults and of the user."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import world as w
from tests.model.effects import Effects
from tests.model.loop import SPECS, Book
from tests.model.operator import Operator
from tests.model.world import Step, World, add, name, on_its_way, put, without, written


class Moves(Operator, Effects):
    """Every step from a world to the next."""

    def __init__(self, book: Book, windows: int) -> None:
        super().__init__(book)
        self.windows = windows

    def all(self, world: World) -> Iterator[Step]:
        """Raises Wrong where a step breaks a rule that only the step shows."""
        yield from self.turns(world)
        yield from self.effects(world)
        yield from self.engines(world)
        yield from self.surroundings(world)
        if world.faults:
            for text, after in self.faults(world):
                yield "FAULT " + text, after._replace(faults=world.faults - 1)
        if world.edits:
            for text, after in self.edits(world):
                yield "EDIT " + text, after._replace(edits=world.edits - 1)

    def engines(self, world: World) -> Iterator[Step]:
        """A step of each job, of the repair, of a write on its way."""
        for job in world.jobs:
            rest = world._replace(jobs=without(world.jobs, job))
            if job.phase != w.RUNNING:
                yield f"{name(job.writer)} runs", add(rest, job._replace(phase=w.RUNNING))
                continue
            if world.is_writing(job) and world.shared != w.SINK_DOWN:
                sink = written(world.sink, job.at + 1, w.ENGINES)
                text = f"{name(job.writer)} writes window {job.at + 1}"
                yield text, add(rest._replace(sink=sink), job._replace(at=job.at + 1))
            if job.at > dict(world.rows).get(job.writer, 0):
                yield (
                    f"{name(job.writer)} commits {job.at}",
                    world._replace(rows=put(world.rows, job.writer, job.at)),
                )
        for stray in world.stray:
            rest = world._replace(stray=without(world.stray, stray))
            text = f"a write of {name(stray[0])} lands late: window {stray[1]}"
            yield text, rest._replace(sink=written(world.sink, stray[1], w.ENGINES))
        if world.repair:
            yield self.repair_step(world)

    @staticmethod
    def repair_step(world: World) -> Step:
        """The pass repairs a window and commits its request, or ends."""
        assert world.repair is not None
        epoch, until, at = world.repair
        if at >= min(world.frontier(), until) or world.token((w.REPAIR, epoch)) != w.ISSUED:
            return "the repair pass ends", world._replace(repair=None)
        sink = written(world.sink, at + 1, w.REPAIRED)
        after = world._replace(sink=sink, done=at + 1, repair=(epoch, until, at + 1))
        return f"window {at + 1} is repaired", after

    # Time, the user's answers, ends of faults

    def surroundings(self, world: World) -> Iterator[Step]:
        """What needs no fault."""
        if world.closable < self.windows:
            yield "a window becomes closable", world._replace(closable=world.closable + 1, fresh=True)
        later = self.wait(world)
        if later != world:
            yield "time passes", later
        if not world.flink_up:
            yield "Flink is back, its jobs too", world._replace(flink_up=True)
            if any(job.writer[0] == w.FLINK for job in world.jobs):
                jobs = tuple(job for job in world.jobs if job.writer[0] != w.FLINK)
                yield (
                    "Flink is back without its jobs",
                    world._replace(flink_up=True, jobs=jobs, late=(), known=()),
                )
        if world.shared != w.UP:
            yield "what both engines need is back", world._replace(shared=w.UP)
        if world.gone and self.halted(world):
            yield "the user accepts the loss", world._replace(accepts=world.accepts + 1)

    def halted(self, world: World) -> bool:
        """Whether the status asks for a word that was not given yet."""
        state = self.book.states[world.stored]
        newest = str(world.accepts) if world.accepts else None
        return state.halt is not None and state.accepted_loss == newest

    def wait(self, world: World) -> World:
        """A step of time: requests on their way have landed or never will."""
        return world._replace(
            stored=self.book.later(world.stored), mind=self.book.later(world.mind), fresh=False, late=()
        )

    # Faults and edits

    def faults(self, world: World) -> Iterator[Step]:
        """Each costs one of the world's budget."""
        if world.flight or world.plan or world.fenced or world.rewound or world.stored != world.mind:
            yield "the operator dies", self.crash(world)
        turned = self.book.turn(world, world.look())
        if turned.worth_writing:
            stored = world._replace(stored=turned.state)
            yield "the operator dies when it has stored a decision", self.crash(stored)
        yield from self.kills(world)
        yield from self.silences(world)
        if world.flink_up:
            yield "Flink cannot be reached; its jobs go on", world._replace(flink_up=False)
        if world.shared == w.UP:
            yield "the sink is down", world._replace(shared=w.SINK_DOWN)
            yield "the ground does not answer", world._replace(shared=w.GROUND_UNKNOWN)
        if not world.gone:
            yield "retention passes the start position", world._replace(gone=1)

    @staticmethod
    def kills(world: World) -> Iterator[Step]:
        """Of jobs that can be reached."""
        for job in sorted(set(world.jobs)):
            if job.writer[0] == w.DASK or world.flink_up:
                rest = world._replace(jobs=without(world.jobs, job))
                yield f"{name(job.writer)} is killed", rest
                if world.is_writing(job):
                    yield f"{name(job.writer)} is killed in the middle of a write", on_its_way(rest, job)
                if job.phase == w.RUNNING:
                    row = dict(world.rows).get(job.writer, job.at)
                    failing = job._replace(phase=w.FAILING, at=min(job.at, row))
                    yield f"{name(job.writer)} fails, to begin again at its checkpoint", add(rest, failing)

    @staticmethod
    def silences(world: World) -> Iterator[Step]:
        """An effect is carried out, and the operator gives up waiting for the reply."""
        for effect in world.flight:
            if effect.kind == "run" and effect.stage:
                rest = world._replace(flight=without(world.flight, effect))
                yield (
                    f"no reply to the submission of {name(effect.writer)}",
                    rest._replace(late=tuple(sorted({*world.late, effect}))),
                )
            elif effect.kind == "revoke" and effect.stage:
                rest = world._replace(flight=without(world.flight, effect))
                yield f"no reply to the revocation of {name(effect.writer)}", rest

    def edits(self, world: World) -> Iterator[Step]:
        """Each costs one of the world's budget."""
        for pin in (None, w.FLINK, w.DASK):
            if pin != world.pin:
                yield f"pin {pin}", world._replace(pin=pin)
        yield "a drill", world._replace(drills=world.drills + 1)
        for number in range(len(SPECS)):
            if number != world.spec:
                yield f"spec {number}", world._replace(spec=number)
