"""The search: every world that a few faults, edits, stale looks and epochs can lead to.

`python -m tests.model.search --epochs 2 --faults 2` searches more than the ordinary tests do. Exit code 1: a
rule is broken; the shortest way there is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from dataclasses import dataclass, field, fields

from tests.model import world as w
from tests.model.check import unrest, wrong_with
from tests.model.loop import Book
from tests.model.moves import Moves
from tests.model.operator import Wrong
from tests.model.world import World

FAIR_STEPS = 400
"""Without faults the pipeline is at rest within so many steps, whatever happened before."""
SHOW_EACH = 100_000
STEPS_SHOWN = 60


@dataclass(frozen=True)
class Bounds:
    """How far the search goes."""

    epochs: int = 1
    """Beyond the first."""
    faults: int = 1
    edits: int = 0
    """Of the user: a pin, a drill, another spec."""
    stales: int = 0
    """Turns on a look that is older than the last one."""
    windows: int = 1
    at_rest: bool = False
    """Begin with a pipeline that has published, not with one that was never seen."""
    states: int = sys.maxsize
    """Give up after so many."""


@dataclass
class Found:
    """What a search came to."""

    states: int = 0
    transitions: int = 0
    decisions: int = 0
    seconds: float = 0.0
    complete: bool = False
    wrong: str | None = None
    trace: list[str] = field(default_factory=list)
    """The shortest way to what is wrong."""

    def __str__(self) -> str:
        size = f"{self.states} states, {self.transitions} transitions, {self.decisions} decisions"
        text = f"{size}, {self.seconds:.1f} s" + ("" if self.complete or self.wrong else ", not complete")
        if self.wrong is None:
            return text
        steps = self.trace
        if len(steps) > STEPS_SHOWN:
            steps = [*steps[:STEPS_SHOWN], f"and {len(steps) - STEPS_SHOWN} more"]
        return "\n  ".join([f"{text}\n{self.wrong}:", *steps])


class Search:
    """Breadth first, so that the first way found to a world is a shortest one."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.book = Book()
        self.moves = Moves(self.book, bounds.windows)
        self._parents: dict[World, tuple[World, str] | None] = {}
        self._good: set[World] = set()
        """From which the pipeline comes to rest."""

    def run(self) -> Found:
        """Search until something is wrong, all is seen, or the limit is reached."""
        found, began = Found(), time.process_time()
        start = self._start()
        last_epoch = self.book.states[start.mind].epoch or 1
        self._parents = {start: None}
        queue = deque([start])
        while queue and found.states < self.bounds.states and found.wrong is None:
            world = queue.popleft()
            found.states += 1
            if found.states % SHOW_EACH == 0:
                print(f"{found.states} states, {len(queue)} to go on from", flush=True)
            try:
                self.comes_to_rest(world)
                for text, step in self.moves.all(world):
                    found.transitions += 1
                    after = _normal(step)
                    if (
                        after in self._parents
                        or self.book.states[after.mind].epoch > last_epoch + self.bounds.epochs
                    ):
                        continue
                    self._parents[after] = world, text
                    if wrong := wrong_with(after, self.book):
                        raise Wrong(wrong, after)
                    queue.append(after)
            except Wrong as error:
                found.wrong, found.trace = str(error), [*self._way(error.at or world), *error.way]
        found.complete = not queue and found.wrong is None
        found.decisions, found.seconds = self.book.decisions, time.process_time() - began
        return found

    def _start(self) -> World:
        bounds, first = self.bounds, self.book.first()
        world = World(stored=first, mind=first, sink=(w.ABSENT,) * bounds.windows)
        if bounds.at_rest:
            world = self.rest(world._replace(closable=1))
        return world._replace(faults=bounds.faults, edits=bounds.edits, stales=bounds.stales)

    def _way(self, world: World) -> list[str]:
        steps: list[str] = []
        while (parent := self._parents[world]) is not None:
            world, text = parent
            steps.append(text)
        return steps[::-1]

    # From every world the pipeline comes to rest when faults stop

    def comes_to_rest(self, world: World) -> None:
        """Raises Wrong when it does not, or breaks a rule on the way."""
        self.rest(world._replace(faults=0, edits=0, stales=0, seen=None))

    def rest(self, world: World) -> World:
        """Where a fair continuation ends, or gets to where another one was. Raises Wrong."""
        way: list[str] = []
        passed: dict[World, None] = {}
        while world not in self._good:
            passed[world] = None
            text, after = self._fair_step(world)
            if after in passed:  # the same is asked for again and again: only time can change that
                text, after = "time passes", self.moves.wait(world)
            if after in passed:
                if why := unrest(world, self.book):
                    raise Wrong(f"without any more faults it stays so: {why}", way=way)
                break
            way.append(f"then: {text}")
            if wrong := wrong_with(after, self.book):
                raise Wrong(wrong, way=way)
            if len(way) > FAIR_STEPS:
                raise Wrong(f"not at rest {FAIR_STEPS} steps after the last fault", way=way)
            world = after
        self._good.update(passed)
        return world

    def _fair_step(self, world: World) -> tuple[str, World]:
        """The next thing that has to happen; the world itself when nothing has."""
        moves = self.moves
        healed = world._replace(shared=w.UP, flink_up=True, pin=None, spec=0)
        if healed != world:
            return "every fault is over", healed
        if world.gone and moves.halted(world):
            return "the user accepts the loss", world._replace(accepts=world.accepts + 1)
        for steps in (moves.effects(world), moves.engines(world)):
            for text, after in steps:
                if after != world:
                    return text, after
        text, after = moves.turn(world, world.look(), "turn")
        return text, after._replace(seen=None)


def _normal(world: World) -> World:
    """Without a stale look that nobody will take."""
    return world if world.stales else world._replace(seen=None)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.search")
    for bound in fields(Bounds):
        option = "--" + bound.name.replace("_", "-")
        if bound.name == "at_rest":
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=int, default=bound.default)
    found = Search(Bounds(**vars(parser.parse_args()))).run()
    print(found)
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
