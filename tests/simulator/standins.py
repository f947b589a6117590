"""What stands in for `time`, `threading`, the pool and `random` inside the product's modules."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from tests.simulator.scheduler import EPOCH_NS, Process, Scheduler, Thread


class Time:
    """As the module `time`, on the virtual clock."""

    BOOT_SECONDS = 1_000.0
    """What `monotonic` says at the beginning."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.sleep = scheduler.sleep
        self.perf_counter = self.monotonic

    def monotonic(self) -> float:
        """Seconds."""
        return self.BOOT_SECONDS + (self._scheduler.now_ns - EPOCH_NS) / 1e9

    def time_ns(self) -> int:
        """Ns since 1970."""
        return self._scheduler.now_ns

    def time(self) -> float:
        """Seconds since 1970."""
        return self._scheduler.now_ns / 1e9


class Event:
    """As `threading.Event`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False
        self._waiting: list[tuple[Thread, int]] = []

    def is_set(self) -> bool:
        """Whether it is."""
        return self._set

    def set(self) -> None:
        """Wake all who wait."""
        self._set = True
        self._scheduler.wake(self._waiting)

    def clear(self) -> None:
        """From now on one waits again."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set in time."""
        if not self._set:
            self._scheduler.wait(self._waiting, timeout)
        return self._set


class Lock:
    """As `threading.Lock`, in a `with` statement."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held = False
        self._waiting: list[tuple[Thread, int]] = []

    def __enter__(self) -> None:
        while self._held:
            self._scheduler.wait(self._waiting, None)
        self._held = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = False
        self._scheduler.wake(self._waiting)


class _StartedLater:
    """As `threading.Thread`: of the process that makes it."""

    def __init__(self, scheduler: Scheduler, target: Callable[[], None], name: str, **_: Any) -> None:
        self._scheduler, self._target, self._name = scheduler, target, name

    def start(self) -> None:
        """Begin."""
        # Not all at the very same time: each process has its own order of them.
        delay = self._scheduler.random.uniform(0.0, 0.2)
        self._scheduler.start(self._scheduler.process, self._target, self._name, delay)


class Threading:
    """As the module `threading`, as far as the product uses it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def Event(self) -> Event:  # noqa: N802 - named as in the module
        """An event."""
        return Event(self._scheduler)

    def Lock(self) -> Lock:  # noqa: N802
        """A lock."""
        return Lock(self._scheduler)

    def Thread(self, **settings: Any) -> _StartedLater:  # noqa: N802
        """A thread, not yet started."""
        return _StartedLater(self._scheduler, **settings)


class Pool:
    """As `ThreadPoolExecutor`: each call in a thread of the process that made the pool."""

    def __init__(self, scheduler: Scheduler, max_workers: int, **_: Any) -> None:
        self._scheduler = scheduler
        self._process: Process = scheduler.process
        self._free = max_workers
        self._waiting: list[tuple[Thread, int]] = []
        self._closed = False

    def submit(self, call: Callable[..., None], *arguments: object) -> None:
        """Run it soon."""

        def run() -> None:
            while self._free == 0:
                self._scheduler.wait(self._waiting, None)
            if self._closed:
                return
            self._free -= 1
            try:
                call(*arguments)
            finally:
                self._free += 1
                self._scheduler.wake(self._waiting)

        delay = self._scheduler.random.uniform(0.0, 0.01)
        self._scheduler.start(self._process, run, str(arguments[0]), delay)

    def shutdown(self, **_: Any) -> None:
        """Begin nothing more."""
        self._closed = True
