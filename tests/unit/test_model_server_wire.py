"""The model server's requests and replies, and which model folders it takes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

import wire
from served_model import ModelError, ServedModel, load_model

SHIPPED = Path(__file__).parents[2] / "model-server" / "models" / "nurse-stress"
NAMES = ["X", "Y", "Z", "EDA", "HR", "TEMP"]
READING = {"X": -34.0, "Y": 1, "Z": 20.5, "EDA": 0.4, "HR": 80, "TEMP": 32.0}


def make_folder(folder: Path, objective: str, changes: dict[str, Any] | None = None) -> Path:
    """A folder with a small model of two inputs, a and b."""
    rows = np.random.default_rng(1).normal(size=(400, 2))
    labels = np.digitize(rows[:, 0], [-0.5, 0.5])
    if objective == "binary":
        labels = (labels > 0).astype(np.int64)
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1}
    if objective == "multiclass":
        parameters["num_class"] = 3
    booster = lgb.train(parameters, lgb.Dataset(rows, labels, feature_name=["a", "b"]), 5)
    classes = {"binary": ["no", "yes"], "multiclass": ["low", "mid", "top"]}.get(objective, [])
    description = {
        "name": "small",
        "inputs": ["a", "b"],
        "output": "y",
        "objective": objective,
        "classes": classes,
        "ranges": {"a": [-3, 3]},
    }
    folder.mkdir(exist_ok=True)
    booster.save_model(folder / "model.txt")
    (folder / "model.json").write_text(json.dumps(description | (changes or {})))
    return folder


class Client:
    """Requests to an application without a socket; what it raises is a 500."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def get(self, path: str) -> httpx.Response:
        return self._request("GET", path)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self._request("POST", path, **body)

    def _request(self, method: str, path: str, **body: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://model") as client:
                return await client.request(method, path, **body)

        return asyncio.run(send())


@pytest.fixture(scope="module")
def shipped() -> ServedModel:
    return load_model(SHIPPED)


@pytest.fixture(scope="module")
def client(shipped: ServedModel) -> Client:
    return Client(wire.create_app(lambda: shipped))


def batch(rows: Any, columns: Any = None) -> str:
    return json.dumps({"inputs": rows, "columns": NAMES if columns is None else columns})


def test_columns_may_come_in_any_order(client: Client) -> None:
    rows = np.random.default_rng(2).normal([-34, 0, 20, 2, 90, 32], [30, 30, 30, 2, 20, 3], (200, 6))
    straight = client.post("/predict", content=batch(rows.tolist())).json()
    turned = client.post("/predict", content=batch(rows[:, ::-1].tolist(), NAMES[::-1])).json()
    assert straight == turned
    assert len(set(straight["predictions"])) > 1


def test_a_batch_is_not_range_checked(client: Client) -> None:
    reply = client.post("/predict", content=batch([[1e9, -1e9, 0, -5, 1e300, -273]]))
    assert reply.status_code == 200
    assert reply.json()["predictions"][0] in (0, 1, 2)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 400, "not JSON"),
        ("{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        ("[1, 2]", 400, "the body"),
        ("[" * 100_000, 400, "not JSON"),
        ("{}", 400, "columns: Field required"),
        ('{"columns": []}', 400, "inputs: Field required"),
        (batch([]), 422, "inputs"),
        (batch([[]]), 422, "inputs[0] must have 6"),
        (batch({"a": 1}), 400, "inputs"),
        (batch([1, 2, 3, 4, 5, 6]), 400, "inputs[0]"),
        (batch([[1, 2, 3, 4, 5, 6], [1, 2, 3]]), 422, "inputs[1] must have 6 numbers"),
        (batch([[1, 2, 3, 4, 5, 6, 7]]), 422, "inputs[0] must have 6 numbers"),
        (batch([[1, 2, 3, 4, 5, "6"]]), 400, "inputs[0][5]"),
        (batch([[1, 2, 3, 4, 5, None]]), 400, "inputs[0][5]"),
        (batch([[1, 2, 3, 4, True, 6]]), 400, "inputs[0][4]"),
        (batch([[1, 2, 3, 4, 5, float("nan")]]), 422, "inputs[0][5]"),
        (batch([[1, 2, 3, 4, 5, float("-inf")]]), 422, "inputs[0][5]"),
        (batch([[1, 2, 3, 4, 5, 6]]).replace("6]", "1e999]"), 422, "inputs[0][5]"),
        (batch([[1, 2, 3, 4, 5, 6]]).replace("6]", "9" * 400 + "]"), 422, "inputs[0][5]"),
        (batch([[1, 2, 3, 4, 5]], NAMES[:5]), 422, "columns must be"),
        (batch([[1, 2, 3, 4, 5, 6]], [*NAMES[:5], "X"]), 422, "columns must be"),
        (batch([[1, 2, 3, 4, 5, 6]], [*NAMES[:5], "temp"]), 422, "columns must be"),
        (batch([[1, 2, 3, 4, 5, 6]], "XYZ"), 400, "columns"),
        (batch([[1, 2, 3, 4, 5, 6]]).replace('"columns"', '"extra": 1, "columns"'), 400, "extra"),
        (batch([[0, 0, 0, 0, 0, 0]] * 100_001), 413, "at most 100000 rows, got 100001"),
    ],
)
def test_a_batch_that_cannot_work_is_refused(
    client: Client, shipped: ServedModel, body: str | bytes, status: int, says: str
) -> None:
    reply = client.post("/predict", content=body)
    assert says in reply.json()["error"]
    assert reply.status_code == status
    assert reply.json()["modelVersion"] == shipped.version
    assert len(reply.text) < 500


