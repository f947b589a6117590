"""Effects in flight: what `engine_ground` does for each action, one outside step at a time."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import world as w
from tests.model.loop import Book, writers
from tests.model.world import Effect, Job, Plan, Step, World, add, name, on_its_way, put, without


class Effects:
    """Steps of effects; each may come at any time, or never if its operator dies."""

    book: Book

    def effects(self, world: World) -> Iterator[Step]:
        """A step of each effect in flight that nothing holds up."""
        for effect in world.flight:
            rest = world._replace(flight=without(world.flight, effect))
            step = getattr(self, f"_{effect.kind}")
            yield from step(world, rest, effect)
        for effect in world.late:
            if world.flink_up:
                rest = world._replace(late=without(world.late, effect))
                yield f"a late submission of {name(effect.writer)} lands", self.submitted(rest, effect)

    def _plan(self, world: World, rest: World, effect: Effect) -> Iterator[Step]:
        if world.gone and not effect.number and world.frontier() < world.closable:
            plan = Plan(effect.writer, -1, 0)
        else:
            plan = Plan(effect.writer, self.boundary(world), world.done)
            taken = world.gone if world.frontier() < world.closable else 0
            rest = rest._replace(gone=0, losses=world.losses + taken)
        yield f"plan {name(effect.writer)}: {plan.boundary}", rest._replace(plan=plan)

    @staticmethod
    def boundary(world: World) -> int:
        """Where an engine starts: the frontier."""
        return world.frontier()

    def _run(self, world: World, rest: World, effect: Effect) -> Iterator[Step]:
        writer = effect.writer
        if (writer[0] == w.FLINK and not world.flink_up) or world.shared == w.GROUND_UNKNOWN:
            yield f"run {name(writer)} fails", rest
        elif effect.stage == 0:
            if any(job.writer == writer for job in world.jobs):
                yield f"run {name(writer)}: it is there", rest
            elif not self.may_issue(world, writer):
                yield f"run {name(writer)}: it is retired", rest
            elif world.shared == w.UP:
                begun = tuple(sorted((*rest.flight, effect._replace(stage=1))))
                issued = rest._replace(tokens=put(world.tokens, writer, w.ISSUED), flight=begun)
                yield f"run {name(writer)}: its token is issued", issued
        elif writer[0] == w.DASK:
            yield f"run {name(writer)}: started", add(rest, Job(writer, w.STARTING, effect.number))
        else:
            yield f"run {name(writer)}: submitted", self.submitted(rest, effect)

    @staticmethod
    def may_issue(world: World, writer: w.Writer) -> bool:
        """A token that was revoked is not made again."""
        return world.token(writer) != w.REVOKED

    @staticmethod
    def submitted(world: World, effect: Effect) -> World:
        """Flink has a job of this id, or it had one and refuses another."""
        epoch = effect.writer[1]
        if epoch in world.known:
            return world
        known = world._replace(known=tuple(sorted((*world.known, epoch))))
        return add(known, Job(effect.writer, w.STARTING, effect.number))

    def _stop(self, world: World, rest: World, effect: Effect) -> Iterator[Step]:
        if effect.writer[0] == w.FLINK and not world.flink_up:
            yield f"stop {name(effect.writer)} fails", rest
        elif world.shared != w.GROUND_UNKNOWN:
            stopped = rest._replace(jobs=tuple(j for j in world.jobs if j.writer != effect.writer))
            yield f"stop {name(effect.writer)}", stopped
            for job in world.jobs:
                if job.writer == effect.writer and world.is_writing(job):
                    yield f"stop {name(effect.writer)} in the middle of a write", on_its_way(stopped, job)

    def _revoke(self, world: World, rest: World, effect: Effect) -> Iterator[Step]:
        writer, repair = effect.writer, (w.REPAIR, effect.writer[1])
        if effect.stage == 0 and world.shared != w.SINK_DOWN:
            tokens = world.tokens
            for token in (writer, repair):
                tokens = put(tokens, token, w.REVOKED)
            begun = tuple(sorted((*rest.flight, effect._replace(stage=1))))
            revoked = rest._replace(tokens=tokens, flight=begun)
            yield f"revoke {name(writer)}: its token is gone", revoked
            for job in world.jobs:
                if job.writer == writer and world.is_writing(job):
                    text = f"revoke {name(writer)}: its token is gone, a write is on its way"
                    yield text, on_its_way(revoked, job)
        elif effect.stage == 1:
            yield f"revoke {name(writer)}: the time-out is over", self.fence(rest, writer)

    @staticmethod
    def fence(world: World, writer: w.Writer) -> World:
        """The sink's time-out is over: what was on its way has landed or never will."""
        stray = tuple(s for s in world.stray if s[0] != writer)
        return world._replace(stray=stray, fenced=tuple(sorted({*world.fenced, writer})))

    def _rewind(self, world: World, rest: World, effect: Effect) -> Iterator[Step]:
        if world.rewound >= effect.number:
            yield "rewind: done before", rest
        else:
            done = min(world.done, effect.offset)
            yield (
                f"rewind the repairs to {done}",
                rest._replace(repair=None, done=done, rewound=effect.number),
            )

    def _repair(self, world: World, rest: World, effect: Effect) -> Iterator[Step]:
        state = self.book.states[world.mind]
        live = next(writers(state), None)
        if world.repair or live is None:
            yield "repair: nothing to start", rest
        elif not self.may_issue(world, (w.REPAIR, live[1])):
            yield "repair: its engine is retired", rest
        elif world.shared == w.UP:
            token = (w.REPAIR, live[1])
            yield (
                f"repair until {effect.number}",
                rest._replace(
                    tokens=put(world.tokens, token, w.ISSUED), repair=(live[1], effect.number, world.done)
                ),
            )
