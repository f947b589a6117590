"""InfluxDB 2 as a sink.

401: the token was revoked, so this writer is fenced. 400, 413, 422: points that will never be taken; the
batch is halved down to them and the others are written. Anything else, and no answer in time:
SinkUnavailable, and the publisher waits. That holds for 403 and 404 too: a right or a bucket that is gone
is mended by an operator, not by dropping points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from streampipeline.jobconfig import InfluxDbEndpoint
from streampipeline.points import addresses
from streampipeline.sinks import lineprotocol
from streampipeline.sinks.base import Rejected, read_token
from streampipeline.sinks.influxdb_write import LineWriter, Refusal

MAX_ROWS = 5_000
"""Points of one request: what InfluxDB's makers advise."""

UNHOLDABLE = "InfluxDB cannot hold a key that is empty, has a line feed or ends in a backslash"


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
