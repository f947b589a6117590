"""What the machine itself must have before anything can be installed, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from toolchain.console import Console


class MissingPrerequisiteError(Exception):
    """Something must be installed by the user; the message says what and how."""


@dataclass(frozen=True)
class Tool:
    """A program with its least version and the names of its packages in Debian 12."""

    needed: str
    packages: str
    version_command: tuple[str, ...] = ()
    at_least: tuple[int, ...] = ()

    def works(self, name: str) -> bool:
        """Whether the tool is there and new enough."""
        if name == "venv":
            return importlib.util.find_spec("ensurepip") is not None
        if shutil.which(name) is None:
            return False
        if not self.version_command:
            return True
        answer = subprocess.run(self.version_command, capture_output=True, text=True, check=False)
        found = re.search(r"(\d+)(?:\.(\d+))?", answer.stdout + answer.stderr)
        version = tuple(int(part or 0) for part in found.groups()) if found else ()
        return answer.returncode == 0 and version >= self.at_least


TOOLS = {
    "venv": Tool("Python's venv module", "python3-venv"),
    "java": Tool("Java 17 or newer", "openjdk-17-jdk-headless", ("java", "-version"), (17, 0)),
    "javac": Tool("a Java compiler, 17 or newer", "openjdk-17-jdk-headless", ("javac", "-version"), (17, 0)),
    "mvn": Tool("Maven 3", "maven"),
    "cc": Tool("a C compiler", "gcc libc6-dev"),
    "pkg-config": Tool("pkg-config", "pkg-config"),
    # An older Go can fetch a newer one by itself (see influxd.py).
    "go": Tool("Go 1.19 or newer", "golang-go", ("go", "version"), (1, 19)),
    # Debian 12's cargo is too old; what it builds browsers with is not.
    "cargo": Tool("Rust 1.80 or newer", "cargo-web rustc-web", ("cargo", "--version"), (1, 80)),
    "docker": Tool("a Docker client", "docker.io"),
    "dockerd": Tool("the Docker engine", "docker.io"),
    "iptables": Tool("iptables, for Docker's networks", "iptables"),
    "mmdebstrap": Tool("mmdebstrap, to make a Debian base image", "mmdebstrap"),
}


def require(names: Iterable[str], console: Console, *, install: bool = False) -> None:
    """Make sure that the tools called `names` work.

    With `install` or in continuous integration (`CI` is set), as root on Debian, what is missing is installed
    with apt-get.

    Raises:
        MissingPrerequisiteError: something is missing still.
    """
    missing = _missing(names)
    packages = _packages(missing)
    wanted = install or os.environ.get("CI")
    if packages and wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        console.say("apt-get", f"installing {' '.join(packages)}")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            check=False,
            env=quiet,
            stdout=subprocess.DEVNULL,
        )
        importlib.invalidate_caches()
        missing = _missing(missing)
        packages = _packages(missing)
    if missing:
        lines = ["missing on this machine:"] + [f"  - {TOOLS[name].needed}" for name in missing]
        lines.append(f"install with: sudo apt-get install --no-install-recommends {' '.join(packages)}")
        if "cargo" in missing:
            lines.append("Rust is for building influxd only: an influxd 2.x on PATH will do instead.")
        raise MissingPrerequisiteError("\n".join(lines))


def _missing(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if not TOOLS[name].works(name)]


def _packages(names: Iterable[str]) -> list[str]:
    return sorted({word for name in names for word in TOOLS[name].packages.split()})
