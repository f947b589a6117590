"""Child processes of a run: real ones, and none that outlives it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from streampipeline.local.processes import MARKER, Child, Processes, end_leftovers, free_port

SLEEP = ["sleep", "300"]
WITH_ONE_OF_ITS_OWN = ["sh", "-c", "sleep 300 & echo $!; wait"]
"""A leader that prints the process id of what it started."""
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 300; done"]
RUN = """
import sys, pathlib, threading
from streampipeline.local.processes import Processes
child = Processes(pathlib.Path(sys.argv[1])).start("child", sys.argv[2:])
print(child.process.pid, file=sys.stderr, flush=True)
threading.Event().wait()
"""
"""A run that starts one child, says its process id, and goes on until it is killed."""


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Ended; perhaps still a zombie, where nobody collects orphans."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def printed(child: Child) -> str:
    until(child.last_lines, f"{child.name} printed nothing")
    return child.last_lines()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.stop_all(grace_seconds=0)


@pytest.fixture
def killed_run(tmp_path: Path) -> Iterator[Callable[[list[str]], int]]:
    """Start a run with one child, kill -9 the run, and return the child's process id."""
    runs: list[subprocess.Popen[str]] = []

    def start(argv: list[str]) -> int:
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path), *argv],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        runs.append(run)
        assert run.stderr is not None
        pid = int(run.stderr.readline())
        if argv is WITH_ONE_OF_ITS_OWN:
            log = tmp_path / "logs" / "child.log"
            until(lambda: log.exists() and log.read_text(), "the child printed nothing")
        run.kill()
        return pid

    yield start
    for run in runs:
        run.kill()
        run.communicate()
    end_leftovers(tmp_path)


def test_a_child_is_started_and_what_it_prints_is_kept(processes: Processes, tmp_path: Path) -> None:
    script = "echo out; echo err >&2; echo $GREETING; pwd"

    child = processes.start("c", ["sh", "-c", script], env={"GREETING": "hello"}, cwd=tmp_path)

    assert child.process.wait(10) == 0
    assert child.last_lines().splitlines() == ["out", "err", "hello", str(tmp_path)]
    assert child.last_lines(1) == str(tmp_path)
    assert child.log_file == tmp_path / "logs" / "c.log"
    assert (child.alive, child.exit_code) == (False, 0)
    assert not processes.alive("c")


def test_a_child_leads_a_session_and_carries_the_mark_of_its_run(processes: Processes) -> None:
    child = processes.start("c", SLEEP)

    assert processes.alive("c")
    assert processes.get("c") is child
    assert os.getsid(child.process.pid) == child.process.pid
    assert psutil.Process(child.process.pid).environ()[MARKER] == str(processes.workdir)


def test_a_program_that_is_not_there_is_an_error_and_the_next_start_works(processes: Processes) -> None:
    with pytest.raises(FileNotFoundError):
        processes.start("c", ["/no/such/program"])

    assert processes.get("c") is None
    assert processes.start("c", SLEEP).alive


def test_stop_ends_a_child_with_its_own_children_and_forgets_it(processes: Processes) -> None:
    child = processes.start("c", WITH_ONE_OF_ITS_OWN)
    inner = int(printed(child))

    processes.stop("c")

    until(lambda: gone(inner), "the child's own child is left")
    assert child.exit_code == -signal.SIGTERM
    assert processes.names() == []


def test_what_an_ended_child_left_behind_is_ended_too(processes: Processes) -> None:
    child = processes.start("c", ["sh", "-c", "sleep 300 & echo $!"])
    inner = int(printed(child))
    assert child.process.wait(10) == 0
    assert not gone(inner)

    processes.stop("c")

    until(lambda: gone(inner), "the orphan is left")


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(processes: Processes) -> None:
    child = processes.start("c", STUBBORN)
    printed(child)

    processes.stop("c", grace_seconds=0.1)

    assert child.exit_code == -signal.SIGKILL


