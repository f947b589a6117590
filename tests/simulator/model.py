"""A model server in memory, and the same model for the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import httpx
from tests.simulator.http import Request
from tests.simulator.scheduler import Scheduler

VERSION = "simulated-0123456789ab"


class Mood(Enum):
    """How it answers."""

    WELL = "well"
    DOWN = "down"
    FAILING = "failing"
    NONSENSE = "nonsense"


def predict(row: Sequence[float]) -> int:
    """A class that depends on every input."""
    return int(sum(value * (place + 1) for place, value in enumerate(row)) * 7) % 3


class SamePredictor:
    """As the audit's predictor of a model file."""

    def knows(self, model_version: str) -> bool:
        """Whether it is ours."""
        return model_version == VERSION

    def predict(self, rows: Sequence[Sequence[float]]) -> list[float | int]:
        """Classes."""
        return [predict(row) for row in rows]


@dataclass
class ModelServer:
    """The server."""

    scheduler: Scheduler
    mood: Mood = Mood.WELL

    def answer(self, method: str, path: str, request: Request) -> httpx.Response:
        """See `http.Server`."""
        assert (method, path) == ("POST", "/predict")
        self.scheduler.pause(0.001, 0.01)
        if self.mood is Mood.DOWN:
            raise httpx.ConnectError("connection refused")
        if self.mood is Mood.FAILING:
            return httpx.Response(503, text="unavailable")
        predictions = [predict(row) for row in request.json()["inputs"]]
        if self.mood is Mood.NONSENSE:
            predictions = predictions[1:]
        return httpx.Response(200, json={"predictions": predictions, "modelVersion": VERSION})
