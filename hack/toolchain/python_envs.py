"""Virtual environments, installed by uv from the hashed lists in `requirements/`."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from toolchain.store import Job, Piece, hash_of

# What a key must say of the interpreter: an environment points at the one it was made with.
_INTERPRETER = f"{os.path.realpath(sys.executable)} {platform.python_version()} {platform.machine()}"


def uv(requirements: Path) -> Piece:
    """The installer itself: `bin/uv`, from `bootstrap.txt`."""
    lock = requirements / "bootstrap.txt"

    def build(job: Job) -> None:
        job.run([sys.executable, "-m", "venv", job.folder])
        command: list[str | Path] = [job.folder / "bin/python", "-m", "pip", "install", "--quiet"]
        job.run([*command, "--require-hashes", "--only-binary=:all:", "-r", lock])

    return Piece("uv", (_INTERPRETER, hash_of(lock, Path(__file__))), build, tools=("venv",))


def environment(name: str, lock: Path, installer: Piece) -> Piece:
    """A virtual environment with exactly what `lock` lists."""
    build_lock = lock.parent / "build.txt"

    def build(job: Job) -> None:
        program = job.needs[installer.name] / "bin/uv"
        env = uv_settings(job.needs[installer.name])
        # Relocatable: scripts find their interpreter beside them, so that the folder may be renamed.
        job.run(
            [program, "venv", "--quiet", "--relocatable", "--python", sys.executable, job.folder], env=env
        )
        job.say(f"downloading and installing {lock.name}")
        command: list[str | Path] = [program, "pip", "install", "--no-progress", "--require-hashes"]
        command += ["--build-constraints", build_lock, "--python", job.folder / "bin/python", "-r", lock]
        job.run(command, env=env)

    inputs = (_INTERPRETER, hash_of(lock, build_lock, Path(__file__)))
    return Piece(name, inputs, build, needs=(installer,))


def uv_settings(installer: Path) -> dict[str, str]:
    """Environment variables that make uv use what pip uses on this machine: its index and certificates."""
    settings = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": "300"}
    if not os.environ.get("UV_DEFAULT_INDEX"):
        command = [str(installer / "bin/python"), "-m", "pip", "config", "list"]
        listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        # Lines are `global.index-url='...'`; later ones (the environment's) win.
        indexes = re.findall(r"^(?:global|install|:env:)\.index-url='(.*)'$", listing, re.MULTILINE)
        if indexes:
            settings["UV_DEFAULT_INDEX"] = indexes[-1]
    return settings
