"""The working directory of a run: one run at a time, emptied or gone on with."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

LOCK = ".lock"


class WorkdirInUseError(Exception):
    """Another run is at work in the directory."""


class WorkdirLock:
    """Held from the moment it is made until `release`, or until the process ends, however it does."""

    def __init__(self, workdir: Path) -> None:
        """Raises WorkdirInUseError, OSError."""
        workdir.mkdir(parents=True, exist_ok=True)
        self._file = (workdir / LOCK).open("a+")
        os.set_inheritable(self._file.fileno(), False)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise WorkdirInUseError(
                f"another run is at work in {workdir}: stop it, or name another directory with --workdir"
            ) from None

    def release(self) -> None:
        """Let the next run in."""
        self._file.close()


def empty(workdir: Path) -> None:
    """Remove all but the lock."""
    for entry in workdir.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink()
