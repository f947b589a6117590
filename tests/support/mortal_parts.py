"""What stands in for the operator's own parts where every effect counts and time is virtual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.outside import Outside

from streampipeline import engine_ground, planner, sight, start
from streampipeline.decide.actions import Action
from streampipeline.ground import identity
from streampipeline.jobconfig import TimestampType
from streampipeline.probes import models
from streampipeline.probes.poller import Reading
from streampipeline_operator import (
    children,
    cluster_place,
    dask_cluster,
    kube,
    nudges,
    reconcile,
    sink_access,
    spec_in_force,
    stage,
)
from streampipeline_operator.kube import Kind, Kube, Object
from streampipeline_operator.names import SELECTOR
from streampipeline_operator.watch import Watches

PATIENCE_SECONDS = 60.0


class Crash(BaseException):
    """The end of the operator's process."""


@dataclass
class Effects:
    """Counts effects and ends the operator after one of them."""

    crash_after: int = 0
    """Number of the effect; 0: none."""
    names: list[str] = field(default_factory=list)
    crashed: bool = False

    def begin(self, crash_after: int) -> None:
        """Count from here on."""
        self.names, self.crash_after, self.crashed = [], crash_after, False

    def __call__(self, name: str) -> None:
        """An effect was made."""
        self.names.append(name)
        if not self.crashed and len(self.names) == self.crash_after:
            self.crashed = True
            raise Crash(name)


class Poller:
    """A probe that is asked when its answer is wanted."""

    def __init__(self, name: str, probe: Callable[[], Any], *_: float, **__: float) -> None:
        del name
        self._probe = probe

    def read(self) -> Reading[Any]:
        try:
            return Reading(self._probe(), "", 0)
        except Exception as error:
            return Reading(None, f"{type(error).__name__}: {error}", 0)

    def stop(self) -> None:
        pass


class Executor:
    """Carries out at once, in order. The first time that an action was, is an effect of its own."""

    effect: Callable[[str], None]
    seen: set[str]

    def __init__(self, carry_out: Any, not_asked: Any, watched: Sequence[type[Action]]) -> None:
        self._carry_out, self._not_asked, self._watched = carry_out, not_asked, watched

    def apply(self, actions: Sequence[Action]) -> None:
        for kind in self._watched:
            if not any(isinstance(action, kind) for action in actions):
                self._not_asked(kind)
        for action in actions:
            try:
                self._carry_out(action)
            except Exception:
                continue
            if identity(action) not in self.seen:
                self.seen.add(identity(action))
                self.effect(f"action {type(action).__name__}")

    def close(self) -> None:
        pass


class ListedWatches(Watches):
    """What a list would say now; asked for again after a change only."""

    def __init__(self, api: Kube, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._listed: dict[str, list[Object]] = {}

    def forget(self, plural: str) -> None:
        """It has changed."""
        self._listed.pop(plural, None)

    def synced(self) -> bool:
        return True

    def children(self, kind: Kind, namespace: str, pipeline: str) -> list[Object]:
        del pipeline
        if kind.plural not in self._listed:
            self._listed[kind.plural] = self._api.list(kind, namespace, SELECTOR)
        return self._listed[kind.plural]

    def child(self, kind: Kind, namespace: str, name: str) -> Object | None:
        found = self.children(kind, namespace, "")
        return next((body for body in found if body["metadata"]["name"] == name), None)


class PatientKube(Kube):
    """Time is virtual: a machine that is slow is no fault."""

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        return super().request(method, path, **{"timeout": PATIENCE_SECONDS, **arguments})


class MortalKube(PatientKube):
    """Every change is an effect. `changed` is told of it before."""

    changed: Callable[[str, str, Any, Any], None]
    stale: Object | None = None
    """What is read of the pipeline, whatever is stored."""

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        if method == "GET" and self.stale is not None and "/streampipelines/" in path:
            return self.stale
        answer = super().request(method, path, **arguments)
        if method != "GET":
            self.changed(method, path, arguments.get("body"), answer)
        return answer


def install(patch: pytest.MonkeyPatch, outside: Outside) -> None:
    """Time, threads and the outside, under the operator's own code."""
    clock = outside.clock
    for module in (
        reconcile,
        spec_in_force,
        cluster_place,
        dask_cluster,
        stage,
        kube,
        nudges,
        engine_ground,
    ):
        patch.setattr(module, "time", clock)
    patch.setattr(children.Children.__init__, "__kwdefaults__", {"clock": clock.monotonic})
    for name in ("SqlGateway", "JobManager"):
        patch.setattr(cluster_place, name, lambda _: outside)
    patch.setattr(sink_access, "InfluxDbAdmin", lambda *_, **__: outside)
    patch.setattr(stage, "Preparation", lambda *_: _prepared())
    patch.setattr(stage, "Executor", Executor)
    patch.setattr(Executor, "effect", outside.effect, raising=False)
    for module in (sight, models):
        patch.setattr(module, "Poller", Poller)
    patch.setattr(models, "probe_model", outside.answer)
    patch.setattr(sight, "DropWatch", lambda _: None)
    for module in (sight, planner):
        patch.setattr(module, "RequestWriter", lambda *_: None)
    patch.setattr(sight, "admin", lambda _: SimpleNamespace(list_topics=lambda **_: None))
    for module in (sight, planner):
        patch.setattr(module, "PipelineProbe", lambda _: outside)
    for name in ("origin", "start_offsets"):
        patch.setattr(start, name, getattr(outside, name))
    patch.setattr(start, "published_without", lambda *_: None)
    patch.setattr(planner, "consumer", outside.consumer)
    patch.setattr(engine_ground, "REPAIR_PAUSE_SECONDS", 1)


def _prepared() -> SimpleNamespace:
    return SimpleNamespace(
        timestamps=TimestampType.LOG_APPEND_TIME,
        done=True,
        source_problem="",
        sink_problem="",
        close=lambda: None,
    )
