"""What scenarios do to a stack, and what they look for."""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from faults import records
from faults.doors import HeldWrite
from faults.proxy import through
from faults.scenario import Moment, fallback
from faults.stack import Stack
from streampipeline.decide.state import ConditionStatus, Phase
from streampipeline.jobconfig import EngineName
from streampipeline.local.faults import FaultKind
from streampipeline.local.services import MODEL

# Flink


def freeze_with_a_write_on_its_way(stack: Stack) -> None:
    """The next write of Flink's stands still at the sink's door, and Flink with it."""
    stack.landings.bounced = 0
    stack.held_write = HeldWrite("flink", lambda: stack.injector.keep(FaultKind.FREEZE_FLINK))
    stack.sink_door.rule = stack.held_write.rule


def thaw(stack: Stack) -> None:
    """The write goes on, and Flink."""
    assert stack.held_write is not None
    stack.held_write.let_go()
    stack.sink_door.rule = through
    stack.injector.end(FaultKind.FREEZE_FLINK)


def fenced_and_repaired(moment: Moment) -> bool:
    """Dask has taken over, Flink is fenced, and a repair ran since."""
    state, repairs = moment.frame.state, moment.frame.observed.repairs
    fenced = all(retiring.fenced for retiring in state.retiring)
    done = repairs.rewound >= state.rewind.number and repairs.pending == 0 and not repairs.running
    return fallback(moment) and fenced and done


def bounced(moment: Moment) -> str:
    """Whether a write was refused because its token is gone."""
    return "" if moment.stack.landings.bounced else "no write was refused"


def break_checkpoints(stack: Stack) -> None:
    """Their folder is none: a checkpoint cannot be written."""
    shutil.rmtree(stack.checkpoints, ignore_errors=True)
    if not stack.checkpoints.exists():
        stack.checkpoints.write_text("in the way\n")


def mend_checkpoints(stack: Stack) -> None:
    """It can again."""
    stack.checkpoints.unlink(missing_ok=True)


def revoke_token(stack: Stack) -> None:
    """Somebody deletes the token of Flink's job in InfluxDB."""
    live = stack.status.state.flink
    assert live is not None
    stack.landings.bounced = 0
    nowhere = stack.workdir / "tokens" / "nowhere"
    stack.sink_admin.revoke(live.assignment.epoch, EngineName.FLINK, nowhere)


# Dask


def kill(name: str) -> Callable[[Stack], None]:
    """All processes whose names begin so, once."""

    def once(stack: Stack) -> None:
        for one in stack.processes.names(name):
            if stack.processes.alive(one):
                stack.signal(one, signal.SIGKILL)

    return once


def restarted_on_dask(moment: Moment) -> bool:
    """Dask is started anew."""
    return moment.told("EngineRestarted")


def worker_is_back(moment: Moment) -> bool:
    """All workers run."""
    return moment.frame.observed.dask_workers >= moment.frame.spec.fallback.dask.workers.max


# Model, source


def other_model(stack: Stack) -> None:
    """The same trees in another file, which therefore has another version."""
    other = stack.workdir / "other-model"
    shutil.copytree(stack.model.model_dir, other, dirs_exist_ok=True)
    with (other / "model.txt").open("a") as file:
        file.write("\n")
    stack.model.model_dir = other
    kill(MODEL)(stack)


def first_model(stack: Stack) -> None:
    """The model is the first one again."""
    stack.model.model_dir = Path(stack.runtime.model_server) / "models" / "nurse-stress"
    kill(MODEL)(stack)


def model_changed(moment: Moment) -> bool:
    """Another version than the generation's answers, and is waited out."""
    found = moment.frame.state.condition("ModelReady")
    return found is not None and found.reason == "ModelChanged"


def wake_a_new_partition(stack: Stack) -> None:
    """A partition is added, and has records at once."""
    partition = stack.add_partition()
    now = time.time_ns() // 1_000_000
    stack.send(partition, b"new", [records.reading("new", now) for _ in range(50)])


def late_records(stack: Stack) -> None:
    """A late record in each partition, as from a gateway that sends what it has kept."""
    kept = records.reading("gateway", time.time_ns() // 1_000_000 - 60_000)
    for partition in stack.ends():
        stack.send(partition, b"gateway", [kept])


def odd_records(stack: Stack) -> None:
    """One of each that is refused, and some that are late or early."""
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


def starve_and_cut(stack: Stack) -> None:
    """No engine can run; when records have come that none has read, all that is there is deleted."""
    if stack.cut:
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
        stack.cut, stack.cut_at = ends, time.time_ns() // 1_000_000


def stands(moment: Moment) -> bool:
    """Nothing goes on, and it is said."""
    return moment.frame.state.halt is not None and moment.condition("Exact", ConditionStatus.FALSE)


def all_gone_is_told(moment: Moment) -> str:
    """Each record that none had read is told; what came later is audited."""
    state = moment.frame.state
    moment.stack.begin_history_after(moment.stack.cut)
    told, least = state.lost_records, moment.stack.records_gone
    return "" if told >= least > 0 else f"{told} records are told to be gone, at least {least} are"
