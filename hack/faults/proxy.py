"""A reverse proxy on loopback in front of one HTTP server: what passes is watched, delayed or replaced."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMEOUT_SECONDS = 30.0
_OF_ONE_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "server", "date"}


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it is told."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Forward = Callable[[Request], Answer]
"""Asks the server. Raises OSError, http.client.HTTPException."""
Rule = Callable[[Request, Forward], Answer]
"""What becomes of a request."""


def through(request: Request, forward: Forward) -> Answer:
    """The rule of a proxy that does nothing."""
    return forward(request)


class Proxy:
    """Serves until closed. A server that does not answer is a closed connection to the client."""

    def __init__(self, port: int, watch: Callable[[Request, Answer], None] | None = None) -> None:
        """`port`: of the server. `watch` is told of every exchange, before the client is. Raises OSError."""
        self.rule: Rule = through
        self._port = port
        self._watch = watch
        self._server = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def exchange(self, request: Request) -> Answer:
        """Raises OSError, http.client.HTTPException."""
        answer = self.rule(request, self._forward)
        if self._watch is not None:
            self._watch(request, answer)
        return answer

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            reply = connection.getresponse()
            return Answer(reply.status, reply.read(), dict(reply.getheaders()))
        finally:
            connection.close()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _OF_ONE_HOP}
        try:
            answer = self.server.proxy.exchange(Request(self.command, self.path, headers, body))
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in _OF_ONE_HOP:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815  # names of the library's

    def log_message(self, *_: object) -> None:
        """Nothing: what matters is watched."""
