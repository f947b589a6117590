"""What Flink's interfaces are asked, against an HTTP server that answers as told."""

from __future__ import annotations

import httpx
import pytest
from tests.support.http_answers import Answer, http_server

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
