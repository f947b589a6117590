"""Requests to the API server: each is made once, and ends when it is said to."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread

import pytest
import yaml

from streampipeline_operator import kube
from streampipeline_operator.kube import ApiException, Kube
from streampipeline_operator.main import Backoffs


def test_a_busy_server_is_neither_waited_for_nor_asked_again(tmp_path: Path) -> None:
    """By the library: whoever asks repeats it, in time."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(429)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    there = {"server": f"http://127.0.0.1:{server.server_port}"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "busy", "cluster": there}],
        "contexts": [{"name": "busy", "context": {"cluster": "busy", "user": "busy"}}],
        "users": [{"name": "busy", "user": {}}],
        "current-context": "busy",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    try:
        with pytest.raises(ApiException) as refused:
            Kube.of(file).get(kube.POD, "ward", "any")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert refused.value.status == 429
    assert len(asked) == 1


def test_kopf_asks_for_ever_and_soon_enough() -> None:
    backoffs = Backoffs()
    assert [max(islice(backoffs, 1000)) for _ in range(2)] == [5, 5]
