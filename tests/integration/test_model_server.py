"""The real server as a process, started both ways that the README names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import lightgbm as lgb
import numpy as np
import psutil
import pytest

from streampipeline.local.processes import free_port

FOLDER = Path(__file__).parents[2] / "model-server"
MODEL = FOLDER / "models" / "nurse-stress" / "model.txt"
pytestmark = pytest.mark.integration
NAMES = ["X", "Y", "Z", "EDA", "HR", "TEMP"]
READING = {"X": -34.0, "Y": 1.0, "Z": 20.5, "EDA": 0.4, "HR": 80.0, "TEMP": 32.0}
START_SECONDS = 90
COMMANDS = {
    "serve.py": [sys.executable, "serve.py"],
    "bentoml": [sys.executable, "-m", "bentoml", "serve", "service:StressModel"],
}


@dataclass
class Server:
    client: httpx.Client
    process: subprocess.Popen[bytes]


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all it started; nothing of it may be left."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    try:
        process.wait(20)
    finally:
        _, left = psutil.wait_procs(family[1:], timeout=10)
        for child in left:
            child.kill()
        if process.poll() is None:
            process.kill()
            process.wait()
    assert not left


def wait_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)  # nothing listens yet: there is no event to wait for
    raise AssertionError(f"not ready after {START_SECONDS} s")


@pytest.fixture(scope="module", params=list(COMMANDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    environment = os.environ | {
        "BENTOML_HOME": str(tmp_path_factory.mktemp("bentoml")),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    environment.pop("STREAMPIPELINE_MODEL_DIR", None)
    command = [*COMMANDS[request.param], "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, cwd=FOLDER, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_ready(client, process)
            yield Server(client, process)
    finally:
        end(process)


def test_a_batch_equals_the_model_file(server: Server) -> None:
    rows = np.random.default_rng(4).normal([-34, 0, 20, 2, 90, 32], [30, 30, 30, 2, 20, 3], (2000, 6))
    reply = server.client.post("/predict", json={"inputs": rows.tolist(), "columns": NAMES})
    expected = np.asarray(lgb.Booster(model_file=MODEL).predict(rows)).argmax(axis=1)
    assert reply.status_code == 200
    assert set(reply.json()) == {"predictions", "modelVersion"}
    assert reply.json()["predictions"] == expected.tolist()
    assert set(expected) == {0, 1, 2}
    assert reply.json()["modelVersion"].startswith("nurse-stress-")


def test_a_single_reading(server: Server) -> None:
    reply = server.client.post("/model/api/predict", json=READING)
    expected = np.asarray(lgb.Booster(model_file=MODEL).predict(np.array([list(READING.values())])))
    assert reply.status_code == 200
    assert set(reply.json()) == {"stress_level", "modelVersion"}
    assert reply.json()["stress_level"] == int(expected.argmax())


def test_refusals(server: Server) -> None:
    post = server.client.post
    high = post("/model/api/predict", json=READING | {"HR": 300})
    assert high.status_code == 422
    assert high.json()["error"] == "HR must be a number from 20 to 250, got 300"
    assert post("/predict", content=b"{").status_code == 400
    ragged = post("/predict", json={"inputs": [[1, 2]], "columns": NAMES})
    assert (ragged.status_code, "error" in ragged.json()) == (422, True)
    assert server.client.get("/predict").status_code == 405


def test_probes_and_metrics(server: Server) -> None:
    assert server.client.post("/model/api/predict", json=READING).status_code == 200
    assert server.client.post("/predict", content=b"{").status_code == 400
    assert server.client.get("/livez").status_code == 200
    assert server.client.get("/readyz").status_code == 200
    metrics = server.client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(values['streampipeline_model_rows_total{mode="single"}']) >= 1
    assert float(values['streampipeline_model_refused_total{mode="batch",status="400"}']) >= 1
    assert any(name.startswith("bentoml_service_request_total") for name in values)


def test_no_page_of_trackers_at_the_root(server: Server) -> None:
    reply = server.client.get("/")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["inputs"] == NAMES


def test_without_a_model_the_server_ends_and_says_why(tmp_path: Path) -> None:
    environment = os.environ | {"STREAMPIPELINE_MODEL_DIR": str(tmp_path)}
    command = [*COMMANDS["serve.py"], "--port", str(free_port())]
    ended = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=START_SECONDS
    )
    assert ended.returncode == 2
    assert ended.stderr.strip().endswith(f"cannot read {tmp_path / 'model.json'}: No such file or directory")
