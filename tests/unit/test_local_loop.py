"""The loop of a run: what it decides is in `state.json` before anything is done about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.publish_config import job_config

from streampipeline.decide import Observed, State
from streampipeline.decide.actions import Action, PlanStart, RunEngine
from streampipeline.decide.observed import Health, Probe, StartPlan
from streampipeline.decide.state import Wanted
from streampipeline.jobconfig import EngineName, Origin
from streampipeline.local import run as local_run
from streampipeline.local.run import Run
from streampipeline.local.status import Status, StatusFile

UP = Probe(health=Health.UP)
WELL = Observed(kafka=UP, sink=UP, model=UP, flink=UP, dask=UP)
ORIGIN = Origin(boundary=5_000, offsets={0: 3})


class AtOnce:
    """An executor that has carried an action out before `apply` returns."""

    def __init__(self, carry_out: Callable[[Action], None], *_: object) -> None:
        self._carry_out = carry_out

    def apply(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            self._carry_out(action)

    def close(self) -> None:
        """Nothing goes on."""


class Loop(Run):
    """A run that has only what its loop needs, and stops at the first action of a kind."""

    def __init__(self, file: Path, observed: Observed, state: State, until: type[Action]) -> None:
        self.spec = job_config({"parquet": {"path": "unused", "tokenFile": "unused"}}).spec
        self.status_file = StatusFile(file)
        self.status = Status(uid="cafe", pipeline="p", fingerprint="f", state=state)
        self.stopping = False
        self.stored_then: State | None = None
        """What the file held when the action was carried out."""
        parts: Any = self
        parts.site = SimpleNamespace(keep_up=lambda: None)
        parts.stream = SimpleNamespace(began=False, over=False)
        parts.memory = SimpleNamespace(look=lambda: None)
        parts.ground = SimpleNamespace(
            observe=lambda _: observed, carry_out=self._carry_out, not_asked=lambda _: None
        )
        self._trace = None
        self._until = until

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, self._until):
            self.stopping = True
            text = self.status_file.path.read_text() if self.status_file.path.exists() else None
            self.stored_then = Status.model_validate_json(text).state if text else None

    def _follow_file(self) -> None:
        """There is none."""

    def _tell(self, *_: object) -> None:
        """Nobody looks on."""

    def _show(self, *_: object) -> None:
        """Nobody looks on."""

    @staticmethod
    def _pause(_: object) -> None:
        """Time does not matter."""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_run, "Executor", AtOnce)


def started(**changes: object) -> State:
    """A run that has just found its origin."""
    return State.initial(time.time_ns() // 1_000_000).model_copy(update={"origin": ORIGIN, **changes})


def test_an_epoch_is_in_the_file_before_it_is_planned_for(tmp_path: Path) -> None:
    state = started()
    loop = Loop(tmp_path / "state.json", WELL, state, PlanStart)
    loop.loop()
    assert loop.stored_then is not None
    assert loop.stored_then.wanted is not None
    assert loop.stored_then.epoch == loop.stored_then.wanted.epoch > 0


def test_an_assignment_is_in_the_file_before_its_engine_is_started(tmp_path: Path) -> None:
    wanted = Wanted(engine=EngineName.FLINK, epoch=7)
    state = started(epoch=7, wanted=wanted)
    plan = StartPlan(engine=EngineName.FLINK, epoch=7, boundary=5_000, offsets={0: 3})
    loop = Loop(tmp_path / "state.json", WELL.model_copy(update={"plan": plan}), state, RunEngine)
    loop.loop()
    assert loop.stored_then is not None
    assert loop.stored_then.flink is not None
    assert loop.stored_then.flink.assignment.epoch == 7
