"""Runs one probe again and again in a thread of its own, so that a hanging part delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """The last answer of a probe: `value`, or None with `error` when it raised. `at`: monotonic seconds."""

    value: T | None
    error: str
    at: float


class Poller(Generic[T]):
    """Calls `probe` every `interval_seconds` until stopped; the last answer counts only while it is fresh."""

    def __init__(
        self, name: str, probe: Callable[[], T], interval_seconds: float, *, fresh_seconds: float = 10
    ) -> None:
        self._probe = probe
        self._interval = interval_seconds
        self._fresh = fresh_seconds
        self._stop = threading.Event()
        self._last: Reading[T] | None = None
        self._thread = threading.Thread(target=self._loop, name=f"probe-{name}", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._last = Reading(self._probe(), "", time.monotonic())
            except Exception as error:  # a probe's failure is an observation
                self._last = Reading(None, f"{type(error).__name__}: {error}", time.monotonic())
            self._stop.wait(self._interval)

    def read(self) -> Reading[T] | None:
        """The last answer; None before the first, or when the probe hangs for longer than `fresh_seconds`."""
        last = self._last
        if last is None or time.monotonic() - last.at > self._fresh + self._interval:
            return None
        return last

    def stop(self) -> None:
        """Call the probe no more; one that is under way is not waited for."""
        self._stop.set()
