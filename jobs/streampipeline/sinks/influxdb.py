"""InfluxDB 2 as a sink.

401: the token was revoked, so this writer is fenced. 400, 413, 422: points that will never be taken; the
batch is halved down to them and the others are written. Anything else, and no answer in time:
SinkUnavailable, and the publisher waits. That holds for 403 and 404 too: a right or a bucket that is gone
is mended by an operator, not by dropping points.
"""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from streampipeline.jobconfig import InfluxDbEndpoint
from streampipeline.points import addresses
from streampipeline.sinks import lineprotocol
from streampipeline.sinks.base import Fenced, Rejected, SinkUnavailable, read_token
from streampipeline.sinks.influxdb_http import InfluxDbClient, Refused

MAX_ROWS = 5_000
"""Points of one request: what InfluxDB's makers advise."""

CANARY_MEASUREMENT = "streampipeline_canary"
CANARY_STEP_MS = 600_000
"""Canaries of ten minutes share one timestamp, and so replace each other."""

UNHOLDABLE = "InfluxDB cannot hold a key that is empty, has a line feed or ends in a backslash"
REASON_LENGTH = 300
DROPPED = re.compile(r"dropped=(\d+)")


@dataclass(frozen=True)
class Refusal:
    """The server's no to a batch."""

    reason: str
    every: bool = False
    """The server says that it dropped every point of the batch: there is nothing to search for."""


def split_down(
    write: Callable[[Sequence[str]], Refusal | None], batch: Sequence[str]
) -> list[tuple[int, str]]:
    """Write a batch so that everything writable is written. Returns (index, reason) of the rest, ascending.

    `write` writes lines and returns None, or refuses; a refused batch is written by halves. Calls `write` at
    most 2 * len(batch) - 1 times.
    """
    refused: list[tuple[int, str]] = []
    waiting = [(0, len(batch))] if batch else []
    while waiting:
        start, end = waiting.pop()
        refusal = write(batch[start:end])
        if refusal is None:
            continue
        if refusal.every or end - start == 1:
            refused += [(index, refusal.reason) for index in range(start, end)]
        else:
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]
    return refused


class InfluxDbSink:
    """A `Sink` that writes to one measurement. Not for use by several threads."""

    max_rows = MAX_ROWS

    def __init__(self, endpoint: InfluxDbEndpoint, columns: list[str]) -> None:
        """Reads the token. `columns`: names of a point's columns.

        Raises Fenced when the token is gone, ValueError for names that InfluxDB cannot hold.
        """
        lineprotocol.check_names(endpoint.measurement, columns)
        self._measurement = endpoint.measurement
        self._writer = LineWriter(endpoint, read_token(endpoint.token_file))

    def write(self, points: pa.Table) -> list[Rejected]:
        """As `Sink.write`, at most `max_rows` points."""
        safe = lineprotocol.holdable(points)
        unsafe = points.filter(pc.invert(safe))
        rejected = [Rejected(key, start, UNHOLDABLE) for key, start in addresses(unsafe)]
        if rejected:
            points = points.filter(safe)
        refused = split_down(self._writer.write, lineprotocol.lines(points, self._measurement))
        if refused:
            reasons = [reason for _, reason in refused]
            unwritten = addresses(points.take([index for index, _ in refused]))
            rejected += [
                Rejected(*address, reason) for address, reason in zip(unwritten, reasons, strict=True)
            ]
        return rejected

    def close(self) -> None:
        """Let go of the connection."""
        self._writer.close()


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
