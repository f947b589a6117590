"""Writes of lines to InfluxDB 2, as text: for the sink, and for the canary of whoever has no tables."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streampipeline.jobconfig import InfluxDbEndpoint
from streampipeline.sinks.base import Fenced, SinkUnavailable, read_token
from streampipeline.sinks.influxdb_http import InfluxDbClient, Refused

CANARY_MEASUREMENT = "streampipeline_canary"
CANARY_STEP_MS = 600_000
"""Canaries of ten minutes share one timestamp, and so replace each other."""

DELETE_SECONDS = 60.0
LAST_TIME = "2262-01-01T00:00:00Z"
"""InfluxDB's times end in that year."""

REASON_LENGTH = 300
DROPPED = re.compile(r"dropped=(\d+)")


@dataclass(frozen=True)
class Refusal:
    """The server's no to a batch."""

    reason: str
    every: bool = False
    """The server says that it dropped every point of the batch: there is nothing to search for."""


class LineWriter:
    """Posts lines to a bucket, one request a call, without retries of its own."""

    def __init__(self, endpoint: InfluxDbEndpoint, token: str) -> None:
        self._bucket = endpoint.bucket
        self._where = f"InfluxDB {endpoint.url}, bucket {endpoint.bucket}"
        self._parameters = {"org": endpoint.org, "bucket": endpoint.bucket, "precision": "ms"}
        self._client = InfluxDbClient(endpoint, token)

    def write(self, lines: Sequence[str]) -> Refusal | None:
        """Write lines with times in ms. Raises Fenced, SinkUnavailable."""
        try:
            self._client.request(
                "POST",
                "/api/v2/write",
                params=self._parameters,
                content=gzip.compress("\n".join(lines).encode(), compresslevel=1),
                headers={"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"},
            )
        except Refused as refused:
            if refused.status == 401:
                raise Fenced(f"{self._where}: {refused}: the token was revoked") from refused
            if refused.status not in (400, 413, 422):
                raise SinkUnavailable(f"{self._where}: {refused}") from refused
            dropped = DROPPED.findall(str(refused))
            every = bool(dropped) and int(dropped[-1]) == len(lines)
            return Refusal(str(refused)[:REASON_LENGTH], every)
        return None

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def write_canary(endpoint: InfluxDbEndpoint, token: str | None = None) -> None:
    """Write a canary with `token`, or that of `endpoint.token_file`. Raises SinkUnavailable, Fenced.

    A canary is no point of a pipeline: measurement `streampipeline_canary`, field `at` (ms).
    """
    writer = LineWriter(endpoint, token if token is not None else read_token(endpoint.token_file))
    try:
        now = time.time_ns() // 1_000_000
        refusal = writer.write([f"{CANARY_MEASUREMENT} at={now}i {now // CANARY_STEP_MS * CANARY_STEP_MS}"])
        if refusal is not None:
            raise SinkUnavailable(f"InfluxDB {endpoint.url} refused the canary: {refusal.reason}")
    finally:
        writer.close()


def delete_points(endpoint: InfluxDbEndpoint, token: str, pipeline: str, start: int) -> None:
    """Delete the points of a pipeline (its tag) from `start` (ms) on. Raises SinkUnavailable, Fenced."""
    first = datetime.fromtimestamp(max(0, start) / 1000, UTC).isoformat(timespec="milliseconds")
    body = {
        "start": first.replace("+00:00", "Z"),
        "stop": LAST_TIME,
        "predicate": f"_measurement={_quoted(endpoint.measurement)} AND pipeline={_quoted(pipeline)}",
    }
    parameters = {"org": endpoint.org, "bucket": endpoint.bucket}
    with InfluxDbClient(endpoint, token) as influx:
        try:
            influx.request("POST", "/api/v2/delete", params=parameters, json=body, timeout=DELETE_SECONDS)
        except Refused as refused:
            kind = Fenced if refused.status == 401 else SinkUnavailable
            raise kind(f"InfluxDB {endpoint.url}: points were not deleted: {refused}") from refused


def _quoted(text: str) -> str:
    """A value in a predicate: it knows no other escapes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
