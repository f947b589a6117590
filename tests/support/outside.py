"""What an operator acts on besides the API server, in memory: Flink, the sink's tokens, what Kafka knows.

Every change is an effect, told to `effects`; a right that is used is judged when it is used. Of Dask only the
pods are played: they are objects of the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from streampipeline.engines.flink.gateway import Job
from streampipeline.jobconfig import EngineName, Origin
from streampipeline.probes.pipeline import PipelineLook
from streampipeline.progress import ProgressKey, ProgressRow
from streampipeline.sinks.base import write_secret

START = 1_800_000_000_000
"""Virtual time (ms) at which a world begins."""
WINDOW_MS = 5_000
SLOTS = 8
"""Of Flink's cluster: enough for every parallelism that is asked for."""
STEP_MS = 20_000
"""What an engine that is behind publishes in a step of the world."""


class Clock:
    """Stands in for the module `time`: it goes on only when told, or slept."""

    def __init__(self) -> None:
        self.ms = START

    def time_ns(self) -> int:
        """As `time.time_ns`."""
        return self.ms * 1_000_000

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return (self.ms - START) / 1000 + 1_000

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`."""
        self.ms += round(seconds * 1000)


@dataclass
class Work:
    """A job of Flink's, or a driver that was given an epoch."""

    engine: EngineName
    epoch: int
    token: str
    generation: int
    boundary: int
    ended: bool = False


@dataclass
class Outside:
    """One pipeline's. Every violation of a rule is told in `violations`, none is raised."""

    clock: Clock
    effect: Callable[[str], None]
    """Called with a name when something was changed."""
    files: Callable[[], Mapping[str, str]]
    """The content of the Secret of the jobs, as engines see it."""
    flink_up: bool = True
    flink_starts: bool = True
    """False: a job that was submitted is set up for as long."""
    flink_jobs: list[Work] = field(default_factory=list)
    drivers: dict[str, Work] = field(default_factory=dict)
    """By the UID of the pod."""
    tokens: dict[tuple[int, EngineName], str] = field(default_factory=dict)
    rows: dict[ProgressKey, ProgressRow] = field(default_factory=dict)
    repairs_end: int = 0
    repairs_done: int = 0
    violations: list[str] = field(default_factory=list)
    model_version: str = "1"
    _issued: int = 0

    # Flink: the JobManager and the gateway

    def ready(self) -> bool:
        """As `SqlGateway.ready`."""
        return self.flink_up

    def slots(self) -> int:
        """As `JobManager.slots`."""
        if not self.flink_up:
            raise httpx.ConnectError("nobody listens")
        return SLOTS

    def jobs(self) -> list[Job]:
        """As `JobManager.jobs`."""
        self.slots()
        started = "RUNNING" if self.flink_starts else "INITIALIZING"
        return [
            Job(str(number), self._job_name(job), "CANCELED" if job.ended else started, number)
            for number, job in enumerate(self.flink_jobs)
        ]

    def _job_name(self, job: Work) -> str:
        return f"streampipeline/{self.uid}/{job.epoch}"

    uid: str = ""

    def submit(self, properties: Mapping[str, str], _: Sequence[str]) -> str:
        """As `SqlGateway.submit`: the job reads its own files when it starts."""
        self.slots()
        epoch = int(properties["pipeline.name"].rpartition("/")[2])
        if any(job.epoch == epoch for job in self.flink_jobs):
            self.violations.append(f"a second job of Flink's for epoch {epoch}")
        self.flink_jobs.append(self._work(EngineName.FLINK, epoch))
        self.effect(f"submit {epoch}")
        return str(len(self.flink_jobs) - 1)

    def cancel(self, job_id: str) -> None:
        """As `JobManager.cancel`."""
        job = self.flink_jobs[int(job_id)]
        job.ended = True
        self.effect(f"cancel {job.epoch}")

    def failure(self, _: str) -> str:
        """As `JobManager.failure`."""
        return ""

    def lose_flink(self) -> None:
        """Its pods are gone, and the jobs with them."""
        self.flink_up = False
        self.flink_jobs.clear()

    # Dask's drivers

    def assign(self, uid: str, epoch: int) -> None:
        """A driver's pod was given an epoch."""
        if any(work.epoch == epoch for work in self.drivers.values()):
            self.violations.append(f"a second driver for epoch {epoch}")
        self.drivers[uid] = self._work(EngineName.DASK, epoch)

    def _work(self, engine: EngineName, epoch: int) -> Work:
        from streampipeline.jobconfig import JobConfig

        stem, files = f"{epoch}-{engine.value}", self.files()
        if not {f"{stem}.json", f"{stem}.token"} <= set(files):
            self.violations.append(f"{stem} started before its files were there")
            return Work(engine, epoch, "", 0, 0, ended=True)
        assignment = JobConfig.model_validate_json(files[f"{stem}.json"]).assignment
        token = files[f"{stem}.token"]
        if self.tokens.get((epoch, engine)) != token:
            self.violations.append(f"{stem} started with a token that the sink does not know")
        return Work(engine, epoch, token, assignment.generation, assignment.boundary)

    def work(self) -> None:
        """A step of every engine that runs: points, then progress. One that was fenced ends."""
        flink = self.flink_jobs if self.flink_up and self.flink_starts else []
        for work in (*flink, *self.drivers.values()):
            if work.ended:
                continue
            if self.tokens.get((work.epoch, work.engine)) != work.token:
                work.ended = True  # 401 is fatal
                continue
            key = (work.generation, work.epoch, work.engine)
            before = self.rows[key].frontier if key in self.rows else work.boundary
            self.rows[key] = ProgressRow(
                generation=work.generation,
                epoch=work.epoch,
                engine=work.engine,
                frontier=min(before + STEP_MS, self._closable()),
                windows=1,
                at=self.clock.ms,
            )

    # The sink, as its administrator sees it

    def prepare(self) -> None:
        """As `SinkAdmin.prepare`."""

    def probe(self) -> None:
        """As `SinkAdmin.probe`."""

    def issue(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """As `SinkAdmin.issue`: one that is held already is kept, one that nobody holds is replaced."""
        held = token_file.read_text() if token_file.exists() else ""
        if held and self.tokens.get((epoch, engine)) == held:
            return True
        self._issued += 1
        self.tokens[epoch, engine] = token = f"token-{self._issued}"
        self.effect(f"issue {epoch}-{engine.value}")
        write_secret(token_file, token)
        return True

    def revoke(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """As `SinkAdmin.revoke`."""
        if self.tokens.pop((epoch, engine), None):
            self.effect(f"revoke {epoch}-{engine.value}")
        token_file.unlink(missing_ok=True)
        return True

    def clear(self, pipeline: str, start: int, *, epoch: int, token_file: Path) -> None:
        """As `SinkAdmin.clear`."""
        del pipeline, start, token_file
        writers = [key for key in self.tokens if key[1] is not EngineName.REPAIR]
        if writers:
            self.violations.append(f"points are removed while {writers} may write")
        self.effect(f"clear {epoch}")

    # The model

    def answer(self, *_: object) -> str:
        """As `probes.model.probe_model`."""
        return self.model_version

    # Kafka

    def origin(self, _: object) -> Origin:
        """As `start.origin`."""
        return Origin(boundary=START - 60_000, offsets={0: 0, 1: 0})

    def start_offsets(self, *_: object, **__: object) -> dict[int, int]:
        """As `start.start_offsets`."""
        return {0: 10, 1: 10}

    def _closable(self) -> int:
        """End of the newest window that the topic lets close: its records come with the clock."""
        return self.clock.ms // WINDOW_MS * WINDOW_MS

    def look(self, frontiers: set[int]) -> PipelineLook:
        """As `PipelineProbe.look`."""
        newest = self._closable()
        return PipelineLook(
            partitions=(0, 1),
            progress=dict(self.rows),
            latency={at: newest - at for at in (*frontiers, *(row.frontier for row in self.rows.values()))},
            repairs_pending=self.repairs_end - self.repairs_done,
        )

    def progress(self) -> dict[ProgressKey, ProgressRow]:
        """As `PipelineProbe.progress`."""
        return dict(self.rows)

    def repairs_committed(self) -> int:
        """As `PipelineProbe.repairs_committed`."""
        return self.repairs_done

    def consumer(self, *_: object) -> Any:
        """As `kafka.consumer`: only commits of the repairs' offset are made with it."""

        def commit(*, offsets: Sequence[Any], asynchronous: bool) -> None:
            del asynchronous
            self.repairs_done = offsets[0].offset
            self.effect("commit repairs")

        return SimpleNamespace(commit=commit, close=lambda: None)

    def close(self) -> None:
        """As `PipelineProbe.close`."""
