"""The faults, each with what must follow (docs/faults.md says why)."""

from __future__ import annotations

import math
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from faults import records
from faults.doors import HeldWrite, nonsense, slowed
from faults.proxy import through
from faults.scenario import Moment, Right, Scenario, fallback
from faults.stack import Stack
from streampipeline.decide.state import ConditionStatus, Phase
from streampipeline.jobconfig import EngineName
from streampipeline.local.faults import FaultKind
from streampipeline.local.run import PRODUCER
from streampipeline.local.services import DRIVER, MODEL, SCHEDULER, WORKER

FALSE = ConditionStatus.FALSE


def _flag(name: str, kind: FaultKind, right: Right, **more: Any) -> Scenario:
    """A fault that `--fault` knows."""
    return Scenario(
        name,
        right,
        keep=lambda stack: stack.injector.keep(kind),
        heal=lambda stack: stack.injector.end(kind),
        **more,
    )


# Flink


def _freeze_with_a_write_on_its_way(stack: Stack) -> None:
    """The next write of Flink's stands still at the sink's door, and Flink with it."""
    stack.held_write = HeldWrite("flink", lambda: stack.injector.keep(FaultKind.FREEZE_FLINK))
    stack.sink_door.rule = stack.held_write.rule


def _thaw(stack: Stack) -> None:
    assert stack.held_write is not None
    stack.held_write.let_go()
    stack.sink_door.rule = through
    stack.injector.end(FaultKind.FREEZE_FLINK)


def _fenced_and_repaired(moment: Moment) -> bool:
    """Dask has taken over, Flink is fenced, and a repair ran since."""
    state, repairs = moment.frame.state, moment.frame.observed.repairs
    fenced = all(retiring.fenced for retiring in state.retiring)
    done = repairs.rewound >= state.rewind.number and repairs.pending == 0 and not repairs.running
    return fallback(moment) and fenced and done


def _bounced(moment: Moment) -> str:
    return "" if moment.stack.landings.bounced else "no write was refused"


def _break_checkpoints(stack: Stack) -> None:
    shutil.rmtree(stack.checkpoints, ignore_errors=True)
    if not stack.checkpoints.exists():
        stack.checkpoints.write_text("in the way\n")


def _mend_checkpoints(stack: Stack) -> None:
    stack.checkpoints.unlink(missing_ok=True)


def _revoke_token(stack: Stack) -> None:
    live = stack.status.state.flink
    assert live is not None
    nowhere = stack.workdir / "tokens" / "nowhere"
    stack.sink_admin.revoke(live.assignment.epoch, EngineName.FLINK, nowhere)


# Dask


def _kill(name: str) -> Any:
    def kill(stack: Stack) -> None:
        for one in stack.processes.names(name):
            if stack.processes.alive(one):
                stack.signal(one, signal.SIGKILL)

    return kill


def _restarted_on_dask(moment: Moment) -> bool:
    return moment.told("EngineRestarted")


def _worker_is_back(moment: Moment) -> bool:
    return moment.frame.observed.dask_workers >= moment.frame.spec.fallback.dask.workers.max


# Model, source


def _other_model(stack: Stack) -> None:
    """The same trees in another file, which therefore has another version."""
    other = stack.workdir / "other-model"
    shutil.copytree(stack.model.model_dir, other, dirs_exist_ok=True)
    with (other / "model.txt").open("a") as file:
        file.write("\n")
    stack.model.model_dir = other
    _kill(MODEL)(stack)


def _first_model(stack: Stack) -> None:
    stack.model.model_dir = Path(stack.runtime.model_server) / "models" / "nurse-stress"
    _kill(MODEL)(stack)


def _model_changed(moment: Moment) -> bool:
    found = moment.frame.state.condition("ModelReady")
    return found is not None and found.reason == "ModelChanged"


def _wake_a_new_partition(stack: Stack) -> None:
    partition = stack.add_partition()
    now = time.time_ns() // 1_000_000
    stack.send(partition, b"new", [records.reading("new", now) for _ in range(50)])


def _odd_records(stack: Stack) -> None:
    now = time.time_ns() // 1_000_000
    good = records.reading("odd", now)
    stack.send(
        0,
        b"odd",
        [
            good[:-3],
            records.reading("", now),
            records.reading("odd", now, HR=math.nan),
            records.reading("odd", now, HR=1e12),
            records.reading("odd", now - 7_200_000),
            records.reading("odd", now + 120_000),
            records.reading("odd", now - 60_000),
            records.reading("odd", now + 20_000),
            records.reading("odd", now - 1_000),
        ],
    )


# Retention


UNREAD_SECONDS = 12


def _starve_and_cut(stack: Stack) -> None:
    """No engine can run; when records have come that none has read, all that is there is deleted."""
    if stack.records_gone:
        return
    state = stack.status.state
    unread = state.phase is Phase.TRIGGERING and time.time() > state.timers.phase / 1000 + UNREAD_SECONDS
    for kind in (FaultKind.KILL_FLINK, FaultKind.KILL_DASK):
        if unread:
            stack.injector.end(kind)
        else:
            stack.injector.keep(kind)
    if unread:
        ends, read = stack.ends(), stack.ground.look.committed[EngineName.FLINK]
        stack.records_gone = sum(end - read[partition] for partition, end in ends.items())
        stack.delete_records(ends)


def _stands(moment: Moment) -> bool:
    return moment.frame.state.halt is not None and moment.condition("Exact", FALSE)


