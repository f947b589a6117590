"""The scorer against a real HTTP server that answers well, badly, late or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import stamina
from tests.support.http_answers import Answer, Request, http_server

from streampipeline import score
from streampipeline.api.spec import ModelRef
from streampipeline.retry import Stopped
from streampipeline.score import ModelRefused, ModelUnavailable, Scorer

ROWS = np.array([[1.0, 2.0], [3.0, 4.0]])
USE_DEFAULT = {"onUnavailable": {"policy": "UseDefault", "default": 1}}


@pytest.fixture(autouse=True)
def _short_pauses() -> Iterator[None]:
    """Retries without pauses, as many as the code asks for."""
    with stamina.set_testing(True, attempts=1_000, cap=True):
        yield


def model(**more: Any) -> ModelRef:
    return ModelRef.model_validate(
        {
            "external": {"url": "http://unused"},
            "inputs": ["X", "HR"],
            "output": "level",
            "attempts": 2,
            **more,
        }
    )


def scorer(url: str, **more: Any) -> Scorer:
    return Scorer(model(**more), url, lambda: False)


def sums(request: Request) -> Answer:
    """A model that answers with the whole sum of a row."""
    inputs = json.loads(request.body)["inputs"]
    return Answer(200, {"predictions": [int(sum(row)) for row in inputs], "modelVersion": "v1"})


def test_scores_every_row_in_order_with_the_spec_s_columns() -> None:
    with http_server(sums) as server:
        scores = scorer(server.url).score(ROWS)
    assert scores.output.to_pylist() == [3, 7]
    assert scores.scored.to_pylist() == [True, True]
    assert scores.model_version.to_pylist() == ["v1", "v1"]
    assert server.requests[0].path == "/predict"
    assert json.loads(server.requests[0].body) == {"inputs": ROWS.tolist(), "columns": ["X", "HR"]}


def test_inputs_reach_the_model_bit_by_bit() -> None:
    values = np.array([[0.1 + 0.2, 1e-320], [2.0**53 + 1, -1 / 3]])
    with http_server(sums) as server:
        scorer(server.url).score(values)
    assert json.loads(server.requests[0].body)["inputs"] == values.tolist()


def test_large_batches_go_in_chunks() -> None:
    rows = np.arange(2 * (score.CHUNK_ROWS + 5), dtype=np.float64).reshape(-1, 2)
    with http_server(sums) as server:
        scores = scorer(server.url).score(rows)
    assert [len(json.loads(r.body)["inputs"]) for r in server.requests] == [score.CHUNK_ROWS, 5]
    assert scores.output.to_pylist() == rows.sum(axis=1).astype(int).tolist()


BAD_REPLIES = [
    {"predictions": [1], "modelVersion": "v"},
    {"predictions": [1, 2, 3], "modelVersion": "v"},
    {"predictions": [1, 2.5], "modelVersion": "v"},
    {"predictions": [1, 2.0], "modelVersion": "v"},
    {"predictions": [1, True], "modelVersion": "v"},
    {"predictions": [1, None], "modelVersion": "v"},
    {"predictions": [1, "2"], "modelVersion": "v"},
    {"predictions": [1, 2**63], "modelVersion": "v"},
    {"predictions": {"0": 1, "1": 2}, "modelVersion": "v"},
    {"predictions": [1, 2]},
    {"predictions": [1, 2], "modelVersion": ""},
    {"predictions": [1, 2], "modelVersion": 7},
    {"modelVersion": "v"},
    [1, 2],
    None,
]


@pytest.mark.parametrize("reply", BAD_REPLIES)
def test_nonsense_counts_as_unavailable(reply: object) -> None:
    with http_server(lambda _: Answer(200, reply)) as server:
        scores = scorer(server.url, **USE_DEFAULT).score(ROWS)
    assert len(server.requests) == 2
    assert scores.output.to_pylist() == [1, 1]
    assert scores.scored.to_pylist() == [False, False]
    assert scores.model_version.to_pylist() == ["", ""]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), True, "1"])
def test_number_outputs_must_be_finite_numbers(number: object) -> None:
    reply = {"predictions": [0.5, number], "modelVersion": "v"}
    with http_server(lambda _: Answer(200, reply)) as server:
        scores = scorer(server.url, outputType="Number", **USE_DEFAULT).score(ROWS)
    assert scores.output.to_pylist() == [1.0, 1.0]
    assert scores.scored.to_pylist() == [False, False]


def test_number_outputs_are_floats_even_when_the_model_answers_whole_ones() -> None:
    with http_server(lambda _: Answer(200, {"predictions": [1, 0.1], "modelVersion": "v"})) as server:
        scores = scorer(server.url, outputType="Number").score(ROWS)
    assert scores.output.type == "double"
    assert scores.output.to_pylist() == [1.0, 0.1]


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
def test_wait_asks_until_the_model_answers(status: int) -> None:
    failures = iter([status] * 5)

    def answer(request: Request) -> Answer:
        failed = next(failures, None)
        return sums(request) if failed is None else Answer(failed, {"error": "no"})

    with http_server(answer) as server:
        scores = scorer(server.url).score(ROWS)
    assert scores.output.to_pylist() == [3, 7]
    assert len(server.requests) == 6


def test_wait_ends_when_asked_to_stop() -> None:
    stop = threading.Event()

    def answer(_: Request) -> Answer:
        stop.set()
        return Answer(503)

    with http_server(answer) as server, pytest.raises(Stopped):
        Scorer(model(), server.url, stop.is_set).score(ROWS)


def test_a_model_that_does_not_answer_in_time_is_unavailable() -> None:
    release = threading.Event()

    def answer(request: Request) -> Answer:
        release.wait(10)
        return sums(request)

    with http_server(answer) as server:
        scores = scorer(server.url, timeoutSeconds=1, attempts=1, **USE_DEFAULT).score(ROWS)
        release.set()
    assert scores.scored.to_pylist() == [False, False]


def test_a_model_that_is_not_there_is_unavailable() -> None:
    with http_server(sums) as server:
        pass
    scores = scorer(server.url, **USE_DEFAULT).score(ROWS)
    assert scores.scored.to_pylist() == [False, False]


def test_while_the_model_is_down_it_is_asked_seldom_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(score, "monotonic", lambda: now)
    up = False
    with http_server(lambda request: sums(request) if up else Answer(503)) as server:
        subject = scorer(server.url, **USE_DEFAULT)
        assert subject.score(ROWS).scored.to_pylist() == [False, False]
        assert len(server.requests) == 2  # the spec's attempts
        subject.score(ROWS)
        assert len(server.requests) == 2  # not asked again at once
        now += score.PROBE_AGAIN_SECONDS
        subject.score(ROWS)
        assert len(server.requests) == 3  # a single attempt
        now += score.PROBE_AGAIN_SECONDS
        up = True
        assert subject.score(ROWS).scored.to_pylist() == [True, True]
        up = False
        subject.score(ROWS)
        assert len(server.requests) == 6  # well again: the spec's attempts


def test_a_refusal_is_told_apart_from_an_outage() -> None:
    refusing = http_server(lambda _: Answer(400, {"error": "unknown column HR"}))
    with refusing as server, pytest.raises(ModelRefused, match="unknown column HR"):
        scorer(server.url)._ask(ROWS)
    with http_server(lambda _: Answer(503)) as server, pytest.raises(ModelUnavailable) as raised:
        scorer(server.url)._ask(ROWS)
    assert not isinstance(raised.value, ModelRefused)


def test_use_default_needs_a_default() -> None:
    with pytest.raises(ValueError, match="default"):
        scorer("http://unused", onUnavailable={"policy": "UseDefault"})


def test_an_answer_of_another_version_is_no_answer() -> None:
    with http_server(sums) as server:
        pinned = Scorer(model(**USE_DEFAULT), server.url, lambda: False, version="v0")
        assert pinned.score(ROWS).scored.to_pylist() == [False, False]
        assert Scorer(model(), server.url, lambda: False, version="v1").score(ROWS).output.to_pylist() == [
            3,
            7,
        ]


def test_one_that_must_answer_gives_neither_a_default_nor_a_wait() -> None:
    with http_server(sums) as server:
        strict = Scorer(model(**USE_DEFAULT), server.url, lambda: False, version="v0", must_answer=True)
        with pytest.raises(ModelUnavailable, match=r"answers as v1.*has v0"):
            strict.score(ROWS)
        assert len(server.requests) == 2, "the spec's attempts"
