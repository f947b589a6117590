"""Flink's processes for a test: a session cluster, and the job of one assignment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.dask_ground import REPOSITORY, Ground, await_

from streampipeline.engines.flink import sql
from streampipeline.jobconfig import JobConfig
from streampipeline.local.flink import FlinkProcesses


@contextmanager
def flink_cluster(ground: Ground, slots: int = 2) -> Iterator[FlinkProcesses]:
    """A session cluster on loopback; ends with the ground's processes."""
    runtime = Path(os.environ.get("STREAMPIPELINE_RUNTIME", REPOSITORY / "build" / "runtime"))
    flink = FlinkProcesses(
        ground.processes,
        home=(runtime / "flink").resolve(),
        python=runtime / "flink-venv" / "bin" / "python",
        python_path=str(REPOSITORY / "jobs"),
        slots=slots,
    )
    flink.ensure()
    await_("the SQL gateway answers", flink.gateway.ready, 120)
    await_("the TaskManager is registered", lambda: flink.slots() >= slots, 120)
    try:
        yield flink
    finally:
        flink.stop()


def submit(ground: Ground, flink: FlinkProcesses, config: JobConfig) -> str:
    """Start the job; returns its id."""
    file = ground.processes.workdir / f"flink-{config.assignment.epoch}.json"
    file.write_text(config.dump())
    return flink.gateway.submit(sql.session_properties(config), sql.statements(config, str(file)))
