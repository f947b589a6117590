"""When each window came to the sink, and from whom: seen at the sink's own door, not told by the product."""

from __future__ import annotations

import gzip
import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import time_ns
from typing import NamedTuple

from faults.proxy import Answer, Request

_SOURCE = re.compile(r',source="([a-z-]+)"')
_VERSION = re.compile(r'modelVersion="([^"]*)"')
_SPACE = re.compile(r"(?<!\\) ")
_ENGINES = {"flink", "dask-fallback"}


class Point(NamedTuple):
    """What is read of one line. `start`: of its window, ms, UTC."""

    series: str
    start: int
    source: str
    version: str
    """Of the model; empty: not scored."""


@dataclass
class Landings:
    """Watches the writes of points that InfluxDB took. Times in ms, UTC. Thread-safe."""

    window_ms: int
    delay_ms: int
    """A window is due this long after its end."""
    whole: dict[int, int] = field(default_factory=dict)
    """Window start -> when the last of its keys came to the sink for the first time, from an engine."""
    versions: set[str] = field(default_factory=set)
    """Of models, in the points that came."""
    bounced: int = 0
    """Points whose write was refused because its token was revoked."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    _twice: Counter[int] = field(default_factory=Counter)

    def watch(self, request: Request, answer: Answer) -> None:
        """Take one exchange in."""
        points = points_of(request)
        now = time_ns() // 1_000_000
        with self._lock:
            if answer.status == 401:
                self.bounced += len(points)
            elif answer.status < 300:
                for point in points:
                    self._take(point, now)

    def _take(self, point: Point, now: int) -> None:
        series, start, source, version = point
        if version:
            self.versions.add(version)
        if source not in _ENGINES:
            return
        before = self._seen[start].get(series)
        if before is None:
            self._seen[start][series] = source
            self.whole[start] = now
        elif before != source:
            self._twice[start] += 1

    def lateness(self, since: int, until: int) -> dict[int, int]:
        """For windows that were due from `since` to `until`: by how much they came late (ms)."""
        with self._lock:
            due = {start: start + self.window_ms + self.delay_ms for start in self.whole}
            return {
                start: max(0, self.whole[start] - due[start])
                for start in sorted(due)
                if since <= due[start] <= until
            }

    def late_now(self) -> int:
        """For how long (ms) the window after the newest one has been due."""
        with self._lock:
            newest = max(self.whole, default=0)
        return max(0, time_ns() // 1_000_000 - (newest + 2 * self.window_ms + self.delay_ms))

    def landed(self, start: int) -> int:
        """When a window came."""
        with self._lock:
            return self.whole[start]

    def overlap(self, since: int, until: int) -> int:
        """Points of windows that began in the span and that both engines wrote."""
        with self._lock:
            return sum(count for start, count in self._twice.items() if since <= start <= until)


def points_of(request: Request) -> list[Point]:
    """The points of a write to InfluxDB; empty for other requests, and for a canary."""
    if request.method != "POST" or not request.path.startswith("/api/v2/write"):
        return []
    packed = any(k.lower() == "content-encoding" and v == "gzip" for k, v in request.headers.items())
    text = (gzip.decompress(request.body) if packed else request.body).decode()
    points = []
    for line in text.splitlines():
        source, version = _SOURCE.search(line), _VERSION.search(line)
        if source:
            series, start = _SPACE.split(line, 1)[0], int(line.rsplit(" ", 1)[1])
            points.append(Point(series, start, source[1], version[1] if version else ""))
    return points
