"""A Docker daemon: the one that answers, or one of our own.

Ours has its data in the cache and its socket under `/run/streampipeline`: another daemon started later
on the same machine is not disturbed, and in ours is only what we put there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from toolchain.console import Console
from toolchain.docker import Docker, client
from toolchain.prerequisites import require

RUN = Path("/run/streampipeline")  # on a temporary file system: gone after a reboot, like the daemon itself
SOCKET = f"unix://{RUN}/docker.sock"
START_SECONDS = 60
STOP_SECONDS = 30
SYS_RESOURCE = 24  # its number in linux/capability.h
PROGRAMS = ("docker", "dockerd", "iptables")


class EngineError(Exception):
    """There is no Docker daemon to use; the message is for the user."""


def find() -> Docker | None:
    """The daemon to use, if one runs: ours, or else the one that `docker` reaches by default."""
    program = client()
    if program is None:
        return None
    for docker in (Docker(program, SOCKET), Docker(program)):
        if (docker.host is None or Path(RUN / "docker.sock").exists()) and docker.answers():
            return docker
    return None


def find_or_start(cache: Path, wrapper: Path, console: Console) -> Docker:
    """The daemon that answers, or ours, started; what it needs is installed first where that is possible.

    Args:
        cache: the cache folder; the daemon's data go to `docker` in it.
        wrapper: the replacement of runc for machines without CAP_SYS_RESOURCE.
        console: where progress is told.

    Raises:
        EngineError: none answers and ours can't be started.
        MissingPrerequisiteError: Docker is not installed and this is not root on Debian.
    """
    found = find()
    if found is not None:
        return found
    if os.geteuid() != 0:
        raise EngineError(
            "no Docker daemon answers. Start one and let this user use it (group docker), "
            "or run this as root on Debian, which installs and starts one"
        )
    require(PROGRAMS, console, install=True)
    program = client()
    assert program is not None
    docker = Docker(program, SOCKET)
    _start(docker, cache, wrapper, console)
    return docker


def is_ours(docker: Docker) -> bool:
    """Whether this is the daemon that `find_or_start` starts."""
    return docker.host == SOCKET


def stop(console: Console) -> None:
    """Stop our daemon with its containers, if it runs; its images stay."""
    pid = _pid()
    if pid is None:
        return
    console.say("docker", "stopping the daemon")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _pid() is not None and time.monotonic() < deadline:
        time.sleep(0.2)


def lacks_sys_resource(status: str) -> bool:
    """Whether a process with this `/proc/<pid>/status` can't have CAP_SYS_RESOURCE, nor its children."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is not None and not int(found[1], 16) >> SYS_RESOURCE & 1


def _start(docker: Docker, cache: Path, wrapper: Path, console: Console) -> None:
    data, log = cache / "docker", cache / "logs/dockerd.log"
    for folder in (RUN, data, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    command = ["dockerd", "--host", SOCKET, "--pidfile", str(RUN / "docker.pid")]
    command += ["--data-root", str(data / "data"), "--exec-root", str(RUN / "exec")]
    if lacks_sys_resource(Path("/proc/self/status").read_text()):
        console.say("docker", "this machine withholds CAP_SYS_RESOURCE: containers run without it")
        runtime = data / "runc.py"
        shutil.copy(wrapper, runtime)  # the daemon outlives this checkout
        command += ["--add-runtime", f"tolerant={runtime}", "--default-runtime", "tolerant"]
    started = console.seconds
    if _pid() is None:
        (RUN / "docker.pid").unlink(missing_ok=True)  # of a daemon that was killed
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    while not docker.answers():
        if child.poll() is not None or console.seconds - started > START_SECONDS:
            raise EngineError(f"dockerd did not start; its log is {log}")
        time.sleep(0.2)
    console.say("docker", f"a daemon of our own answers at {SOCKET} after {console.seconds - started:.1f} s")


def _pid() -> int | None:
    try:
        pid = int((RUN / "docker.pid").read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if name == "dockerd" else None
