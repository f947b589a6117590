"""Scoring windows with the model server.

What counts as *unavailable*: no connection, a time-out, any status but 200, and an answer that is nonsense
(wrong length, not numbers, not whole numbers for an Integer output, no modelVersion): nonsense is never
written. A 4xx is told apart in the log (`ModelRefused`: the request or the model is wrong, waiting alone
will not help) but treated the same: with `Wait` the pipeline stands still, visibly, and goes on by itself
once the right model is deployed; with `UseDefault` the windows get the default, are marked, and are
repaired later.

An answer of another version than the generation's is *unavailable* too: each window has one model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
import pyarrow as pa
import stamina
import structlog

from streampipeline.api.spec import ModelRef, OutputType, UnavailablePolicy
from streampipeline.points import FloatArray, Scores
from streampipeline.retry import Stopped, until_available

log = structlog.get_logger(__name__)

CHUNK_ROWS = 10_000
"""Windows of one request."""

PROBE_AGAIN_SECONDS = 5.0
"""With UseDefault: how long after the last failure the model is not asked at all."""

KEEP_ALIVE_SECONDS = 2.0
"""Shorter than servers keep idle connections (uvicorn: 5 s), so that none is closed under a request."""

INT64 = range(-(2**63), 2**63)


class ModelUnavailable(Exception):
    """The model gave no usable answer."""


class ModelRefused(ModelUnavailable):
    """The model answered 4xx: this request will not work before the model or the spec is changed."""


class ModelChanged(ModelUnavailable):
    """The model answered as another version than the generation's."""


def changed(found: str, wanted: str) -> str:
    """What to say of a model that is not the generation's."""
    return (
        f"the model answers as {found}, and the generation has {wanted}: put that back, "
        "or take the new one up with spec.model.version"
    )


@dataclass(frozen=True)
class _Reply:
    predictions: list[int] | list[float]
    """Length: the rows asked about; whole numbers for an Integer output, else floats."""
    model_version: str


class Scorer:
    """Scores windows in batches. Not for use by several threads."""

    def __init__(
        self,
        model: ModelRef,
        url: str,
        should_stop: Callable[[], bool],
        *,
        version: str = "",
        must_answer: bool = False,
    ) -> None:
        """`url`: of the model server, without `/predict`. Raises ValueError: UseDefault without a default.

        `version`: what it must answer as (empty: anything). `must_answer`: neither wait for the model nor do
        without it: `score` raises ModelUnavailable after the spec's attempts.
        """
        if (
            model.on_unavailable.policy is UnavailablePolicy.USE_DEFAULT
            and model.on_unavailable.default is None
        ):
            raise ValueError("model.onUnavailable: policy UseDefault needs a default")
        self._model = model
        self._url = url.rstrip("/") + "/predict"
        self._should_stop = should_stop
        self._default = model.on_unavailable.default
        self._version = version
        self._must_answer = must_answer
        self._integer = model.output_type is OutputType.INTEGER
        self._ask_from = 0.0
        self._down = False
        self._model_version: str | None = None
        # The environment's proxies are not for a server of the pipeline's own.
        self._client = httpx.Client(
            timeout=float(model.timeout_seconds),
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,
        )

    def score(self, inputs: FloatArray) -> Scores:
        """Score n windows; `inputs` has shape (n, len(model.inputs)), in the order of `model.inputs`.

        With Wait, blocks until the model answers. Raises Stopped; ModelUnavailable where it must answer.
        """
        replies = [
            self._chunk(inputs[start : start + CHUNK_ROWS]) for start in range(0, len(inputs), CHUNK_ROWS)
        ]
        output: list[int | float] = []
        scored: list[bool] = []
        versions: list[str] = []
        for reply in replies:
            rows = len(reply.predictions)
            output.extend(reply.predictions)
            scored.extend([reply.model_version != ""] * rows)
            versions.extend([reply.model_version] * rows)
        kind = pa.int64() if self._integer else pa.float64()
        return Scores(pa.array(output, kind), pa.array(scored, pa.bool_()), pa.array(versions, pa.string()))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _chunk(self, rows: FloatArray) -> _Reply:
        if self._must_answer:
            return self._ask_some_times(rows)
        if self._default is None:
            return until_available(lambda: self._ask(rows), ModelUnavailable, self._should_stop)
        if monotonic() >= self._ask_from:
            try:
                return self._ask_some_times(rows)
            except ModelUnavailable as error:
                if not self._down:
                    log.error("model unavailable: windows get the default until it answers", error=str(error))
                self._down = True
                self._ask_from = monotonic() + PROBE_AGAIN_SECONDS
        default = self._default if self._integer else float(self._default)
        return _Reply([default] * len(rows), model_version="")

    def _ask_some_times(self, rows: FloatArray) -> _Reply:
        """The spec's number of attempts; a single one while the model is known to be down."""
        for attempt in stamina.retry_context(
            on=ModelUnavailable,
            attempts=1 if self._down else self._model.attempts,
            timeout=None,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.1,
        ):
            with attempt:
                if self._should_stop():
                    raise Stopped("asked to stop while scoring")
                return self._ask(rows)
        raise AssertionError("stamina raises the last error when attempts run out")

    def _ask(self, rows: FloatArray) -> _Reply:
        """One request. Raises ModelUnavailable."""
        body = json.dumps({"inputs": rows.tolist(), "columns": self._model.inputs})
        try:
            response = self._client.post(
                self._url, content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise ModelUnavailable(f"{self._url}: {type(error).__name__}: {error}") from error
        if 400 <= response.status_code < 500:
            raise ModelRefused(f"{self._url}: {response.status_code}: {response.text[:300]}")
        if response.status_code != 200:
            raise ModelUnavailable(f"{self._url}: {response.status_code}: {response.text[:300]}")
        reply = self._parse(response.content, len(rows))
        if self._version not in ("", reply.model_version):
            raise ModelChanged(f"{self._url}: {changed(reply.model_version, self._version)}")
        self._heard_from(reply.model_version)
        return reply

    def _heard_from(self, model_version: str) -> None:
        if self._down:
            log.info("model answers again", model_version=model_version)
            self._down = False
        if model_version != self._model_version:
            log.info("model version", now=model_version, before=self._model_version)
            self._model_version = model_version

    def _parse(self, content: bytes, rows: int) -> _Reply:
        try:
            answer: Any = json.loads(content)
        except ValueError as error:
            raise ModelUnavailable(f"{self._url}: the reply is not JSON: {error}") from error
        predictions = answer.get("predictions") if isinstance(answer, dict) else None
        version = answer.get("modelVersion") if isinstance(answer, dict) else None
        if not isinstance(version, str) or not version:
            raise ModelUnavailable(f"{self._url}: the reply has no modelVersion")
        if not isinstance(predictions, list) or len(predictions) != rows:
            raise ModelUnavailable(f"{self._url}: the reply does not hold {rows} predictions")
        valid = _is_integer if self._integer else _is_number
        if not all(map(valid, predictions)):
            kind = "whole" if self._integer else "finite"
            raise ModelUnavailable(f"{self._url}: the reply has predictions that are not {kind} numbers")
        return _Reply(predictions if self._integer else [float(value) for value in predictions], version)


def _is_integer(value: object) -> bool:
    return type(value) is int and value in INT64


def _is_number(value: object) -> bool:
    return _is_integer(value) or (type(value) is float and math.isfinite(value))
