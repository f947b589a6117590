"""What the JobManager says: is the cluster able to run the job, and how is the job of one epoch."""

from __future__ import annotations

from dataclasses import dataclass

from streampipeline.engines.flink.gateway import Job, JobManager


@dataclass(frozen=True)
class FlinkReading:
    """One look at the cluster. `slots` 0: no TaskManager is registered. `jobs`: newest first."""

    slots: int
    jobs: tuple[Job, ...]
    failures: dict[str, str]
    """Newest exception of each job that is not running, by job id."""

    def job(self, name: str) -> Job | None:
        """The newest job of that name that has not ended, else the newest of that name."""
        named = [job for job in self.jobs if job.name == name]
        live = [job for job in named if job.state not in ENDED]
        return next(iter(live or named), None)

    def alive(self, name: str) -> int:
        """How many jobs of that name have not ended."""
        return sum(job.name == name and job.state not in ENDED for job in self.jobs)


ENDED = frozenset({"FAILED", "CANCELED", "FINISHED"})


def probe_flink(jobmanager: JobManager) -> FlinkReading:
    """Raises httpx.HTTPError when the JobManager does not answer."""
    slots = jobmanager.slots()
    jobs = tuple(sorted(jobmanager.jobs(), key=lambda job: -job.start_ms))
    troubled = [job for job in jobs[:3] if job.state in ("FAILED", "FAILING", "RESTARTING")]
    return FlinkReading(slots, jobs, {job.id: jobmanager.failure(job.id) for job in troubled})
