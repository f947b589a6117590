"""Flink's session cluster in memory: JobManager, gateway, and a TaskManager that runs the jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from tests.simulator.flink_job import Attempt, FlinkJob
from tests.simulator.scheduler import Process, Scheduler
from tests.simulator.source import Source

from streampipeline.engines.flink import sql
from streampipeline.engines.flink.gateway import FlinkError, Job
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.place import JobFiles

CALL_SECONDS = 3.0
"""How long the product waits for the JobManager."""


class FlinkCluster:
    """JobManager, gateway and TaskManager; stands for `JobManager` and `SqlGateway` of the product."""

    def __init__(self, scheduler: Scheduler, source: Source, files: JobFiles) -> None:
        self.scheduler, self.source, self._files = scheduler, source, files
        self.slow = False
        self.slow_checkpoints = False
        self.held_down = False
        self.frozen = False
        self._up = False
        self._registered = False
        """Whether its TaskManager is there."""
        self._starts = 0
        self._jobs: dict[str, FlinkJob] = {}
        self._count = 0

    # What the place does

    def ensure(self) -> None:
        """Start it, unless it runs or is starting."""
        if self.held_down or self._up or self._starts:
            return
        self._starts += 1
        number = self._starts
        random = self.scheduler.random
        first = random.uniform(1, 5)
        self.scheduler.call(first, lambda: self._started(number))
        self.scheduler.call(first + random.uniform(0, 3), lambda: self._register(number))

    def _started(self, number: int) -> None:
        if number == self._starts and not self.held_down:
            self._up = True
            self.scheduler.note("flink: JobManager up")

    def _register(self, number: int) -> None:
        if number == self._starts and self._up:
            self._registered = True

    def stop(self) -> None:
        """All processes end at once, and the JobManager's memory with them."""
        self._up = self._registered = self.frozen = False
        self._starts = 0
        for job in self._jobs.values():
            if job.tasks is not None:
                self.scheduler.kill(job.tasks)
        self._jobs.clear()

    def lose_taskmanager(self) -> None:
        """The TaskManager is killed, and comes back."""
        self._registered = False
        for job in self._jobs.values():
            if job.tasks is not None:
                self.scheduler.kill(job.tasks)
                self._failed(job, "TaskManager lost")
        number = self._starts
        self.scheduler.call(self.scheduler.random.uniform(2, 12), lambda: self._register(number))

    def fail_job(self) -> None:
        """A task fails."""
        for job in self._jobs.values():
            if job.tasks is not None:
                self.scheduler.kill(job.tasks)
                self._failed(job, "made to fail")

    def freeze(self) -> None:
        """SIGSTOP to all of it."""
        self.frozen = True
        for job in self._jobs.values():
            if job.tasks is not None:
                self.scheduler.freeze(job.tasks)

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen = False
        for job in self._jobs.values():
            if job.tasks is not None:
                self.scheduler.thaw(job.tasks)

    # What the product asks

    @contextmanager
    def _call(self) -> Iterator[None]:
        self.scheduler.pause(0.001, 0.02)
        if self.frozen:
            self.scheduler.sleep(CALL_SECONDS)
        if not self._up or self.frozen:
            raise httpx.ConnectError("Flink does not answer")
        yield

    def slots(self) -> int:
        """See `gateway.JobManager`."""
        with self._call():
            return 2 if self._registered else 0

    def jobs(self) -> list[Job]:
        """See `gateway.JobManager`."""
        with self._call():
            named = [(job, sql.job_name(job.config)) for job in self._jobs.values()]
            return [Job(job.id, name, job.state, job.start_ms) for job, name in named]

    def cancel(self, job_id: str) -> None:
        """See `gateway.JobManager`."""
        with self._call():
            job = self._jobs.get(job_id)
            if job is None or job.state in ("CANCELED", "CANCELLING"):
                return
            job.state = "CANCELLING"
            self.scheduler.call(self.scheduler.random.uniform(0.1, 6), lambda: self._cancelled(job))

    def _cancelled(self, job: FlinkJob) -> None:
        if self.frozen:
            self.scheduler.call(1, lambda: self._cancelled(job))
            return
        job.state = "CANCELED"
        self.scheduler.note(f"flink: job of epoch {job.config.assignment.epoch} canceled")
        if job.tasks is not None:
            self.scheduler.kill(job.tasks)

    def failure(self, job_id: str) -> str:
        """See `gateway.JobManager`."""
        with self._call():
            return self._jobs[job_id].failure if job_id in self._jobs else ""

    def dropped_records(self, job_id: str) -> int:
        """See `gateway.JobManager`."""
        with self._call():
            return self._jobs[job_id].dropped

    def ready(self) -> bool:
        """See `gateway.SqlGateway`."""
        return self._up and not self.frozen

    def submit(self, properties: dict[str, str], statements: list[str]) -> str:
        """See `gateway.SqlGateway`."""
        with self._call():
            pass
        self.scheduler.pause(0.5, 3)
        with self._call():
            epoch = int(properties["pipeline.name"].rpartition("/")[2])
            self._count += 1
            config = JobConfig.load(self._files.config(EngineName.FLINK, epoch))
            job = FlinkJob(f"j{self._count}", config, self.scheduler.now_ms)
            self._jobs[job.id] = job
            self.scheduler.note(f"flink: job of epoch {epoch} submitted")
            self._later(job, self.scheduler.random.uniform(0.5, 4))
        if self.scheduler.chance(0.1):
            raise FlinkError("the answer was lost")
        return job.id

    # Attempts

    def _later(self, job: FlinkJob, seconds: float) -> None:
        self.scheduler.call(seconds, lambda: self._attempt(job))

    def _attempt(self, job: FlinkJob) -> None:
        if job.id not in self._jobs or job.state not in ("INITIALIZING", "RESTARTING"):
            return
        if not self._registered or self.frozen:
            self._later(job, 1)
            return
        job.tasks = Process(f"flink-{job.config.assignment.epoch}")
        tasks = job.tasks
        attempt = Attempt(self.scheduler, self.source, job, self)

        def run() -> None:
            try:
                attempt.run()
            except Exception as error:
                if tasks.alive:
                    self.scheduler.kill(tasks)
                    self._failed(job, f"{type(error).__name__}: {error}")

        self.scheduler.start(tasks, run, "tasks")

    def _failed(self, job: FlinkJob, why: str) -> None:
        if job.state in ("CANCELED", "CANCELLING"):
            return
        job.state, job.failure, job.tasks = "RESTARTING", why, None
        job.failures += 1
        self.scheduler.note(f"flink: job of epoch {job.config.assignment.epoch} failed: {why}")
        self._later(job, min(10.0, 0.5 * 2 ** min(job.failures, 6)))
