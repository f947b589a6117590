"""How the audit asks InfluxDB and what it makes of the answer; predictions from a model file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import lightgbm
import numpy as np
import pytest

from streampipeline.jobconfig import InfluxDbEndpoint
from streampipeline_audit.errors import AuditError
from streampipeline_audit.influx_points import InfluxPoints
from streampipeline_audit.prediction import LightGbmPredictor, same_prediction

ANSWER = "\r\n".join(
    [
        "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,string,string,string,double,long,long,boolean,string",
        "#group,false,false,true,true,false,true,true,true,false,false,false,false,false",
        "#default,_result,,,,,,,,,,,,",
        ",result,table,_start,_stop,_time,_measurement,id,pipeline,X,n,hash,scored,modelVersion",
        ",,0,1970-01-01T00:00:00Z,2024-01-01T00:00:00Z,2023-11-14T22:13:20Z,stress,a,p,0.1,3,9007199254740993,true,m-1",
        ",,0,1970-01-01T00:00:00Z,2024-01-01T00:00:00Z,2023-11-14T22:13:25.005Z,stress,a,p,0.30000000000000004,1,-5,false,",
        "",
        "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,string,string,string,string,double,long,long,boolean,string",
        "#group,false,false,true,true,false,true,true,true,true,false,false,false,false,false",
        "#default,_result,,,,,,,,,,,,,",
        ",result,table,_start,_stop,_time,_measurement,id,pipeline,engine,X,n,hash,scored,modelVersion",
        ",,1,1970-01-01T00:00:00Z,2024-01-01T00:00:00Z,2023-11-14T22:13:20Z,stress,a,p,dask,,3,7,true,m-1",
        "",
    ]
)


class Influx:
    """Answers every query with `status` and `ANSWER`."""

    def __init__(self) -> None:
        self.status = 200
        self.queries: list[str] = []
        self.tokens: list[str] = []


@pytest.fixture
def influx() -> Iterator[tuple[Influx, str]]:
    state = Influx()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.queries.append(body.decode())
            state.tokens.append(self.headers["Authorization"])
            content = ANSWER.encode() if state.status == 200 else b'{"code":"unauthorized","message":"no"}'
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def points(url: str, folder: Path, pipeline: str = "p") -> InfluxPoints:
    token = folder / "token"
    token.write_text("secret\n")
    endpoint = InfluxDbEndpoint(url=url, org="o", bucket="b", measurement="stress", token_file=str(token))
    return InfluxPoints(endpoint, token, pipeline, "id")


def test_points_of_influxdb(influx: tuple[Influx, str], tmp_path: Path) -> None:
    state, url = influx
    found = list(points(url, tmp_path).points(1_700_000_000_000, 1_700_000_300_000))
    assert [(p.key, p.start, p.n) for p in found] == [
        ("a", 1_700_000_000_000, 3),
        ("a", 1_700_000_005_005, 1),
        ("a", 1_700_000_000_000, 3),
    ]
    assert found[0].fields == {"X": 0.1, "n": 3, "hash": 2**53 + 1, "scored": True, "modelVersion": "m-1"}
    assert found[1].fields["X"] == 0.30000000000000004
    assert found[1].fields["modelVersion"] == ""
    assert found[2].fields["X"] is None
    assert state.tokens == ["Token secret"]
    [query] = state.queries
    assert "time(v: 1700000000000000000), stop: time(v: 1700000300000000000)" in query


def test_names_are_quoted(influx: tuple[Influx, str], tmp_path: Path) -> None:
    state, url = influx
    list(points(url, tmp_path, pipeline='a"b\\c${d}').points(0, 1))
    assert r"r.pipeline == \"a\\\"b\\\\c\\${d}\"" in state.queries[0]


def test_an_influxdb_that_refuses_or_is_away_is_told(influx: tuple[Influx, str], tmp_path: Path) -> None:
    state, url = influx
    state.status = 401
    with pytest.raises(AuditError, match="401"):
        list(points(url, tmp_path).points(0, 1))
    with pytest.raises(AuditError, match="does not answer"):
        list(points("http://127.0.0.1:1", tmp_path).points(0, 1))
    with pytest.raises(AuditError, match="token file"):
        InfluxPoints(
            InfluxDbEndpoint(url=url, org="o", bucket="b", measurement="m", token_file="-"),
            tmp_path / "none",
            "p",
            "id",
        )


def model_file(folder: Path, objective: str) -> Path:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(300, 2))
    target = {
        "multiclass": np.digitize(inputs[:, 0], [-0.5, 0.5]),
        "binary": inputs[:, 0] > 0,
        "regression": inputs[:, 0],
    }[objective]
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1}
    if objective == "multiclass":
        parameters["num_class"] = 3
    data = lightgbm.Dataset(inputs, target.astype(float), feature_name=["X", "Y"])
    path = folder / "model.txt"
    lightgbm.train(parameters, data, num_boost_round=5).save_model(path)
    return path


def test_predictions_are_made_again_in_the_order_of_the_model(tmp_path: Path) -> None:
    path = model_file(tmp_path, "multiclass")
    predictor = LightGbmPredictor(path, ["Y", "X"])
    assert predictor.predict([[9.0, -2.0], [9.0, 0.0], [-9.0, 2.0]]) == [0, 1, 2]
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert predictor.knows(f"nurse-stress-{version}")
    assert not predictor.knows("nurse-stress-000000000000")
    assert not predictor.knows("")


def test_binary_classes_and_numbers(tmp_path: Path) -> None:
    assert LightGbmPredictor(model_file(tmp_path, "binary"), ["X", "Y"]).predict([[-2, 0], [2, 0]]) == [0, 1]
    low, high = LightGbmPredictor(model_file(tmp_path, "regression"), ["X", "Y"]).predict([[-2, 0], [2, 0]])
    assert low < 0 < high
    assert isinstance(low, float)


@pytest.mark.parametrize("content", [None, b"", b"tree\nversion=v4\n", b"\xff"])
def test_a_file_that_is_no_model_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AuditError, match="model file"):
        LightGbmPredictor(path, ["X"])


def test_a_model_of_other_inputs_is_told(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="2 inputs, the spec names 3"):
        LightGbmPredictor(model_file(tmp_path, "binary"), ["X", "Y", "Z"])


def test_what_is_the_same_prediction() -> None:
    assert same_prediction(2, 2, integer=True)
    assert not same_prediction(2.0, 2, integer=True)
    assert not same_prediction(True, 1, integer=True)
    assert same_prediction(1.0, 1.0 + 1e-12, integer=False)
    assert not same_prediction(1.0, 1.0 + 1e-8, integer=False)
    assert not same_prediction(None, 0.0, integer=False)