def test_an_ended_child_is_remembered_as_one_that_has_ended(processes: Processes) -> None:
    processes.start("driver-1", SLEEP)
    processes.start("worker-1", SLEEP)

    processes.end("driver-1")
    processes.end("no such name")

    assert not processes.alive("driver-1")
    assert processes.names() == ["driver-1", "worker-1"]
    assert processes.names("driver-") == ["driver-1"]
    assert processes.alive("worker-1")


def test_a_start_under_the_same_name_ends_what_ran_before(processes: Processes) -> None:
    first = processes.start("c", SLEEP)

    second = processes.start("c", SLEEP)

    assert not first.alive
    assert second.alive
    assert processes.names() == ["c"]


def test_signals_reach_a_child_and_its_own_children(processes: Processes) -> None:
    child = processes.start("c", WITH_ONE_OF_ITS_OWN)
    pids = [child.process.pid, int(printed(child))]

    processes.signal("c", signal.SIGSTOP)
    until(lambda: {psutil.Process(pid).status() for pid in pids} == {psutil.STATUS_STOPPED}, "not stopped")
    processes.signal("c", signal.SIGCONT)

    until(lambda: all(psutil.Process(pid).status() != psutil.STATUS_STOPPED for pid in pids), "still stopped")
    processes.signal("no such name", signal.SIGKILL)


def test_a_child_outlives_the_thread_that_asked_for_it(processes: Processes) -> None:
    thread = threading.Thread(target=lambda: processes.start("c", SLEEP))
    thread.start()
    thread.join()
    child = processes.get("c")
    assert child is not None

    with pytest.raises(subprocess.TimeoutExpired):
        child.process.wait(0.3)


def test_stop_all_ends_everything_even_what_left_its_session(processes: Processes) -> None:
    children = [processes.start(f"c{number}", SLEEP) for number in range(3)]
    deserter = processes.start("d", ["sh", "-c", "setsid sleep 300 & echo $!; wait"])
    inner = int(printed(deserter))

    processes.stop_all()

    assert [child.alive for child in children] == [False] * 3
    assert processes.names() == []
    until(lambda: gone(inner), "what left the session is left")


def test_a_child_dies_with_a_run_that_is_killed(killed_run: Callable[[list[str]], int]) -> None:
    pid = killed_run(SLEEP)

    until(lambda: gone(pid), "the child outlived the run")


def test_the_next_run_finds_by_the_mark_what_a_killed_run_left(
    killed_run: Callable[[list[str]], int], tmp_path: Path
) -> None:
    leader = killed_run(WITH_ONE_OF_ITS_OWN)
    inner = int((tmp_path / "logs" / "child.log").read_text())
    until(lambda: gone(leader), "the leader outlived the run")
    assert not gone(inner), "the parent-death signal does not reach it: this is what the mark is for"

    assert end_leftovers(tmp_path / "another") == 0
    assert not gone(inner)
    end_leftovers(tmp_path)
    assert gone(inner)
    assert end_leftovers(tmp_path) == 0


def test_a_free_port_can_be_listened_on_and_is_no_port_of_outgoing_connections() -> None:
    port = free_port()

    assert 20_000 <= port < 32_000
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: int = server.getsockname()[1]
        monkeypatch.setattr(random, "sample", lambda *_: [taken, free])
        assert free_port() == free

        monkeypatch.setattr(random, "sample", lambda *_: [taken])
        with pytest.raises(OSError, match="no free port"):
            free_port()


def test_a_reserved_port_is_its_servers_from_the_first_start_to_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    processes = Processes(tmp_path)
    reserved = processes.reserve_port()
    other = free_port()
    monkeypatch.setattr(random, "sample", lambda *_: [reserved, other])

    assert free_port() == other
    for _restart in range(2):
        with socket.create_server(("127.0.0.1", reserved)):
            assert free_port() == other
    processes.stop_all()
    assert free_port() == reserved
