"""Rules for the doors: what a link or a server behind it may do to requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from faults.landings import points_of
from faults.proxy import Answer, Forward, Request, Rule

HELD_SECONDS = 300.0


def slowed(seconds: float) -> Rule:
    """Every answer comes later."""

    def rule(request: Request, forward: Forward) -> Answer:
        time.sleep(seconds)
        return forward(request)

    return rule


def nonsense(request: Request, forward: Forward) -> Answer:
    """A model server that answers, and wrongly: too few predictions, no version."""
    if request.path != "/predict":
        return forward(request)
    body = json.dumps({"predictions": ["calm"], "modelVersion": ""}).encode()
    return Answer(200, body, {"Content-Type": "application/json"})


class HeldWrite:
    """Holds one engine's first write of points until it is let go; then the server sees it, hours late."""

    def __init__(self, source: str, on_held: Callable[[], None]) -> None:
        """`on_held` is called when the write is there."""
        self._source, self._on_held = source, on_held
        self._lock = threading.Lock()
        self._held = False
        self._go = threading.Event()

    def rule(self, request: Request, forward: Forward) -> Answer:
        """The rule of the door."""
        with self._lock:
            sources = {point.source for point in points_of(request)}
            first = self._source in sources and not self._held
            self._held = self._held or first
        if first:
            self._on_held()
            self._go.wait(HELD_SECONDS)
        return forward(request)

    def let_go(self) -> None:
        """On it goes."""
        self._go.set()
