"""Submits the job through Flink's SQL gateway, and finds and ends jobs through the JobManager (both REST)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from streampipeline.engines.flink.sql import PROGRESS

log = structlog.get_logger()


class FlinkError(Exception):
    """The gateway or the JobManager refused or failed; the message is Flink's own, shortened."""


def _root_cause(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes[-1] if causes else next(filter(None, lines), text))[:600]


class SqlGateway:
    """One session at a time: each keeps a Python process in the gateway, so it is closed after use."""

    def __init__(self, url: str, *, timeout_seconds: float = 60) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)

    def ready(self) -> bool:
        """Whether the gateway answers within two seconds."""
        try:
            return self._http.get("/v1/info", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def submit(self, properties: Mapping[str, str], statements: Sequence[str]) -> str:
        """Run the statements in a session of their own. Returns the job id of the last one.

        Raises FlinkError, httpx.HTTPError; after either the job may still run: look it up by name.
        """
        session = self._post("/v1/sessions", {"properties": dict(properties)})["sessionHandle"]
        try:
            job_id = ""
            for statement in statements:
                job_id = self._run(session, statement)
            return job_id
        finally:
            with suppress(httpx.HTTPError):
                self._http.delete(f"/v1/sessions/{session}")

    def _run(self, session: str, statement: str) -> str:
        operation = self._post(f"/v1/sessions/{session}/statements", {"statement": statement})[
            "operationHandle"
        ]
        path = f"/v1/sessions/{session}/operations/{operation}"
        deadline = time.monotonic() + 120
        job_id = ""
        token = 0
        while time.monotonic() < deadline:
            reply = self._http.get(f"{path}/result/{token}")
            body = self._body(reply, statement)
            job_id = body.get("jobID") or job_id
            if body["resultType"] == "NOT_READY":
                time.sleep(0.05)
                continue
            if body["resultType"] == "EOS":
                return job_id
            token += 1
        raise FlinkError(f"no answer within 120 s to: {statement.splitlines()[0]}")

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._body(self._http.post(path, json=body), path)

    @staticmethod
    def _body(reply: httpx.Response, what: str) -> dict[str, Any]:
        if reply.status_code != 200:
            errors = reply.json().get("errors", [reply.text])
            raise FlinkError(f"{what.splitlines()[0]}: {_root_cause(errors[-1])}")
        body: dict[str, Any] = reply.json()
        return body


@dataclass(frozen=True)
class Job:
    """A job as the JobManager lists it.

    `state` is Flink's (RUNNING, RESTARTING, FAILED, ...), but a job whose tasks are still being set up, which
    with Python workers takes seconds and which Flink calls RUNNING too, is INITIALIZING here.
    """

    id: str
    name: str
    state: str
    start_ms: int

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Job:
        """A job of `/jobs/overview`."""
        state, tasks = listed["state"], listed["tasks"]
        if state == "RUNNING" and tasks["running"] < tasks["total"]:
            state = "INITIALIZING"
        return cls(listed["jid"], listed["name"], state, listed["start-time"])


class JobManager:
    """The JobManager's REST interface, as far as the product needs it."""

    def __init__(self, url: str, *, timeout_seconds: float = 3) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)

    def slots(self) -> int:
        """Slots of registered TaskManagers. Raises httpx.HTTPError when the JobManager does not answer."""
        overview = self._http.get("/overview").raise_for_status().json()
        return int(overview["slots-total"])

    def jobs(self) -> list[Job]:
        """All jobs that the JobManager remembers. Raises httpx.HTTPError."""
        body = self._http.get("/jobs/overview").raise_for_status().json()
        return [Job.of(job) for job in body["jobs"]]

    def cancel(self, job_id: str) -> None:
        """Cancel without draining; a job that is gone is fine. Raises httpx.HTTPError."""
        reply = self._http.patch(f"/jobs/{job_id}", params={"mode": "cancel"})
        if reply.status_code not in (200, 202, 404, 409):
            reply.raise_for_status()

    def failure(self, job_id: str) -> str:
        """The newest exception of a job, one line; empty when there is none. Raises httpx.HTTPError."""
        body = self._http.get(f"/jobs/{job_id}/exceptions", params={"maxExceptions": 1})
        if body.status_code != 200:
            return ""
        entries = body.json().get("exceptionHistory", {}).get("entries", [])
        return _root_cause(entries[0]["stacktrace"]) if entries else ""

    def dropped_records(self, job_id: str) -> int:
        """Records that a window dropped because it was closed already, summed over the job's operators.

        Not over those that write the progress: a heartbeat that finds its window closed, as after a restart
        from a checkpoint, is no record.
        """
        total = 0
        job = self._http.get(f"/jobs/{job_id}").raise_for_status().json()
        for vertex in job["vertices"]:
            if f"{PROGRESS}[" in vertex["name"]:
                continue
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            names = self._http.get(path).raise_for_status().json()
            late = [metric["id"] for metric in names if metric["id"].endswith("numLateRecordsDropped")]
            if late:
                values = self._http.get(path, params={"get": ",".join(late), "agg": "sum"})
                total += sum(int(float(metric["sum"])) for metric in values.raise_for_status().json())
        return total
