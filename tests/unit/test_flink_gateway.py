"""What Flink's interfaces are asked, against an HTTP server that answers as told."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.support.http_answers import Answer, Request, http_server

from streampipeline.engines.flink.gateway import JobManager


def test_a_job_is_cancelled_and_not_drained() -> None:
    """To stop with drain, or with a savepoint, would fire open windows."""
    with http_server(lambda _: Answer(202, {})) as server:
        JobManager(server.url).cancel("cafe")
    assert [(one.method, one.path) for one in server.requests] == [("PATCH", "/jobs/cafe?mode=cancel")]


@pytest.mark.parametrize("status", [404, 409])
def test_a_job_that_is_gone_needs_no_cancelling(status: int) -> None:
    with http_server(lambda _: Answer(status, {})) as server:
        JobManager(server.url).cancel("cafe")


def test_a_cancellation_that_failed_is_known() -> None:
    with http_server(lambda _: Answer(500, {})) as server, pytest.raises(httpx.HTTPStatusError):
        JobManager(server.url).cancel("cafe")


def test_dropped_records_are_those_of_windows_of_records() -> None:
    vertices = [
        {"id": "a", "name": "Source: source[1] -> (Calc[2] -> LocalWindowAggregate[5], repairs[6]: Writer)"},
        {
            "id": "b",
            "name": "GlobalWindowAggregate[7] -> Calc[8] -> PythonCalc[9] -> LocalWindowAggregate[11]",
        },
        {"id": "c", "name": "GlobalWindowAggregate[13] -> Calc[14] -> progress[15]: Writer"},
    ]
    metrics: dict[str, list[dict[str, Any]]] = {
        "a": [],
        "b": [{"id": "GlobalWindowAggregate[7].numLateRecordsDropped", "sum": 3.0}, {"id": "x", "sum": 8.0}],
        "c": [{"id": "GlobalWindowAggregate[13].numLateRecordsDropped", "sum": 5.0}],
    }

    def answer(asked: Request) -> Answer:
        path, _, query = asked.path.partition("?")
        if path == "/jobs/cafe":
            return Answer(200, {"vertices": vertices})
        found = metrics[path.split("/")[4]]
        return Answer(200, [one for one in found if not query or "LateRecords" in one["id"]])

    with http_server(answer) as server:
        assert JobManager(server.url).dropped_records("cafe") == 3
