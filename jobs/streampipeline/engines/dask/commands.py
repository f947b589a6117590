"""Command lines of the Dask cluster's processes and of the driver. Pure; a ground starts and ends them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PRELOAD = "streampipeline.engines.dask.preload"


def environment() -> Mapping[str, str]:
    """What scheduler, workers and driver need in their environment."""
    return {
        # A task is pure: however many workers died under it, it is run again.
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "100",
        # A killed worker is noticed by its closed connection; this is for one that hangs.
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
        # Results are a few KB each: work must not wander off from the reader that stands at the right offset.
        "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
        # One thread a worker is the unit of parallelism.
        "POLARS_MAX_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        # Whatever the shell says: without bytecode each start of a driver compiles its libraries anew (2 s).
        "PYTHONDONTWRITEBYTECODE": "",
    }


def scheduler(
    python: Path | str, *, port: int, host: str = "127.0.0.1", http_port: int | None = None
) -> list[str]:
    """The scheduler, without dashboard and without any file of its own.

    `http_port`: where Dask's operator asks it to let workers go.
    """
    http = [] if http_port is None else ["--dashboard-address", f"{host}:{http_port}"]
    return [
        str(python), "-m", "distributed.cli.dask_scheduler",
        "--host", host, "--port", str(port), "--no-dashboard", "--no-show", *http,
    ]  # fmt: skip


def worker(
    python: Path | str,
    *,
    scheduler: str,
    name: str,
    directory: Path | str,
    host: str = "127.0.0.1",
    memory_limit: str = "1GiB",
) -> list[str]:
    """One worker, one thread, no nanny: when it dies it stays dead, and its ground decides what follows.

    It ends by itself when the scheduler is gone for a minute. `directory`: scratch space.
    """
    return [
        str(python), "-m", "distributed.cli.dask_worker", scheduler,
        "--name", name, "--host", host, "--nthreads", "1", "--nworkers", "1", "--no-nanny",
        "--no-dashboard", "--memory-limit", memory_limit, "--death-timeout", "60",
        "--local-directory", str(directory), "--preload", PRELOAD,
    ]  # fmt: skip


def driver(python: Path | str, *, config: Path | str, scheduler: str) -> list[str]:
    """The driver of one assignment. Exit codes: 0 asked to stop, 3 fenced, 1 error."""
    return [
        str(python), "-m", "streampipeline.engines.dask.driver", str(config), "--scheduler", scheduler,
    ]  # fmt: skip