def test_the_largest_batch_is_answered(client: Client) -> None:
    reply = client.post("/predict", content=batch([[0, 0, 0, 0, 0, 0]] * 100_000))
    assert len(reply.json()["predictions"]) == 100_000


def test_a_body_that_is_too_long_is_not_read_to_its_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 1000)
    for path in ("/predict", "/model/api/predict"):
        assert client.post(path, content=b" " * 1001).status_code == 413


@given(
    body=st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps)
)
def test_no_body_is_an_error_of_the_server(client: Client, body: str | bytes) -> None:
    for path in ("/predict", "/model/api/predict"):
        assert 400 <= client.post(path, content=body).status_code < 500


def test_a_single_reading(client: Client, shipped: ServedModel) -> None:
    reply = client.post("/model/api/predict", json=READING | {"id": "5C"})
    row = np.array([[READING[name] for name in NAMES]], dtype=np.float64)
    expected = int(shipped.booster.predict(row).argmax())  # type: ignore[union-attr]
    assert reply.status_code == 200
    assert reply.json() == {"stress_level": expected, "modelVersion": shipped.version}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"HR": 19.9}, "HR must be a number from 20 to 250, got 19.9"),
        ({"HR": 250.5}, "HR must be a number from 20 to 250, got 250.5"),
        ({"X": -128.1}, "X must be a number from -128 to 128, got -128.1"),
        ({"Y": 129}, "Y must be a number from -128 to 128, got 129"),
        ({"Z": 10**400}, "Z must be a number from -128 to 128, got 10"),
        ({"EDA": -0.1}, "EDA must be a number from 0 to 100, got -0.1"),
        ({"TEMP": 51}, "TEMP must be a number from 0 to 50, got 51"),
        ({"TEMP": "32"}, "TEMP must be a number from 0 to 50, got '32'"),
        ({"TEMP": True}, "TEMP must be a number from 0 to 50, got True"),
        ({"TEMP": None}, "TEMP must be a number from 0 to 50, got None"),
        ({"TEMP": [32]}, "TEMP must be a number from 0 to 50, got [32]"),
        ({"TEMP": float("nan")}, "TEMP must be a number from 0 to 50, got nan"),
        ({"HR": 0, "EDA": 101}, "EDA must be a number from 0 to 100, got 101; HR must be"),
    ],
)
def test_a_reading_out_of_range_is_refused(client: Client, change: dict[str, Any], says: str) -> None:
    reply = client.post("/model/api/predict", content=json.dumps(READING | change))
    assert reply.status_code == 422
    assert says in reply.json()["error"]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_field_is_named(client: Client, name: str) -> None:
    reply = client.post("/model/api/predict", json={k: v for k, v in READING.items() if k != name})
    assert reply.status_code == 422
    assert reply.json()["error"].startswith(f"{name} is missing: it must be a number from ")


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "1", '"HR"', b"\xff"])
def test_a_reading_that_is_no_object_is_refused(client: Client, body: str | bytes) -> None:
    reply = client.post("/model/api/predict", content=body)
    assert reply.status_code == 400
    assert "the body" in reply.json()["error"]


