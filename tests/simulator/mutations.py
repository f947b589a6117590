"""Changes to the product that break one of its rules: schedules must find each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

from streampipeline import start
from streampipeline.decide.observed import StartPlan
from streampipeline.engines.dask.engine import Engine
from streampipeline.planner import Planner

Mutation = contextlib.AbstractContextManager[object]


def start_at_the_committed_offsets() -> Mutation:
    """Rule 5: what an engine had read of windows that it did not publish is read again."""

    def positions(
        *, committed: Mapping[int, int], started: Mapping[int, int], ends: Mapping[int, int], **_: object
    ) -> dict[int, int]:
        return {p: committed.get(p, started.get(p, 0)) for p in ends}

    return patch.object(start, "positions", positions)


def start_one_window_later() -> Mutation:
    """Rule 5: the boundary is the frontier."""
    planned = Planner.plan

    def later(self: Planner, *arguments: Any) -> Any:
        plan = planned(self, *arguments)
        assert isinstance(plan, StartPlan)
        return plan.model_copy(update={"boundary": plan.boundary + self._config.spec.window.slide_ms})

    return patch.object(Planner, "plan", later)


def publish_parts_of_windows() -> Mutation:
    """Rule 3: an engine publishes windows that end after its boundary, which it has read as a whole."""
    make = Engine.__init__

    def earlier(self: Engine, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        self._frontier = self._boundary - 30_000

    return patch.object(Engine, "__init__", earlier)


MUTATIONS: dict[str, Callable[[], Mutation]] = {
    each.__name__: each
    for each in (
        start_at_the_committed_offsets,
        start_one_window_later,
        publish_parts_of_windows,
    )
}
