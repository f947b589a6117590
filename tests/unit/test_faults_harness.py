"""The harness of `make faults`: what its doors do and see, and what it calls right."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from faults.doors import HeldWrite, nonsense
from faults.driver import Played
from faults.landings import Landings, points_of
from faults.proxy import Answer, Proxy, Request
from faults.report import figures, too_little, verdict
from faults.scenario import Right

WRITE = "/api/v2/write?org=o&bucket=b&precision=ms"


def write(*points: tuple[str, str, int]) -> Request:
    """A write of (key, source, window start)."""
    lines = [
        f'stress,id={key},pipeline=p X=1.0,source="{source}",n=3i,modelVersion="m-1" {start}'
        for key, source, start in points
    ]
    return Request("POST", WRITE, {"Content-Encoding": "gzip"}, gzip.compress("\n".join(lines).encode()))


class Upstream(BaseHTTPRequestHandler):
    """Echoes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the library's name
        """The body back, and a header."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("X-Path", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def upstream() -> Iterator[int]:
    """Port of a server that echoes."""
    server = HTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_proxy_passes_on_and_tells_who_watches(upstream: int) -> None:
    seen: list[tuple[str, int]] = []
    proxy = Proxy(upstream, lambda request, answer: seen.append((request.path, answer.status)))
    with httpx.Client(base_url=proxy.url, trust_env=False) as client:
        for body in (b"one", b"two"):
            reply = client.post("/there?x=1", content=body)
            assert (reply.content, reply.headers["X-Path"]) == (body, "/there?x=1")
        proxy.rule = nonsense
        assert client.post("/predict", content=b"{}").json()["modelVersion"] == ""
    proxy.close()
    assert seen == [("/there?x=1", 200), ("/there?x=1", 200), ("/predict", 200)]


def test_a_server_that_is_gone_is_no_answer() -> None:
    proxy = Proxy(1)
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{proxy.url}/predict", content=b"", trust_env=False, timeout=5)
    proxy.close()


def test_a_held_write_reaches_the_server_only_when_it_is_let_go() -> None:
    held = threading.Event()
    door = HeldWrite("flink", held.set)
    passed: list[Request] = []

    def forward(request: Request) -> Answer:
        passed.append(request)
        return Answer(204, b"")

    other, flinks = write(("a", "dask-fallback", 0)), write(("a", "flink", 0))
    door.rule(other, forward)
    thread = threading.Thread(target=door.rule, args=(flinks, forward))
    thread.start()
    assert held.wait(5)
    door.rule(flinks, forward)
    assert passed == [other, flinks], "only the first one is held"
    door.let_go()
    thread.join(5)
    assert passed == [other, flinks, flinks]


def test_points_are_read_from_writes_only() -> None:
    request = write(("a\\ b", "flink", 5000))
    assert points_of(request) == [("stress,id=a\\ b,pipeline=p", 5000, "flink", "m-1")]
    assert points_of(Request("GET", WRITE, {}, b"")) == []
    assert points_of(Request("POST", WRITE, {}, b"streampipeline_canary at=1i 0")) == []


def test_landings_tell_lateness_what_came_twice_and_what_bounced(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0
    monkeypatch.setattr("faults.landings.time_ns", lambda: now * 1_000_000)
    landings = Landings(window_ms=5000, delay_ms=2000)
    now = 7500
    landings.watch(write(("a", "flink", 0)), Answer(204, b""))
    now = 9000
    landings.watch(write(("b", "flink", 0)), Answer(503, b""))
    landings.watch(write(("b", "flink", 0)), Answer(401, b""))
    now = 17_000
    landings.watch(write(("a", "dask-fallback", 0), ("b", "dask-fallback", 0)), Answer(204, b""))
    now = 30_000
    landings.watch(write(("c", "repair", 0), ("a", "repair", 5000)), Answer(204, b""))
    assert landings.lateness(0, 60_000) == {0: 10_000}
    assert landings.overlap(0, 60_000) == 1
    assert landings.late_now() == 30_000 - (5_000 + 5_000 + 2_000), "the window from 5 to 10 s has not come"
    assert landings.bounced == 1
    assert landings.versions == {"m-1"}


def clean(**changes: Any) -> dict[str, Any]:
    """An audit that found nothing wrong."""
    none: dict[str, Any] = dict.fromkeys(("lost", "doubled", "differing", "unscored"), 0)
    return {**none, "produced": 10, "examples": {}, **changes}


def test_the_verdict_names_all_that_is_not_right() -> None:
    fine = Played("one", Right.WAIT)
    assert verdict(clean(), 10, [fine]) == []
    bad = Played("two", Right.SWITCH, complaints=["no switch"])
    audit = clean(lost=2, examples={"lost": ["w"]}, produced=12, unscored=1)
    found = verdict(audit, 10, [fine, bad])
    assert found[0] == "two: no switch"
    assert len(found) == 4
    assert verdict(None, 10, []) == ["no audit was made"]


def test_a_play_that_was_cut_short_is_none() -> None:
    assert too_little({"faults": 12, "switches": 20, "records": 200_000}) == []
    assert len(too_little({"faults": 11, "switches": 19, "records": 199_999})) == 3


def test_figures_count_completed_switches_and_fresh_results() -> None:
    to_dask = {
        "target": "dask-fallback",
        "trigger": "PrimaryDown",
        "decided": 1000,
        "first_result": 5000,
        "completed": 6000,
    }
    soon = {**to_dask, "first_result": 2000}
    planned = {**to_dask, "trigger": "Drill", "first_result": 99_000, "completed": 99_500}
    back = {
        "target": "flink",
        "trigger": "PrimaryRecovered",
        "decided": 9000,
        "first_result": 9500,
        "completed": 9900,
    }
    given_up = {**back, "first_result": None, "completed": None}
    played = [
        Played("quiet", Right.WAIT, worst_late_seconds=1.5),
        Played(
            "x",
            Right.SWITCH,
            seconds_until_fresh=20,
            seconds_until_ready=25,
            hand_overs=[to_dask, given_up, back],
            twice=3,
        ),
        Played("x-warm", Right.SWITCH, warm=True, hand_overs=[soon]),
        Played("drill", Right.SWITCH, seconds_until_fresh=0, worst_late_seconds=2.0, hand_overs=[planned]),
    ]
    found = figures(played)
    assert (found["faults"], found["switches"], found["written_by_both"]) == (1, 4, 3)
    assert found["seconds_to_first_fallback_result"] == {"count": 1, "p50": 4.0, "p95": 4.0, "most": 4.0}
    assert found["seconds_to_first_fallback_result_warm"]["most"] == 1.0
    assert found["seconds_until_healthy"]["most"] == 25.0
    assert (found["usual_late_seconds"], found["drill_late_seconds"]) == (1.5, 2.0)
