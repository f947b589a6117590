"""The Dask engine: `python -m streampipeline.engines.dask.driver CONFIG.json --scheduler tcp://...`.

It may stand by: all is imported and connected, and it waits to be told its file. With `-` for the file that
is one line on standard input, its path; a closed input ends it. With `--assignment FILE` the first argument
is a folder, and it waits until FILE holds the number of an epoch, and the folder that epoch's file.

Exit codes: 0 asked to stop (SIGTERM, SIGINT), 3 fenced, 1 error. Start-up is on the way from a failure to the
first result: what is heavy is imported after the signal handlers stand, and each phase is logged with its
seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streampipeline.jobconfig import JobConfig

STOPPED, FAILED, FENCED = 0, 1, 3
CONNECT_SECONDS = 30


class Phases:
    """Seconds since the process began, by phase."""

    def __init__(self) -> None:
        self._began = _process_start()
        self.seconds: dict[str, float] = {}

    def reached(self, phase: str) -> None:
        """Note that a phase is over."""
        self.seconds[phase] = round(time.clock_gettime(time.CLOCK_BOOTTIME) - self._began, 2)


def _process_start() -> float:
    """When the kernel started this process, in seconds since boot."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


Told = Callable[[], "JobConfig | None"]
"""Waits for the configuration; None: it is not going to come."""


def from_input() -> JobConfig | None:
    """Its path is one line on standard input; None: the input was closed."""
    from streampipeline.jobconfig import JobConfig

    line = sys.stdin.readline().strip()
    return JobConfig.load(Path(line)) if line else None


def from_assignment(folder: Path, assignment: Path, stop: threading.Event) -> JobConfig | None:
    """`assignment` will hold an epoch; None: asked to stop before."""
    from streampipeline.job_file import load_when_there
    from streampipeline.jobconfig import EngineName

    while not stop.wait(0.05):
        epoch = assignment.read_text().strip() if assignment.exists() else ""
        if epoch:
            return load_when_there(folder / f"{epoch}-{EngineName.DASK.value}.json")
    return None


def run(
    told: Told, scheduler: str, stop: threading.Event, phases: Phases, ready_file: Path | None = None
) -> int:
    """Runs one assignment; returns the exit code. `ready_file` is made when it has begun to read."""
    phases.reached("python")
    import structlog
    from distributed import Client

    from streampipeline.engines.dask.engine import Engine
    from streampipeline.jobconfig import EngineName
    from streampipeline.logs import configure
    from streampipeline.publish import Fenced, Publisher

    phases.reached("imports")
    configure()
    log = structlog.get_logger("streampipeline.dask")
    client: Any = Client(  # type: ignore[no-untyped-call]
        scheduler, timeout=CONNECT_SECONDS, set_as_default=False
    )
    phases.reached("scheduler")
    config = told()
    if config is None:
        client.close(timeout=1)
        return STOPPED
    phases.reached("assigned")
    log = log.bind(pipeline=config.pipeline, epoch=config.assignment.epoch)

    def first_publish() -> None:
        phases.reached("first_publish")
        log.info("dask.first_publish", seconds=phases.seconds)

    try:
        publisher = Publisher.open(config, source=EngineName.DASK, should_stop=stop.is_set)
        engine = Engine(config, client, publisher, stop, first_publish)
        phases.reached("ready")
        log.info(
            "dask.started",
            boundary=config.assignment.boundary,
            offsets=config.assignment.offsets,
            workers=len(client.nthreads()),
            seconds=phases.seconds,
        )
        if ready_file is not None:
            ready_file.touch()
        try:
            engine.run()
        finally:
            engine.close()
            publisher.close()
    except Fenced as fenced:
        log.error("dask.fenced", reason=str(fenced))
        return FENCED
    except Exception:
        log.exception("dask.failed")
        return FAILED
    finally:
        client.close(timeout=1)
    log.info("dask.stopped")
    return STOPPED


def main() -> int:
    """The command line. Returns the exit code."""
    phases = Phases()
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    parser = argparse.ArgumentParser(description="Run one assignment of the Dask engine.")
    parser.add_argument(
        "config", help="a JobConfig as JSON; -: stand by until its path comes on standard input"
    )
    parser.add_argument("--assignment", type=Path, help="file that will hold an epoch; CONFIG is a folder")
    parser.add_argument("--ready-file", type=Path, help="made when the engine has begun to read")
    parser.add_argument("--scheduler", required=True, help="address of the Dask scheduler, tcp://host:port")
    arguments = parser.parse_args()
    return run(_told(arguments, stop), arguments.scheduler, stop, phases, arguments.ready_file)


def _told(arguments: argparse.Namespace, stop: threading.Event) -> Told:
    if arguments.assignment is not None:
        return partial(from_assignment, Path(arguments.config), arguments.assignment, stop)
    if arguments.config == "-":
        return from_input
    return partial(_from_file, Path(arguments.config))


def _from_file(path: Path) -> JobConfig:
    from streampipeline.jobconfig import JobConfig

    return JobConfig.load(path)


if __name__ == "__main__":
    sys.exit(main())
