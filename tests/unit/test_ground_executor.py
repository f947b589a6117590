"""Carrying actions out: at most once at a time, again after errors, and no longer than asked for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from streampipeline.decide.actions import (
    Action,
    FixOrigin,
    Repair,
    RunEngine,
    ScaleDask,
    StopEngine,
)
from streampipeline.ground import RETRY_MOST_SECONDS, Executor, identity
from streampipeline.jobconfig import Assignment, EngineName

REPAIR = Repair(until=5_000, generation=1)


def run_engine(epoch: int, engine: EngineName = EngineName.FLINK) -> RunEngine:
    assignment = Assignment(engine=engine, epoch=epoch, generation=1, boundary=0, offsets={})
    return RunEngine(assignment=assignment)


@dataclass
class Effects:
    """Carries actions out in its own time: each waits until it is let go on."""

    begun: queue.SimpleQueue[Action] = field(default_factory=queue.SimpleQueue)
    go_on: threading.Event = field(default_factory=threading.Event)
    over: list[Action] = field(default_factory=list)
    unasked: list[type[Action]] = field(default_factory=list)

    def carry_out(self, action: Action) -> None:
        self.begun.put(action)
        self.go_on.wait(10)
        self.over.append(action)


@pytest.fixture
def effects() -> Iterator[Effects]:
    made = Effects()
    yield made
    made.go_on.set()


@pytest.fixture
def executor(effects: Effects) -> Iterator[Executor]:
    made = Executor(effects.carry_out, effects.unasked.append, [Repair])
    yield made
    made.close()


class AtOnce:
    """A pool that runs what it is given before `submit` returns."""

    def submit(self, call: Callable[..., None], *arguments: object) -> None:
        call(*arguments)


@dataclass
class Failing:
    """Fails until told otherwise; time is what a test says it is."""

    fails: bool = True
    now: float = 1_000.0
    calls: int = 0

    def carry_out(self, _: Action) -> None:
        self.calls += 1
        if self.fails:
            raise ConnectionError("refused")

    def tried(self, executor: Executor, action: Action = REPAIR) -> bool:
        """Whether an application of the action carried it out."""
        before = self.calls
        executor.apply([action])
        return self.calls > before


@pytest.fixture
def failing() -> Failing:
    return Failing()


@pytest.fixture
def at_once(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> Executor:
    monkeypatch.setattr("streampipeline.ground.ThreadPoolExecutor", lambda **_: AtOnce())
    return Executor(failing.carry_out, lambda _: None, [], clock=lambda: failing.now)


def test_an_action_that_goes_on_is_not_begun_again(executor: Executor, effects: Effects) -> None:
    executor.apply([run_engine(1)])
    assert effects.begun.get(timeout=10) == run_engine(1)

    executor.apply([run_engine(1)])
    executor.apply([run_engine(1), FixOrigin()])

    # Begun in the order of being asked for: a second start would stand before this one.
    assert effects.begun.get(timeout=10) == FixOrigin()
    assert effects.begun.empty()


def test_an_action_that_is_over_is_begun_again_when_asked_for(executor: Executor, effects: Effects) -> None:
    effects.go_on.set()
    for _ in range(3):
        deadline = time.monotonic() + 10
        while effects.begun.empty():
            assert time.monotonic() < deadline
            executor.apply([run_engine(1)])
            time.sleep(0.001)
        effects.begun.get()


def test_other_engines_epochs_and_kinds_are_carried_out_beside_it(
    executor: Executor, effects: Effects
) -> None:
    together: list[Action] = [
        run_engine(1),
        run_engine(2),
        run_engine(1, EngineName.DASK),
        StopEngine(engine=EngineName.FLINK, epoch=1),
        ScaleDask(workers=1),
    ]

    executor.apply(together)

    begun = [effects.begun.get(timeout=10) for _ in together]
    assert sorted(map(identity, begun)) == sorted(map(identity, together))


def test_what_an_action_asks_in_detail_is_not_part_of_its_identity() -> None:
    assert identity(ScaleDask(workers=1)) == identity(ScaleDask(workers=2))
    assert identity(run_engine(1)) != identity(run_engine(2))
    assert identity(run_engine(1)) != identity(run_engine(1, EngineName.DASK))
    assert identity(run_engine(1)) != identity(StopEngine(engine=EngineName.FLINK, epoch=1))


def test_apply_does_not_wait(executor: Executor, effects: Effects) -> None:
    executor.apply([run_engine(1)])

    assert effects.begun.get(timeout=10) == run_engine(1)
    assert effects.over == []


def test_pauses_after_errors_grow_up_to_a_limit(at_once: Executor, failing: Failing) -> None:
    assert failing.tried(at_once)
    for pause in (0.5, 1, 2, 4, 8, RETRY_MOST_SECONDS, RETRY_MOST_SECONDS):
        failing.now += pause - 0.125
        assert not failing.tried(at_once), f"again before {pause} s were over"
        failing.now += 0.125
        assert failing.tried(at_once), f"not again after {pause} s"


def test_a_success_ends_the_pauses(at_once: Executor, failing: Failing) -> None:
    assert failing.tried(at_once)
    failing.now += 60
    failing.fails = False

    assert failing.tried(at_once)
    assert failing.tried(at_once)

    failing.fails = True
    assert failing.tried(at_once)
    failing.now += 0.5
    assert failing.tried(at_once), "the first error after a success is a first error"


def test_errors_of_one_action_do_not_delay_another(at_once: Executor, failing: Failing) -> None:
    assert failing.tried(at_once, run_engine(1))

    assert failing.tried(at_once, run_engine(2))
    assert not failing.tried(at_once, run_engine(1))


def test_what_is_not_asked_for_is_said_for_the_watched_kinds_only(
    executor: Executor, effects: Effects
) -> None:
    executor.apply([ScaleDask(workers=1)])
    assert effects.unasked == [Repair]

    executor.apply([REPAIR])
    assert effects.unasked == [Repair]

    executor.apply([])
    assert effects.unasked == [Repair, Repair]


def test_what_cannot_be_ended_keeps_no_action_back(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: type[Action]) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr("streampipeline.ground.ThreadPoolExecutor", lambda **_: AtOnce())
    executor = Executor(failing.carry_out, refuse, [Repair])
    assert failing.tried(executor, ScaleDask(workers=1))
