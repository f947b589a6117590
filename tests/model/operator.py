"""The operator: a turn (look, decide, store, start effects) and its death."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.model import world as w
from tests.model.loop import Asked, Book, Turned, writer_of, writers
from tests.model.world import Effect, Look, Step, World, name


class Wrong(Exception):
    """A rule of the design is broken; the text says which.

    `at`: where, if not in the world at hand; `way`: the last steps to it.
    """

    def __init__(self, rule: str, at: World | None = None, way: Sequence[str] = ()) -> None:
        super().__init__(rule)
        self.at, self.way = at, way


class Operator:
    """Carries out as the executor does: an effect once at a time, repairs while they are asked for."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def turns(self, world: World) -> Iterator[Step]:
        """One turn, on a new look or a stale one."""
        now = world.look()
        yield self.turn(world, now, "turn")
        if world.stales and world.seen is not None:
            old, less = world.seen, world._replace(stales=world.stales - 1)
            yield self.turn(less, old, "turn on a stale look")
            mixed = old._replace(rows=now.rows, closable=now.closable, fresh=now.fresh)
            if mixed not in (old, now):
                yield self.turn(less, mixed, "turn on a stale look at jobs")
            mixed = now._replace(rows=old.rows, closable=old.closable, fresh=old.fresh)
            if mixed not in (old, now):
                yield self.turn(less, mixed, "turn on a stale look at progress")

    def turn(self, world: World, look: Look, text: str) -> Step:
        """Look, decide, store, start effects."""
        turned = self.book.turn(world, look)
        stored = self.stored(world, turned)
        before, after = self.book.states[world.mind], self.book.states[turned.state]
        if turned.problem:
            raise Wrong(turned.problem)
        if after.epoch > before.epoch and after.epoch <= world.given:
            raise Wrong(f"epoch {after.epoch} is given a second time")
        for writer in set(writers(after)) - set(writers(before)):
            if world.token(writer):
                raise Wrong(f"{name(writer)} is assigned a second time")
        world = self.apply(stored._replace(mind=turned.state), turned.asked)
        return _said(text, before.phase, after.phase), world._replace(seen=look)

    @staticmethod
    def stored(world: World, turned: Turned) -> World:
        """The decision is stored where it is worth it."""
        return world._replace(stored=turned.state) if turned.worth_writing else world

    def apply(self, world: World, asked: tuple[Asked, ...]) -> World:
        """The executor: start what nothing stands in the way of, end repairs that are not asked for."""
        if world.repair and not any(ask.effect.kind == "repair" for ask in asked):
            world = world._replace(repair=None)
        flight, given = world.flight, world.given
        running = {self.book.identity(effect) for effect in flight}
        for ask in asked:
            self.known(world, ask.effect)
            if ask.identity in running:
                continue
            running.add(ask.identity)
            if ask.effect.kind in ("plan", "run"):
                given = max(given, ask.effect.writer[1])
            if not self.idle(world, ask.effect):
                flight = (*flight, ask.effect)
        return world._replace(flight=tuple(sorted(flight)), given=given)

    def known(self, world: World, effect: Effect) -> None:
        """Raises Wrong when the stored state does not ask for the effect."""
        if world.stored == world.mind:
            return
        state = self.book.states[world.stored]
        retiring = {writer_of(r.assignment.engine, r.assignment.epoch) for r in state.retiring}
        wanted = None if state.wanted is None else writer_of(state.wanted.engine, state.wanted.epoch)
        asked = {
            "plan": effect.writer == wanted,
            "run": effect.writer in set(writers(state)),
            "stop": effect.writer in retiring or effect.writer not in set(writers(state)),
            "revoke": effect.writer in retiring or effect.writer not in set(writers(state)),
            "rewind": effect.number <= state.rewind.number,
            "repair": True,
        }
        if not asked[effect.kind]:
            raise Wrong(
                f"{effect.kind} {name(effect.writer)} begins before the state that asks for it is stored"
            )

    @staticmethod
    def idle(world: World, effect: Effect) -> bool:
        """Whether it would be over at once, and can't be anything else however late it is carried out."""
        if effect.kind == "plan":
            plan = world.plan
            return plan is not None and plan.boundary >= 0 and plan.writer == effect.writer
        if effect.kind == "revoke":
            return effect.writer in world.fenced
        return effect.kind == "repair" and world.repair is not None

    def crash(self, world: World) -> World:
        """The operator dies and another one begins with what is stored."""
        late = tuple(e for e in world.flight if e.kind == "run" and e.stage and e.writer[0] == w.FLINK)
        return world._replace(
            mind=world.stored,
            plan=None,
            fenced=(),
            rewound=0,
            flight=(),
            late=tuple(sorted({*world.late, *late})),
            seen=None,
        )


def _said(text: str, before: str, after: str) -> str:
    return text if before == after else f"{text}: {before} -> {after}"
