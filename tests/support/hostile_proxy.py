"""A proxy before an API server that does what networks and busy servers do: real sockets, faults on demand.

Plain HTTP on loopback outside, TLS inside. What it is told to do to a request is a `Rule`; the honest proxy
passes all on.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from tests.support.api_server import ApiServer


@dataclass(frozen=True)
class Request:
    """One that a client sends."""

    method: str
    path: str
    """With its query."""

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    @property
    def watches(self) -> bool:
        """Whether its answer is a stream."""
        return "watch=true" in self.path.lower()


@dataclass(frozen=True)
class Fate:
    """What becomes of a request. Of several members each counts."""

    delay_seconds: float = 0
    status: int = 0
    """Answered so, and not passed on."""
    gone: bool = False
    """A stream that says only that the version is too old, as API servers do."""
    lose_reply: bool = False
    """Passed on; the connection is cut before the answer."""
    stale: bool = False
    """Answered as it was before the fault began, where it was asked for then."""
    until: threading.Event | None = None
    """Passed on when this is set; the answer to it is kept in `HostileProxy.held`."""


PASSED_ON = Fate()
Rule = Callable[[Request], Fate]


@dataclass
class HostileProxy:
    """Of one API server."""

    server: ApiServer
    port: int = 0
    rule: Rule = lambda _: PASSED_ON
    holds_watches: threading.Event = field(default_factory=threading.Event)
    """While it is set, streams say nothing."""
    suffered: dict[str, int] = field(default_factory=dict)
    """How many requests met each fault."""
    held: list[int] = field(default_factory=list)
    """Statuses of the answers to requests that were held back."""
    _answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _sockets: set[socket.socket] = field(default_factory=set)
    _streams: set[socket.socket] = field(default_factory=set)
    _listener: ThreadingHTTPServer | None = None

    def kubeconfig(self, path: Path) -> Path:
        """The server's own, by way of the proxy."""
        config = yaml.safe_load(self.server.kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        path.write_text(yaml.safe_dump(config))
        return path

    def listen(self) -> None:
        """Accept connections, at the port of before."""
        self._listener = _Listener(self)
        self.port = self._listener.server_port
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()

    def vanish(self) -> None:
        """Refuse connections, and cut those that there are."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None
        self._cut(self._sockets)

    def cut_watches(self) -> None:
        """In the middle of their streams."""
        self._cut(self._streams)

    @staticmethod
    def _cut(sockets: set[socket.socket]) -> None:
        for one in list(sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def under(self, rule: Rule) -> Iterator[None]:
        """Requests meet this rule until the block ends."""
        self.suffered.clear()
        before, self.rule = self.rule, rule
        try:
            yield
        finally:
            self.rule = before

    def count(self, fault: str) -> None:
        """A request met it."""
        self.suffered[fault] = self.suffered.get(fault, 0) + 1


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, proxy: HostileProxy) -> None:
        self.proxy = proxy
        self.trusting = ssl.create_default_context(cafile=str(proxy.server.certificate))
        super().__init__(("127.0.0.1", proxy.port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections end in every way here."""


@contextmanager
def hostile_proxy(server: ApiServer) -> Iterator[HostileProxy]:
    """Honest until it is told otherwise."""
    proxy = HostileProxy(server)
    proxy.listen()
    try:
        yield proxy
    finally:
        proxy.vanish()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.proxy = self.server.proxy
        self.proxy._sockets.add(self.request)
        target = urlsplit(self.proxy.server.url)
        self.upstream = http.client.HTTPSConnection(
            target.hostname or "", target.port, context=self.server.trusting, timeout=90
        )

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.proxy._sockets.discard(self.request)
        self.upstream.close()

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        request = Request(self.command, self.path)
        fate = self.proxy.rule(request)
        if fate.delay_seconds:
            self.proxy.count("delayed")
            time.sleep(fate.delay_seconds)
        known = self.proxy._answers.get(self.path) if fate.stale else None
        if fate.status:
            self.proxy.count(str(fate.status))
            self._refuse(fate.status)
        elif fate.gone:
            self.proxy.count("410")
            told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410}
            event = {"type": "ERROR", "object": {**told, "reason": "Expired", "message": "a fault"}}
            self._answer(200, json.dumps(event).encode() + b"\n")
        elif known is not None:
            self.proxy.count("stale")
            self._answer(*known)
        else:
            self._pass_on(request, fate, body)

    def _pass_on(self, request: Request, fate: Fate, body: bytes | None) -> None:
        if fate.until is not None:
            self.proxy.count("held")
            fate.until.wait()
        skipped = ("host", "connection", "accept-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        self.upstream.request(self.command, self.path, body, headers)
        answer = self.upstream.getresponse()
        if request.watches and answer.status == 200:
            return self._stream(answer)
        content = answer.read()
        if fate.until is not None:
            self.proxy.held.append(answer.status)
        if fate.lose_reply:
            self.proxy.count("lost")
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if not request.changes and answer.status == 200:
            self.proxy._answers[self.path] = answer.status, content
        return self._answer(answer.status, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

    def _refuse(self, status: int) -> None:
        reason = {409: "Conflict", 429: "TooManyRequests"}.get(status, "InternalError")
        told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
        self._answer(status, json.dumps({**told, "reason": reason, "message": "a fault"}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self.proxy._streams.add(self.request)
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            while data := answer.read1(65536):
                while self.proxy.holds_watches.is_set():
                    self.proxy.count("held")
                    time.sleep(0.1)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        finally:
            self.proxy._streams.discard(self.request)

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


# Rules


def of_lost_replies_and_conflicts() -> Rule:
    """Of three changes one is carried out unseen, one is refused for a conflict, one goes through."""
    turn = itertools.count()
    fates = (Fate(lose_reply=True), Fate(status=409), PASSED_ON)

    def rule(request: Request) -> Fate:
        return fates[next(turn) % 3] if request.changes else PASSED_ON

    return rule


def of_a_busy_server() -> Rule:
    """Every answer takes its time, and every other one is that there is no time."""
    turn = itertools.count()
    statuses = (0, 429, 0, 500, 0, 503)

    def rule(request: Request) -> Fate:
        del request
        return Fate(delay_seconds=0.2, status=statuses[next(turn) % len(statuses)])

    return rule


def of_stale_reads(request: Request) -> Fate:
    """All that was read before is read as it was then."""
    return PASSED_ON if request.changes or request.watches else Fate(stale=True)


def of_forgotten_versions(request: Request) -> Fate:
    """No watch can go on where it was."""
    return Fate(gone=True) if request.watches and "resourceVersion=" in request.path else PASSED_ON
