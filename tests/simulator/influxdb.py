"""An InfluxDB server in memory: tokens, writes that merge the fields of equal points and may land late."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from tests.simulator.http import Request
from tests.simulator.scheduler import Scheduler

from streampipeline_audit.points import FieldValue, Point

ADMIN_TOKEN = "admin"
ORG, BUCKET, MEASUREMENT = "org", "bucket", "points"
REQUEST_SECONDS = (0.0005, 0.005)
Series = tuple[tuple[str, str], ...]
"""Tags in the order of their names, the measurement first."""

_SPACE, _COMMA, _EQUALS = (re.compile(rf"(?<!\\){sign}") for sign in (" ", ",", "="))


@dataclass
class InfluxDb:
    """The server. A write is accepted or refused when it comes, and lands some time after it was accepted."""

    scheduler: Scheduler
    read_timeout: float
    """No write lands later than this after it was accepted, seconds."""
    points: dict[tuple[Series, int], dict[str, FieldValue]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    """Token -> description."""
    up: bool = True
    failing: bool = False
    """It answers 503; a write may have landed all the same."""
    slow: bool = False
    landed: Callable[[str, Point], None] = lambda _who, _point: None
    """Told of each point, with the description of its token."""
    _issued: int = 0

    def answer(self, method: str, path: str, request: Request) -> httpx.Response:
        """See `http.Server`."""
        self.scheduler.pause(*REQUEST_SECONDS)
        if not self.up:
            raise httpx.ConnectError("connection refused")
        if request.token != ADMIN_TOKEN and request.token not in self.tokens:
            return httpx.Response(401, json={"message": "unauthorized access"})
        if path == "/api/v2/write":
            return self._write(request)
        if self.failing:
            return httpx.Response(503, json={"message": "unavailable"})
        assert request.token == ADMIN_TOKEN
        return self._administer(method, path, request)

    def _administer(self, method: str, path: str, request: Request) -> httpx.Response:
        match method, path.split("/")[3:]:
            case "GET", ["orgs"]:
                return httpx.Response(200, json={"orgs": [{"id": "o1"}]})
            case "GET", ["buckets"]:
                return httpx.Response(200, json={"buckets": [{"id": "b1"}]})
            case "GET", ["authorizations"]:
                listed = [
                    {"id": token, "token": token, "description": description}
                    for token, description in self.tokens.items()
                ]
                return httpx.Response(200, json={"authorizations": listed})
            case "POST", ["authorizations"]:
                self._issued += 1
                token = f"token-{self._issued}"
                self.tokens[token] = request.json()["description"]
                self.scheduler.pause(0.0, 0.002)
                return httpx.Response(201, json={"id": token, "token": token})
            case "DELETE", ["authorizations", token]:
                if self.tokens.pop(token, None) is None:
                    return httpx.Response(404, json={"message": "authorization not found"})
                return httpx.Response(204)
        raise AssertionError(f"{method} {path} is not simulated")

    def _write(self, request: Request) -> httpx.Response:
        assert (request.params["org"], request.params["bucket"]) == (ORG, BUCKET)
        packed = request.headers.get("Content-Encoding") == "gzip"
        text = (gzip.decompress(request.content) if packed else request.content).decode()
        chance = self.scheduler.chance
        if self.failing and chance(0.5):
            return httpx.Response(503, json={"message": "unavailable"})
        who = self.tokens.get(request.token or "", ADMIN_TOKEN)
        delay = self.scheduler.random.uniform(0.0, 0.98 * self.read_timeout) if self.slow else 0.0
        lines = text.splitlines()
        # Half of the points at a time: a batch is not one step.
        self.scheduler.call(delay / 2, lambda: self._land(who, lines[::2]))
        self.scheduler.call(delay, lambda: self._land(who, lines[1::2]))
        self.scheduler.sleep(min(delay + 0.0005, request.timeout))
        if delay > request.timeout:
            raise httpx.ReadTimeout("no answer in time")
        if self.failing:
            return httpx.Response(503, json={"message": "unavailable"})
        return httpx.Response(204)

    def _land(self, who: str, lines: list[str]) -> None:
        for line in lines:
            tags, fields, time = _SPACE.split(line)
            measurement, *pairs = _COMMA.split(tags)
            series = (("", measurement), *sorted(_pair(pair) for pair in pairs))
            values = {name: _value(text) for name, text in map(_pair, _COMMA.split(fields))}
            self.points.setdefault((series, int(time)), {}).update(values)
            if measurement == MEASUREMENT:
                self.landed(who, Point(_key(series), int(time), values))

    def listed(self, begin: int, end: int) -> list[Point]:
        """Points with begin <= time < end (ms), one for each series and time."""
        return [
            Point(_key(series), time, fields)
            for (series, time), fields in self.points.items()
            if series[0][1] == MEASUREMENT and begin <= time < end
        ]


def _key(series: Series) -> str:
    return dict(series)["id"]


def _pair(text: str) -> tuple[str, str]:
    name, value = _EQUALS.split(text, maxsplit=1)
    return re.sub(r"\\([ ,=])", r"\1", name), re.sub(r"\\([ ,=])", r"\1", value)


def _value(text: str) -> FieldValue:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        return text[1:-1]
    return int(text[:-1]) if text.endswith("i") else float(text)
