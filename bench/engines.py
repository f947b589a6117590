"""Each engine over the whole bench topic, alone, with the real publisher, model server and Parquet sink."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from streampipeline.engines.flink import sql
from streampipeline.jobconfig import (
    Assignment,
    EngineName,
    JobConfig,
    Origin,
    ParquetEndpoint,
    PipelineConfig,
    SinkEndpoint,
)
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.memory import MemoryWatch
from streampipeline.local.services import DaskProcesses
from streampipeline.probes.flink import ENDED
from streampipeline.probes.pipeline import PipelineProbe
from streampipeline.start import origin
from streampipeline.topics import ensure_topics

QUIET_SECONDS = 8.0
"""An engine that has read to the end and published nothing for so long is done."""
BOUND_SECONDS = 600.0


@dataclass(frozen=True)
class Measured:
    """One engine over the topic: `seconds` from its first work to its last window."""

    records: int
    windows: int
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def job(config: PipelineConfig, engine: EngineName, epoch: int, workdir: Path) -> JobConfig:
    """A job over the whole topic, into a folder of its own."""
    ensure_topics(config)
    where: Origin = origin(config)
    token = workdir / f"token-{epoch}"
    token.write_text("bench")
    return JobConfig(
        **dict(config),
        assignment=Assignment(
            engine=engine, epoch=epoch, generation=1, boundary=where.boundary, offsets=where.offsets
        ),
        origin=where,
        sink=SinkEndpoint(
            parquet=ParquetEndpoint(path=str(workdir / f"points-{epoch}"), token_file=str(token))
        ),
    )


def until_done(config: PipelineConfig, engine: EngineName, began: float, memory: MemoryWatch) -> Measured:
    """Wait until the engine has read to the end and published what can be. Raises TimeoutError."""
    probe = PipelineProbe(config)
    last, changed, windows = 0, time.monotonic(), 0
    try:
        while time.monotonic() - began < BOUND_SECONDS:
            look = probe.look(())
            memory.look()
            rows = [row.frontier for key, row in look.progress.items() if key[2] is engine]
            if rows and max(rows) > last:
                last, changed, windows = max(rows), time.monotonic(), look.written.get(engine, 0)
            done = look.lag.get(engine) == 0
            if done and time.monotonic() - changed > QUIET_SECONDS:
                return Measured(sum(look.ends.values()), windows, changed - began)
            time.sleep(0.1)
    finally:
        probe.close()
    raise TimeoutError(f"{engine.value} was not done within {BOUND_SECONDS:g} s")


def flink_engine(
    config: PipelineConfig, flink: FlinkProcesses, workdir: Path, memory: MemoryWatch
) -> Measured:
    """From the moment that all tasks run (Python workers included)."""
    told = job(config, EngineName.FLINK, 1, workdir)
    file = workdir / "flink.json"
    file.write_text(told.dump())
    job_id = flink.gateway.submit(sql.session_properties(told), sql.statements(told, str(file)))
    while not any(listed.id == job_id and listed.state == "RUNNING" for listed in flink.jobmanager.jobs()):
        time.sleep(0.1)
    measured = until_done(config, EngineName.FLINK, time.monotonic(), memory)
    flink.jobmanager.cancel(job_id)
    return measured


def flink_bare(config: PipelineConfig, flink: FlinkProcesses, workdir: Path) -> Measured:
    """The same source, verdicts and windows in the JVM into a black hole: no Python, no sink."""
    told = job(config, EngineName.FLINK, 3, workdir)
    bounded = sql.source_table(told).replace(
        "'scan.startup.mode'", "'scan.bounded.mode' = 'latest-offset',\n  'scan.startup.mode'"
    )
    sums = [f"agg_{index}" for index in range(len(config.spec.aggregates))]
    hole = ", ".join(f"`{name}` BIGINT" for name in ("n", "hash", *sums))
    functions = [
        text for text in sql.statements(told, "") if text.startswith("CREATE TEMPORARY FUNCTION record")
    ]
    statements = [
        *functions,
        bounded,
        sql.judged_view(told),
        sql.on_time_view(),
        sql.windows_view(told),
        f"CREATE TEMPORARY TABLE hole ({hole}) WITH ('connector' = 'blackhole')",
        "INSERT INTO hole SELECT `n`, `hash`, " + ", ".join(f"`{name}`" for name in sums) + " FROM finished",
    ]
    properties = sql.session_properties(told) | {"pipeline.name": "bench-bare"}
    job_id = flink.gateway.submit(properties, statements)
    with httpx.Client(base_url=f"http://127.0.0.1:{flink.rest_port}", trust_env=False) as http:
        state = wait_for_end(http, job_id)
    assert state["state"] == "FINISHED", flink.jobmanager.failure(job_id)
    records = sum(PipelineProbe(config).look(()).ends.values())
    return Measured(records, 0, state["duration"] / 1000)


def wait_for_end(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """The JobManager's words on a job that has ended. Raises TimeoutError."""
    deadline = time.monotonic() + BOUND_SECONDS
    while time.monotonic() < deadline:
        state: dict[str, Any] = http.get(f"/jobs/{job_id}").raise_for_status().json()
        if state["state"] in ENDED:
            return state
        time.sleep(0.2)
    raise TimeoutError(f"job {job_id} did not end within {BOUND_SECONDS:g} s")


def dask_engine(config: PipelineConfig, dask: DaskProcesses, workdir: Path, memory: MemoryWatch) -> Measured:
    """With warm workers, from the moment that the driver has begun to read."""
    told = job(config, EngineName.DASK, 2, workdir)
    file = workdir / "dask.json"
    file.write_text(told.dump())
    dask.scale(2)
    time.sleep(6)
    dask.start_driver(2, file)
    while not dask.started(2):
        time.sleep(0.05)
    measured = until_done(config, EngineName.DASK, time.monotonic(), memory)
    dask.stop_driver(2)
    dask.scale(0)
    return measured