def _all_gone_is_told(moment: Moment) -> str:
    """Each record that none had read is told; what came later is audited."""
    state = moment.frame.state
    moment.stack.begin_history_at(next(h.epoch for h in state.hand_overs if h.target is EngineName.DASK))
    told, least = state.lost_records, moment.stack.records_gone
    return "" if told >= least > 0 else f"{told} records are told to be gone, at least {least} are"


RETENTION = Scenario(
    "retention-passed",
    Right.STOP,
    keep=_starve_and_cut,
    heal=lambda stack: stack.control(accept_loss="what was said in that minute is on paper"),
    seen=_stands,
    hold=45,
    within=90,
    shared=True,
    check=_all_gone_is_told,
)
"""Plays alone: of what is gone there is no audit."""
DRILL = Scenario(
    "drill",
    Right.SWITCH,
    inject=lambda stack: stack.control(drill=str(time.time_ns())),
    seen=fallback,
)
QUIET = Scenario("quiet", Right.WAIT, hold=40)
"""Nothing happens: what is usual."""

SCENARIOS = (
    QUIET,
    _flag("flink-killed", FaultKind.KILL_FLINK, Right.SWITCH, seen=fallback, hold=15),
    _flag("model-down", FaultKind.STOP_MODEL, Right.WAIT, hold=12, shared=True,
          seen=lambda m: m.condition("ModelReady", FALSE)),
    _flag("taskmanager-killed", FaultKind.KILL_TASKMANAGER, Right.SWITCH, seen=fallback),
    _flag("sink-down", FaultKind.STOP_SINK, Right.WAIT, hold=15, shared=True,
          seen=lambda m: m.condition("SinkReady", FALSE)),
    Scenario(
        "flink-frozen",
        Right.SWITCH,
        inject=_freeze_with_a_write_on_its_way,
        heal=_thaw,
        seen=_fenced_and_repaired,
        within=120,
        check=_bounced,
    ),
    _flag("kafka-restarted", FaultKind.STOP_KAFKA, Right.WAIT, hold=8, shared=True,
          seen=lambda m: m.condition("SourceReady", FALSE)),
    Scenario("driver-killed", Right.RESTART, inject=_kill(DRIVER), on_dask=True, seen=_restarted_on_dask),
    DRILL,
    _flag("jobmanager-killed", FaultKind.KILL_JOBMANAGER, Right.SWITCH, seen=fallback),
    _flag("sink-full", FaultKind.FULL_SINK, Right.WAIT, hold=15, shared=True,
          seen=lambda m: m.condition("SinkReady", FALSE)),
    Scenario("worker-killed", Right.WAIT, inject=_kill(f"{WORKER}-0"), on_dask=True, hold=5,
             seen=_worker_is_back),
    Scenario(
        "token-revoked",
        Right.SWITCH,
        inject=_revoke_token,
        seen=fallback,
        check=_bounced,
    ),
    Scenario(
        "model-nonsense",
        Right.WAIT,
        inject=lambda stack: setattr(stack.model_door, "rule", nonsense),
        heal=lambda stack: setattr(stack.model_door, "rule", through),
        hold=12,
        shared=True,
        seen=lambda m: m.condition("ModelReady", FALSE),
    ),
    Scenario("scheduler-killed", Right.RESTART, inject=_kill(SCHEDULER), on_dask=True,
             seen=_restarted_on_dask),
    _flag("job-crashes", FaultKind.CRASH_JOB, Right.SWITCH, seen=fallback),
    Scenario(
        "sink-slow",
        Right.WAIT,
        inject=lambda stack: setattr(stack.sink_door, "rule", slowed(1.0)),
        heal=lambda stack: setattr(stack.sink_door, "rule", through),
        hold=15,
    ),
    Scenario(
        "checkpoints-fail",
        Right.SWITCH,
        keep=_break_checkpoints,
        heal=_mend_checkpoints,
        seen=fallback,
        within=90,
    ),
    Scenario(
        "model-slow",
        Right.WAIT,
        inject=lambda stack: setattr(stack.model_door, "rule", slowed(1.0)),
        heal=lambda stack: setattr(stack.model_door, "rule", through),
        hold=15,
    ),
    Scenario(
        "model-changed",
        Right.WAIT,
        inject=_other_model,
        heal=_first_model,
        seen=_model_changed,
        within=45,
        shared=True,
    ),
    Scenario(
        "source-silent",
        Right.WAIT,
        inject=lambda stack: stack.signal(PRODUCER, signal.SIGSTOP),
        heal=lambda stack: stack.signal(PRODUCER, signal.SIGCONT),
        hold=30,
        shared=True,
    ),
    Scenario(
        "clock-ahead",
        Right.WAIT,
        inject=lambda stack: stack.set_clock(120),
        heal=lambda stack: stack.set_clock(0),
        hold=25,
    ),
    Scenario(
        "clock-behind",
        Right.WAIT,
        inject=lambda stack: stack.set_clock(-120),
        heal=lambda stack: stack.set_clock(0),
        hold=25,
    ),
    Scenario("odd-records", Right.WAIT, inject=_odd_records, hold=12),
    Scenario(
        "partition-added",
        Right.RESTART,
        inject=_wake_a_new_partition,
        seen=lambda m: m.told("EngineRestarted"),
    ),
)  # fmt: skip
"""In the order in which `make faults` plays them; `make soak` begins again until its time is over."""
