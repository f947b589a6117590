"""The faults, each with what must follow (docs/faults.md says why)."""

from __future__ import annotations

import signal
import time
from typing import Any

from faults import deeds
from faults.doors import nonsense, slowed
from faults.proxy import through
from faults.scenario import Right, Scenario, fallback
from streampipeline.decide.state import ConditionStatus
from streampipeline.local.faults import FaultKind
from streampipeline.local.services import DRIVER, SCHEDULER, WORKER
from streampipeline.local.stream import PRODUCER

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


RETENTION = Scenario(
    "retention-passed",
    Right.STOP,
    keep=deeds.starve_and_cut,
    heal=lambda stack: stack.control(accept_loss="what was said in that minute is on paper"),
    seen=deeds.stands,
    hold=45,
    within=90,
    shared=True,
    check=deeds.all_gone_is_told,
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
    _flag("flink-killed-warm", FaultKind.KILL_FLINK, Right.SWITCH, seen=fallback, hold=15, warm=True),
    _flag("model-down", FaultKind.STOP_MODEL, Right.WAIT, hold=12, shared=True,
          seen=lambda m: m.condition("ModelReady", FALSE)),
    _flag("taskmanager-killed", FaultKind.KILL_TASKMANAGER, Right.SWITCH, seen=fallback),
    _flag("sink-down", FaultKind.STOP_SINK, Right.WAIT, hold=15, shared=True,
          seen=lambda m: m.condition("SinkReady", FALSE)),
    Scenario(
        "flink-frozen",
        Right.SWITCH,
        inject=deeds.freeze_with_a_write_on_its_way,
        heal=deeds.thaw,
        seen=deeds.fenced_and_repaired,
        within=120,
        check=deeds.bounced,
    ),
    _flag("kafka-restarted", FaultKind.STOP_KAFKA, Right.WAIT, hold=8, shared=True,
          seen=lambda m: m.condition("SourceReady", FALSE)),
    Scenario("driver-killed", Right.RESTART, inject=deeds.kill(DRIVER), on_dask=True,
             seen=deeds.restarted_on_dask),
    DRILL,
    _flag("jobmanager-killed", FaultKind.KILL_JOBMANAGER, Right.SWITCH, seen=fallback),
    _flag("jobmanager-killed-warm", FaultKind.KILL_JOBMANAGER, Right.SWITCH, seen=fallback, warm=True),
    _flag("sink-full", FaultKind.FULL_SINK, Right.WAIT, hold=15, shared=True,
          seen=lambda m: m.condition("SinkReady", FALSE)),
    Scenario("worker-killed", Right.WAIT, inject=deeds.kill(f"{WORKER}-0"), on_dask=True, hold=5,
             seen=deeds.worker_is_back),
    Scenario("all-workers-killed", Right.WAIT, inject=deeds.kill(f"{WORKER}-"), on_dask=True, hold=5,
             seen=deeds.worker_is_back),
    Scenario(
        "token-revoked",
        Right.SWITCH,
        inject=deeds.revoke_token,
        seen=fallback,
        check=deeds.bounced,
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
    Scenario("scheduler-killed", Right.RESTART, inject=deeds.kill(SCHEDULER), on_dask=True, hold=15,
             seen=lambda m: m.frame.observed.dask.up),
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
        keep=deeds.break_checkpoints,
        heal=deeds.mend_checkpoints,
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
        inject=deeds.other_model,
        heal=deeds.first_model,
        seen=deeds.model_changed,
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
        "late-records-alone",
        Right.WAIT,
        inject=lambda stack: stack.signal(PRODUCER, signal.SIGSTOP),
        keep=deeds.late_records,
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
    Scenario("odd-records", Right.WAIT, inject=deeds.odd_records, hold=12),
    Scenario(
        "partition-added",
        Right.RESTART,
        inject=deeds.wake_a_new_partition,
        seen=lambda m: m.told("EngineRestarted"),
    ),
)  # fmt: skip
"""In the order in which `make faults` plays them; `make soak` begins again until its time is over."""
