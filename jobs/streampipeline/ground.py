"""The port "a place where engines run", and the executor that carries out what was decided.

Implemented by the operator (a cluster) and by `streampipeline run` (processes of one machine).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from streampipeline.decide import Observed, State
from streampipeline.decide.actions import Action

log = structlog.get_logger()

RETRY_FIRST_SECONDS = 0.5
RETRY_MOST_SECONDS = 10.0


class Ground(Protocol):
    """A place where engines run."""

    def observe(self, state: State) -> Observed:
        """One look. Returns at once: what is slow is probed in the background. Raises nothing."""
        ...

    def carry_out(self, action: Action) -> None:
        """Carry one action out; idempotent, may block. After an exception, logged, it is tried again."""
        ...

    def not_asked(self, kind: type[Action]) -> None:
        """No action of this kind is wanted now: end what goes on only while it is asked for."""
        ...


def identity(action: Action) -> str:
    """Two actions of one identity are never carried out at the same time: kind, engine and epoch."""
    assignment = getattr(action, "assignment", action)
    return "/".join(
        str(part)
        for part in (
            type(action).__name__,
            getattr(assignment, "engine", ""),
            getattr(assignment, "epoch", ""),
        )
    )


class Executor:
    """Carries actions out in the background, each at most once at a time, ever less often after errors."""

    def __init__(
        self,
        carry_out: Callable[[Action], None],
        not_asked: Callable[[type[Action]], None],
        watched: Sequence[type[Action]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._carry_out = carry_out
        self._not_asked = not_asked
        self._watched = tuple(watched)
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="effect")
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._failures: dict[str, tuple[int, float]] = {}
        self.done = threading.Event()
        """Set when an action has been carried out: worth another look at once."""

    def apply(self, actions: Sequence[Action]) -> None:
        """Start what is not being carried out already; returns at once."""
        for kind in self._watched:
            if not any(isinstance(action, kind) for action in actions):
                self._end(kind)
        for action in actions:
            name = identity(action)
            with self._lock:
                _, not_before = self._failures.get(name, (0, 0.0))
                if name in self._running or self._clock() < not_before:
                    continue
                self._running.add(name)
            self._pool.submit(self._one, name, action)

    def _end(self, kind: type[Action]) -> None:
        """What fails here is asked for again by the next turn; it must not keep this one's actions back."""
        try:
            self._not_asked(kind)
        except Exception as error:
            log.warning("action.not_ended", action=kind.__name__, error=f"{type(error).__name__}: {error}")

    def _one(self, name: str, action: Action) -> None:
        try:
            self._carry_out(action)
        except Exception as error:
            self._failed(name, error)
        else:
            with self._lock:
                self._failures.pop(name, None)
        finally:
            with self._lock:
                self._running.discard(name)
            self.done.set()

    def _failed(self, name: str, error: Exception) -> None:
        with self._lock:
            count = self._failures.get(name, (0, 0.0))[0] + 1
            pause = min(RETRY_FIRST_SECONDS * 2 ** (count - 1), RETRY_MOST_SECONDS)
            self._failures[name] = (count, self._clock() + pause)
        log.warning(
            "action.failed",
            action=name,
            attempt=count,
            again_in=pause,
            error=f"{type(error).__name__}: {error}",
        )

    def close(self) -> None:
        """Wait for nothing: what is being carried out may be repeated by the next start."""
        self._pool.shutdown(wait=False, cancel_futures=True)
