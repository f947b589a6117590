"""Child processes of one run: none of them outlives it, however it ends.

Each child leads a session of its own, dies with the run (Linux' parent-death signal) and carries the run's
working directory in its environment, by which the next run finds and ends what a kill -9 left behind.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import structlog

MARKER = "STREAMPIPELINE_RUN_OWNER"
"""Environment variable of every child: the working directory of the run that started it."""

ENVIRONMENT = {
    # Compiled modules are kept, whatever the user's shell says: without them Flink's Python workers alone
    # spend most of their start on compiling.
    "PYTHONDONTWRITEBYTECODE": "",
}
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
log = structlog.get_logger()


def free_port() -> int:
    """A TCP port on loopback that is free now, below those that the system gives to outgoing connections.

    One of those could be taken by a connection before its server has started. Raises OSError.
    """
    with _bound_to_free_port() as probe:
        return _port(probe)


def _bound_to_free_port() -> socket.socket:
    for port in random.sample(range(20_000, 32_000), 200):
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
            return probe
        except OSError:
            probe.close()
    raise OSError("no free port on loopback between 20000 and 31999")


def _port(bound: socket.socket) -> int:
    number: int = bound.getsockname()[1]
    return number


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Child:
    """One started process and the file that holds what it prints."""

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path
    started: float

    @property
    def alive(self) -> bool:
        """Whether it has not ended; its own children are not asked."""
        return self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -N when signal N ended it."""
        return self.process.poll()

    def last_lines(self, count: int = 20) -> str:
        """The end of its log, for an error message."""
        with suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-count:])
        return ""


class Processes:
    """Starts, watches and ends the children of one run. Thread-safe."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir.resolve()
        self.held_down: set[str] = set()
        """Beginnings of names that a fault keeps down; who starts what is missing asks `missing`."""
        self._children: dict[str, Child] = {}
        self._reservations: list[socket.socket] = []
        self._lock = threading.Lock()
        # The parent-death signal follows the thread that forked: one thread, as long-lived as the run, forks.
        self._requests: queue.SimpleQueue[tuple[Callable[[], Child], Future[Child]] | None] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._spawn_loop, name="spawner", daemon=True).start()
        (self.workdir / "logs").mkdir(parents=True, exist_ok=True)

    def _spawn_loop(self) -> None:
        while (request := self._requests.get()) is not None:
            spawn, future = request
            try:
                future.set_result(spawn())
            except BaseException as error:
                future.set_exception(error)

    def reserve_port(self) -> int:
        """A free port, see `free_port`, that stays reserved until `stop_all`. Raises OSError.

        Its server may take it late, and again after a restart: neither this nor another run is given it.
        """
        reservation = _bound_to_free_port()
        # Bound, not listening, and willing to share: servers set this option too, `free_port` does not.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with self._lock:
            self._reservations.append(reservation)
        return _port(reservation)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        told: bool = False,
    ) -> Child:
        """Start a child under `name`, ending what ran under that name before. Raises OSError."""
        self.stop(name, grace_seconds=0)
        log_file = self.workdir / "logs" / f"{name}.log"

        def spawn() -> Child:
            with log_file.open("ab") as out:
                process = subprocess.Popen(
                    list(argv),
                    env={**os.environ, **ENVIRONMENT, **(env or {}), MARKER: str(self.workdir)},
                    cwd=cwd,
                    stdin=subprocess.PIPE if told else subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
            return Child(name, process, log_file, time.time())

        future: Future[Child] = Future()
        self._requests.put((spawn, future))
        child = future.result(timeout=30)
        with self._lock:
            self._children[name] = child
        log.debug("process.started", name=name, pid=child.process.pid)
        return child

    def tell(self, name: str, line: str, rename: str) -> bool:
        """Give a child that was started with `told` its one line, and a new name. False: it is not there."""
        child = self.get(name)
        if child is None or not child.alive or child.process.stdin is None:
            return False
        with self._lock:
            self._children[rename] = self._children.pop(name)
            child.name = rename
        try:
            child.process.stdin.write(line.encode() + b"\n")
            child.process.stdin.close()
        except BrokenPipeError:
            return False
        return True

    def get(self, name: str) -> Child | None:
        """The child last started under the name; None when there was none, or it was stopped."""
        with self._lock:
            return self._children.get(name)

    def alive(self, name: str) -> bool:
        """Whether a child of that name runs."""
        child = self.get(name)
        return child is not None and child.alive

    def missing(self, name: str) -> bool:
        """Whether no child of that name runs, and none is held down."""
        return not self.alive(name) and not name.startswith(tuple(self.held_down))

    def names(self, prefix: str = "") -> list[str]:
        """Names of the children not forgotten, running or not, in the order of their starts."""
        with self._lock:
            return [name for name in self._children if name.startswith(prefix)]

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a child and all that it started."""
        child = self.get(name)
        if child is not None:
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, number)

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """End a child and all that it started, SIGTERM, then SIGKILL after the grace, and forget it."""
        self.end(name, grace_seconds=grace_seconds)
        with self._lock:
            self._children.pop(name, None)

    def end(self, name: str, *, grace_seconds: float = 10) -> None:
        """As `stop`, but the child is remembered as one that has ended."""
        child = self.get(name)
        if child is None:
            return
        if grace_seconds > 0 and child.alive:
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(grace_seconds)
        # The leader may be gone and its own children (Flink's Python workers) not.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(10)

    def stop_all(self, *, grace_seconds: float = 5) -> None:
        """End every child, all at once, and give the reserved ports back."""
        names = self.names()
        for name in names:
            self.signal(name, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and any(self.alive(name) for name in names):
            time.sleep(0.05)
        for name in names:
            self.stop(name, grace_seconds=0)
        end_leftovers(self.workdir)
        with self._lock:
            while self._reservations:
                self._reservations.pop().close()


def last_json(text: str, key: str) -> dict[str, Any] | None:
    """The last line that is a JSON object with `key`; None: there is none."""
    for line in reversed(text.splitlines()):
        with suppress(json.JSONDecodeError):
            value = json.loads(line)
            if isinstance(value, dict) and key in value:
                return value
    return None


def end_leftovers(workdir: Path) -> int:
    """Kill every process that an earlier run in this working directory left; returns how many."""
    owner = str(workdir.resolve())
    ended = 0
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.environ().get(MARKER) == owner:
                process.kill()
                process.wait(5)
                ended += 1
        except (psutil.Error, OSError):
            continue
    return ended
