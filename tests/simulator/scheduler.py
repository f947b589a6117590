"""Virtual time: an event queue, and processes of which one runs at a time, until it waits.

The product's code blocks: it sleeps, waits for events, asks a broker. Here each of its threads is a greenlet
that gives way whenever it waits, so the code runs as it is shipped, and the same seed gives the same
interleaving. A process that is killed runs no further statement that the world could notice; one that is
frozen goes on where it stood when it is thawed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from greenlet import getcurrent, greenlet

EPOCH_NS = 1_700_000_000_000_000_000
"""Where virtual time begins, ns since 1970."""


class Killed(BaseException):
    """Its process is dead: raised in each of its threads wherever they wait."""


class Stuck(Exception):
    """Virtual time came to its end before what was waited for happened."""


@dataclass
class Process:
    """Threads that live and die together."""

    name: str
    alive: bool = True
    frozen: bool = False
    threads: list[Thread] = field(default_factory=list)
    held: list[tuple[Thread, int]] = field(default_factory=list)
    """Threads that would have gone on while it was frozen, with what they waited for."""


@dataclass
class Thread:
    """One thread of a process. `waits`: the number of what it waits for; an older wake-up is void."""

    process: Process
    name: str
    code: greenlet | None = None
    waits: int = 0


@dataclass
class Failure:
    """An exception that a thread did not handle."""

    thread: str
    error: BaseException


class Scheduler:
    """The only clock there is. `random` is what every part of the world draws from."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ns = EPOCH_NS
        self.trace: list[str] = []
        self.failures: list[Failure] = []
        self._threads: list[Thread] = []
        self._queue: list[tuple[int, int, Thread | Callable[[], None], int]] = []
        self._numbers = itertools.count()
        self._hub = getcurrent()
        self._current: Thread | None = None
        self._end_ns = EPOCH_NS

    @property
    def seconds(self) -> float:
        """Since virtual time began."""
        return (self.now_ns - EPOCH_NS) / 1e9

    @property
    def now_ms(self) -> int:
        """Ms since 1970."""
        return self.now_ns // 1_000_000

    @property
    def process(self) -> Process:
        """Whose code runs."""
        assert self._current is not None, "no process runs"
        return self._current.process

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.seconds:9.3f} {what}")

    # What the world does

    def call(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after `seconds`, outside of every process. It must not wait."""
        self._push(seconds, action, 0)

    def start(self, process: Process, run: Callable[[], None], name: str, seconds: float = 0.0) -> Thread:
        """Let a thread of a process begin after `seconds`."""
        thread = Thread(process, f"{process.name}/{name}")

        def main() -> None:
            try:
                run()
            except Killed:
                pass
            except Exception as error:
                self.failures.append(Failure(thread.name, error))
                self.note(f"{thread.name} failed: {type(error).__name__}: {error}")
            finally:
                process.threads.remove(thread)
                self._threads.remove(thread)

        thread.code = greenlet(main, parent=self._hub)
        process.threads.append(thread)
        self._threads.append(thread)
        self._push(seconds, thread, thread.waits)
        return thread

    def kill(self, process: Process) -> None:
        """End a process where it stands. May be called from another process."""
        if process.alive:
            process.alive = False
            self.call(0.0, lambda: self._bury(process))

    def _bury(self, process: Process) -> None:
        process.held.clear()
        for thread in list(process.threads):
            assert thread.code is not None
            if thread.code:
                self._enter(thread, lambda code=thread.code: code.throw(Killed))  # type: ignore[misc]
            elif thread in process.threads:
                process.threads.remove(thread)
                self._threads.remove(thread)

    def freeze(self, process: Process) -> None:
        """As SIGSTOP."""
        process.frozen = True

    def thaw(self, process: Process) -> None:
        """As SIGCONT: what came meanwhile comes now."""
        process.frozen = False
        held, process.held = process.held, []
        for thread, number in held:
            self._push(0.0, thread, number)

    def run(self, until: Callable[[], bool], limit_seconds: float) -> None:
        """Go on until `until()`, which is asked between events. Raises Stuck at the limit."""
        self._end_ns = EPOCH_NS + round(limit_seconds * 1e9)
        while not until():
            if not self._queue or self._queue[0][0] > self._end_ns:
                raise Stuck(f"not over after {limit_seconds:g} s")
            at, _, what, number = heapq.heappop(self._queue)
            self.now_ns = max(self.now_ns, at)
            if isinstance(what, Thread):
                self._go_on(what, number)
            else:
                what()

    def end(self) -> None:
        """The end of the world: every thread ends where it stands."""
        for process in {id(thread.process): thread.process for thread in self._threads}.values():
            process.alive = False
            self._bury(process)

    def _go_on(self, thread: Thread, number: int) -> None:
        process = thread.process
        if number != thread.waits or not process.alive:
            return
        if process.frozen:
            process.held.append((thread, number))
            return
        thread.waits += 1
        assert thread.code is not None
        self._enter(thread, thread.code.switch)

    def _enter(self, thread: Thread, switch: Callable[[], object]) -> None:
        self._current = thread
        try:
            switch()
        finally:
            self._current = None

    # What running code does

    def sleep(self, seconds: float) -> None:
        """Wait, and let others run."""
        thread = self._thread()
        at = self.now_ns + _ns(seconds)
        if self._queue and at < min(self._queue[0][0], self._end_ns):
            self.now_ns = at  # nobody has anything to do before
            return
        self._push(seconds, thread, thread.waits)
        self._give_way(thread)

    def wait(self, woken_by: list[tuple[Thread, int]], seconds: float | None) -> None:
        """Wait until woken through the list, for at most `seconds`."""
        thread = self._thread()
        woken_by.append((thread, thread.waits))
        if seconds is not None:
            self._push(seconds, thread, thread.waits)
        self._give_way(thread)

    def wake(self, waiting: list[tuple[Thread, int]]) -> None:
        """Wake whoever waits through the list."""
        for thread, number in waiting:
            self._push(0.0, thread, number)
        waiting.clear()

    def pause(self, least: float, most: float) -> None:
        """Wait for a random time between two, seconds: a step that other processes may come before."""
        self.sleep(self.random.uniform(least, most))

    def chance(self, probability: float) -> bool:
        """Whether it happens."""
        return self.random.random() < probability

    def _thread(self) -> Thread:
        thread = self._current
        assert thread is not None, "only a process can wait"
        if not thread.process.alive:
            raise Killed
        return thread

    def _give_way(self, thread: Thread) -> None:
        self._hub.switch()
        self._current = thread
        if not thread.process.alive:
            raise Killed

    def _push(self, seconds: float, what: Thread | Callable[[], None], number: int) -> None:
        at = self.now_ns + _ns(seconds)
        heapq.heappush(self._queue, (at, next(self._numbers), what, number))


def _ns(seconds: float) -> int:
    """Any wait takes time: one of less than a nanosecond would be waited for ever."""
    return math.ceil(max(0.0, seconds) * 1e9)
