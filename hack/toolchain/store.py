"""A cache of built pieces outside the checkout.

A piece lives in `<cache>/<name>-<key>`, where the key is a hash of all that the piece is made from. It is
built in a temporary folder and renamed when whole: a folder that exists is complete, whatever was aborted or
ran beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from toolchain.console import Console

HEARTBEAT_SECONDS = 15.0
TAIL_LINES = 25


class BuildError(Exception):
    """A piece could not be built; the message is for the user."""


@dataclass(frozen=True)
class Piece:
    """One thing to install: `inputs` (texts and hashes) decide its key, `build` fills its folder."""

    name: str
    inputs: tuple[str, ...]
    build: Callable[[Job], None]
    needs: tuple[Piece, ...] = ()
    tools: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits of a SHA-256 over the inputs and the keys of what the piece needs."""
        parts = (self.name, *self.inputs, *(need.key for need in self.needs))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Job:
    """What a build function gets: the folder to fill, the folders of its needs, a way to run programs."""

    name: str
    folder: Path
    needs: Mapping[str, Path]
    store: Store

    def say(self, text: str) -> None:
        """Print a progress line."""
        self.store.console.say(self.name, text)

    def run(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Run a program with its output in this piece's log file; `env` is added to the environment.

        Raises:
            BuildError: the program failed; the message ends with the last lines of its output.
        """
        self.store.run(self.name, command, cwd=cwd, env=env)


class Store:
    """The cache folder and the builds that fill it."""

    def __init__(self, root: Path, console: Console) -> None:
        self.root = root
        self.console = console
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopped = threading.Event()
        self._starting = threading.Lock()  # so that a child started while all are stopped is not overlooked

    def path(self, piece: Piece) -> Path:
        """The folder of a piece, whether it is there or not."""
        return self.root / f"{piece.name}-{piece.key}"

    def has(self, piece: Piece) -> bool:
        """Whether the piece is there, whole."""
        return self.path(piece).is_dir()

    def missing(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces to build, each after what it needs."""
        ordered: list[Piece] = []

        def visit(piece: Piece) -> None:
            if piece in ordered or self.has(piece):
                return
            for need in piece.needs:
                visit(need)
            ordered.append(piece)

        for piece in pieces:
            visit(piece)
        return ordered

    def install(self, pieces: Sequence[Piece]) -> None:
        """Build what is missing, independent pieces at the same time.

        Raises:
            BuildError: one piece failed; the others have been stopped.
        """
        missing = self.missing(pieces)
        if not missing:
            return
        done = {piece.name: threading.Event() for piece in missing}

        def build(piece: Piece) -> None:
            for need in piece.needs:
                while need.name in done and not done[need.name].wait(0.2):
                    if self._stopped.is_set():
                        return
            self._build(piece)
            done[piece.name].set()

        with ThreadPoolExecutor(len(missing)) as pool:
            futures = [pool.submit(build, piece) for piece in missing]
            for future in futures:
                future.add_done_callback(lambda ended: self._stop() if ended.exception() else None)
            try:
                for future in futures:
                    future.result()
            except KeyboardInterrupt:
                self._stop()
                raise
            except _StoppedError:
                # Stopped because another one failed: say what went wrong there.
                errors = [future.exception() for future in futures if future.done()]
                raise next(
                    error for error in errors if error and not isinstance(error, _StoppedError)
                ) from None

    def _build(self, piece: Piece) -> None:
        with self.lock(piece.name):
            if self.has(piece):
                return
            started = self.console.seconds
            self.console.say(piece.name, "building")
            building = self.root / "building" / piece.name
            shutil.rmtree(building, ignore_errors=True)  # we hold the lock: what is there was aborted
            building.mkdir(parents=True)
            folder = Path(tempfile.mkdtemp(dir=building))
            folder.chmod(0o755)
            needs = {need.name: self.path(need) for need in piece.needs}
            piece.build(Job(piece.name, folder, needs, self))
            folder.rename(self.path(piece))
            self.console.say(piece.name, f"ready after {self.console.seconds - started:.1f} s")

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock called `name` against other threads' and other processes' builds."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.console.say(name, "waiting for another build")
                while True:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if self._stopped.wait(0.5):
                            raise _StoppedError(name) from None
            yield

    def run(
        self, name: str, command: Sequence[str | Path], *, cwd: Path | None, env: Mapping[str, str] | None
    ) -> None:
        """Run a program for the piece called `name`; see `Job.run`."""
        log = self.root / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            with self._starting:
                if self._stopped.is_set():
                    raise _StoppedError(name)
                child = subprocess.Popen(
                    [str(word) for word in command],
                    cwd=cwd,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                self._children.add(child)
            try:
                self._wait(name, child, log)
            finally:
                self._children.discard(child)
        if self._stopped.is_set():
            raise _StoppedError(name)
        if child.returncode:
            shown = " ".join(str(word) for word in command)
            output_end = f"{_tail(log)}\n(all of it: {log})"
            raise BuildError(f"{name}: exit code {child.returncode} from: {shown}\n{output_end}")

    def _wait(self, name: str, child: subprocess.Popen[bytes], log: Path) -> None:
        started = time.monotonic()
        while True:
            try:
                child.wait(HEARTBEAT_SECONDS)
                return
            except subprocess.TimeoutExpired:
                last = _tail(log, 1).strip()[:90]
                shown = f": {last}" if last else ""
                self.console.say(name, f"still at it after {time.monotonic() - started:.0f} s{shown}")

    def _stop(self) -> None:
        with self._starting:
            self._stopped.set()
            for child in list(self._children):
                child.terminate()


class _StoppedError(BuildError):
    """This build was stopped because another one failed or the user interrupted."""


def _tail(log: Path, lines: int = TAIL_LINES) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
    return "\n".join(text.splitlines()[-lines:])


def hash_of(*paths: Path) -> str:
    """A SHA-256 over the files at `paths`, folders with all that is in them, names included."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(path.parent)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
