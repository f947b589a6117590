"""Faults on real processes: what is killed, what stays down, what is let go again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streampipeline.local.fault_injector import FaultInjector, FaultSchedule
from streampipeline.local.faults import FaultKind, parse_fault
from streampipeline.local.flink import JOBMANAGER, TASKMANAGER
from streampipeline.local.processes import Processes
from streampipeline.local.services import INFLUXDB

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT_CODE = """
import subprocess, sys, time
for _ in range(2):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)
"""
PARENT = [sys.executable, "-c", PARENT_CODE]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Ended with the test."""
    made = Processes(tmp_path)
    yield made
    made.stop_all(grace_seconds=0)


def gone(processes: Processes, name: str) -> bool:
    """Whether a killed process has ended."""
    child = processes.get(name)
    assert child is not None
    return child.process.wait(10) is not None


def ended(process: psutil.Process) -> bool:
    """Whether it runs no more; its parent may not have looked yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_what_is_killed_stays_down_until_the_fault_ends(processes: Processes) -> None:
    for name in (JOBMANAGER, TASKMANAGER):
        processes.start(name, SLEEP)
    injector = FaultInjector(processes)

    injector.keep(FaultKind.KILL_TASKMANAGER)

    assert gone(processes, TASKMANAGER)
    assert not processes.missing(TASKMANAGER), "it is held down"
    assert processes.alive(JOBMANAGER)
    injector.end(FaultKind.KILL_TASKMANAGER)
    assert processes.missing(TASKMANAGER)


def test_a_fault_that_ends_lets_go_of_nothing_that_another_holds(processes: Processes) -> None:
    faults = [parse_fault("kill-jobmanager@0s+5s"), parse_fault("kill-flink@3s+10s")]
    schedule = FaultSchedule(processes, faults, lambda _: None)

    schedule.apply(1)
    assert processes.held_down == {JOBMANAGER}
    schedule.apply(4)
    schedule.apply(6)
    assert processes.held_down == {JOBMANAGER, TASKMANAGER}
    assert not schedule.over(6)
    schedule.apply(13.1)
    assert processes.held_down == set()
    assert schedule.over(13.1)
    assert list(schedule.times) == ["kill-jobmanager@0s+5s", "kill-flink@3s+10s"]


def test_a_full_sink_cannot_make_its_files_larger_and_is_then_restarted(processes: Processes) -> None:
    child = processes.start(INFLUXDB, SLEEP)
    sink = psutil.Process(child.process.pid)
    injector = FaultInjector(processes)

    injector.keep(FaultKind.FULL_SINK)
    assert sink.rlimit(psutil.RLIMIT_FSIZE)[0] == 0
    injector.end(FaultKind.FULL_SINK)
    assert gone(processes, INFLUXDB)
    assert processes.missing(INFLUXDB)


def test_a_crashing_job_loses_its_python_workers_and_nothing_else(processes: Processes) -> None:
    child = processes.start(TASKMANAGER, PARENT)
    deadline = time.monotonic() + 20
    while "ready" not in child.last_lines() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = psutil.Process(child.process.pid).children()
    assert len(workers) == 2

    FaultInjector(processes).keep(FaultKind.CRASH_JOB)

    deadline = time.monotonic() + 10
    while not all(ended(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(ended(worker) for worker in workers)
    assert child.alive


def test_a_fault_of_a_part_that_does_not_run_changes_nothing(processes: Processes) -> None:
    injector = FaultInjector(processes)
    for kind in FaultKind:
        injector.keep(kind)
        injector.end(kind)
    assert processes.held_down == set()