@pytest.mark.parametrize(("name", "low", "high"), [("HR", 20, 250), ("X", -128, 128), ("TEMP", 0, 50)])
def test_ranges_include_their_ends(client: Client, name: str, low: float, high: float) -> None:
    for value in (low, high):
        assert client.post("/model/api/predict", json=READING | {name: value}).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/model/api/predict"])
def test_a_wrong_method_is_refused(client: Client, path: str) -> None:
    reply = client.get(path)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"] == "Method Not Allowed"


def test_the_root_describes_the_model(client: Client, shipped: ServedModel) -> None:
    reply = client.get("/").json()
    assert (reply["inputs"], reply["output"]) == (NAMES, "stress_level")
    assert reply["modelVersion"] == shipped.version


@pytest.mark.parametrize("objective", ["binary", "multiclass", "regression"])
def test_a_model_of_ones_own(tmp_path: Path, objective: str) -> None:
    served = load_model(make_folder(tmp_path / "m", objective))
    client = Client(wire.create_app(lambda: served))
    rows = np.random.default_rng(3).normal(size=(50, 2))
    raw = np.asarray(lgb.Booster(model_file=tmp_path / "m" / "model.txt").predict(rows))
    expected = {
        "binary": lambda: (raw > 0.5).astype(int).tolist(),
        "multiclass": lambda: raw.argmax(axis=1).tolist(),
        "regression": lambda: raw.tolist(),
    }[objective]()
    reply = client.post("/predict", content=batch(rows.tolist(), ["a", "b"]))
    assert reply.json()["predictions"] == expected
    single = client.post("/model/api/predict", json={"a": 0.5, "b": 1e6})
    assert type(single.json()["y"]) is (float if objective == "regression" else int)
    assert client.post("/model/api/predict", json={"a": 4, "b": 0}).status_code == 422
    assert client.post("/model/api/predict", content='{"a": 1, "b": 1e999}').status_code == 422


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": ["a"], "ranges": {}}, "2 features, but 1 inputs"),
        ({"inputs": ["b", "a"]}, "features ['a', 'b'], but inputs ['b', 'a']"),
        ({"inputs": ["a", "a"]}, "named twice"),
        ({"objective": "binary", "classes": ["no", "yes"]}, "objective multiclass, but binary"),
        ({"classes": ["low", "top"]}, "3 classes, but 2"),
        ({"classes": []}, "at least two classes"),
        ({"objective": "regression"}, "does not go with the classes"),
        ({"ranges": {"c": [0, 1]}}, "range of c"),
        ({"ranges": {"a": [1, 0]}}, "range of a"),
        ({"output": "modelVersion"}, "output must not be called modelVersion"),
        ({"pickle": "model.pkl"}, "pickle"),
    ],
)
def test_a_description_of_another_model_is_not_served(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says.replace("[", r"\[").replace("]", r"\]")):
        load_model(make_folder(tmp_path / "m", "multiclass", changes))


def test_a_model_that_is_not_whole_is_not_served(tmp_path: Path) -> None:
    # LightGBM would end this process on some of these.
    folder = make_folder(tmp_path / "m", "multiclass")
    whole = (folder / "model.txt").read_bytes()
    for content in (
        b"",
        b"tree\n",
        whole[:2000],
        whole[:-4000],
        whole.replace(b"threshold=", b"threshold=9"),
        b"\x80",
    ):
        (folder / "model.txt").write_bytes(content)
        with pytest.raises(ModelError, match="not a whole LightGBM model"):
            load_model(folder)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_model(tmp_path)
