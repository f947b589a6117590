"""What must hold in every world, and at rest."""

from __future__ import annotations

from tests.model import world as w
from tests.model.loop import Book, writer_of, writers
from tests.model.world import World, name

from streampipeline.decide.state import Phase


def wrong_with(world: World, book: Book) -> str | None:
    """The rule of docs/design.md that the world breaks, in words; None: none."""
    return _fence(world, book) or _gap(world) or _repair(world) or _loss(world)


def _fence(world: World, book: Book) -> str | None:
    """Who is reported fenced can not write, and nothing of it is on its way."""
    retiring = book.states[world.stored].retiring
    fenced = {writer_of(r.assignment.engine, r.assignment.epoch) for r in retiring if r.fenced}
    for writer in fenced.union(world.fenced):
        if world.token(writer) == w.ISSUED:
            return f"{name(writer)} is reported fenced, and can write"
        if any(of == writer for of, _ in world.stray):
            return f"{name(writer)} is reported fenced, and a write of it is on its way"
    return None


def _gap(world: World) -> str | None:
    """An engine starts where all before is in the sink."""
    for effect in (*world.flight, *world.late):
        if effect.kind == "run" and w.ABSENT in world.sink[: effect.number]:
            return f"{name(effect.writer)} starts at {effect.number}: a window before is in no sink"
    if w.ABSENT in world.sink[: world.frontier()]:
        return "a window below the frontier is in no sink"
    return None


def _repair(world: World) -> str | None:
    """Windows that are being repaired are written by nobody else."""
    if world.repair is None or world.token((w.REPAIR, world.repair[0])) != w.ISSUED:
        return None
    until = world.repair[1]
    for job in world.jobs:
        if world.can_write(job) and job.at < until:
            return f"windows up to {until} are being repaired, and {name(job.writer)} may still write them"
    for writer, window in world.stray:
        if window <= until:
            return f"window {window} is being repaired, and a write of {name(writer)} to it is on its way"
    return None


def _loss(world: World) -> str | None:
    """Records are given up by the user's word alone, one word for each loss."""
    return "a loss is taken that the user did not accept" if world.losses > world.accepts else None


def unrest(world: World, book: Book) -> str | None:
    """Why the pipeline is not at rest; None: Flink alone runs, all is published, repaired, and settled."""
    state = book.states[world.mind]
    if state.phase is not Phase.NORMAL:
        return f"the phase is {state.phase.value}"
    if state.dask or state.wanted or state.retiring or len(world.jobs) != 1:
        return "more or less than one engine"
    if (world.jobs[0].writer,) != tuple(writers(state)):
        return "another job than the assigned one"
    if world.flight or world.late or world.stray or world.repair or world.stored != world.mind:
        return "something is in flight"
    if world.frontier() < world.closable or set(world.sink[: world.closable]) - {w.REPAIRED}:
        return "a window is not in the sink as it is to be"
    return None
