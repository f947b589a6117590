"""The Dask engine's process: `python -m streampipeline.engines.dask.driver CONFIG.json --scheduler tcp://...`.

With `-` for the file it stands by: all is imported and connected, and it waits for one line on standard
input, the path of its configuration. A closed input ends it.

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
from pathlib import Path
from types import FrameType
from typing import Any

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


def _told() -> Path | None:
    """Wait for the path of the configuration; None: the input was closed."""
    line = sys.stdin.readline().strip()
    return Path(line) if line else None


def run(config_file: Path | None, scheduler: str, stop: threading.Event, phases: Phases) -> int:
    """Runs one assignment; returns the exit code. `config_file` None: it is told on standard input."""
    phases.reached("python")
    import structlog
    from distributed import Client

    from streampipeline.engines.dask.engine import Engine
    from streampipeline.jobconfig import EngineName, JobConfig
    from streampipeline.logs import configure
    from streampipeline.publish import Fenced, Publisher

    phases.reached("imports")
    configure()
    log = structlog.get_logger("streampipeline.dask")
    client: Any = Client(  # type: ignore[no-untyped-call]
        scheduler, timeout=CONNECT_SECONDS, set_as_default=False
    )
    phases.reached("scheduler")
    config_file = config_file or _told()
    if config_file is None:
        client.close(timeout=1)
        return STOPPED
    phases.reached("assigned")
    config = JobConfig.load(config_file)
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
    parser.add_argument("--scheduler", required=True, help="address of the Dask scheduler, tcp://host:port")
    arguments = parser.parse_args()
    file = None if arguments.config == "-" else Path(arguments.config)
    return run(file, arguments.scheduler, stop, phases)


if __name__ == "__main__":
    sys.exit(main())
