"""The model server's HTTP surface: exactly the bodies of docs/contracts.md, "Model server".

A request that will never work gets a 4xx and `{"error": ...}`: 400 a body of the wrong shape, 413 too
much of it, 422 numbers that the model cannot be asked about. A 5xx is worth another try.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, FailFast, Field, FiniteFloat, ValidationError
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from served_model import ServedModel

MAX_ROWS = 100_000
MAX_BODY_BYTES = 64 * 1024 * 1024

ROWS = Counter("streampipeline_model_rows", "Rows predicted", ["mode"])
REFUSED = Counter("streampipeline_model_refused", "Requests answered with a 4xx", ["mode", "status"])


Answer = Callable[[ServedModel, bytes], dict[str, Any]]
"""(model, body) -> reply; raises Refused."""


class Refused(Exception):
    """A request that will never work: its HTTP status and what is wrong with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BatchRequest(BaseModel):
    """Body of /predict. FailFast: one error is reported, not one for each number of a wrong body."""

    model_config = ConfigDict(strict=True, extra="forbid")

    columns: list[str]
    inputs: Annotated[list[Annotated[list[FiniteFloat], FailFast()]], FailFast(), Field(min_length=1)]


def create_app(model: Callable[[], ServedModel]) -> Starlette:
    """The application of both endpoints, answering from whatever model `model()` returns."""

    def endpoint(mode: str, answer: Answer) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            served = model()
            try:
                body = await _body(request)
                # A thread: /livez and other requests go on while a large batch is predicted.
                content = await run_in_threadpool(lambda: to_json(answer(served, body)))
            except Refused as refused:
                REFUSED.labels(mode, refused.status).inc()
                return _error(refused.status, str(refused), served.version)
            return Response(content, media_type="application/json")

        return handle

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = _error(error.status_code, error.detail, model().version)
        response.headers.update(error.headers or {})
        return response

    async def describe(_: Request) -> Response:
        served = model()
        return _json(200, {**served.description.model_dump(mode="json"), "modelVersion": served.version})

    return Starlette(
        routes=[
            # Also keeps BentoML's own page, which loads a tracker, from being served.
            Route("/", describe, methods=["GET"]),
            Route("/predict", endpoint("batch", answer_batch), methods=["POST"]),
            Route("/model/api/predict", endpoint("single", answer_single), methods=["POST"]),
        ],
        exception_handlers={HTTPException: on_http_error},
    )


def answer_batch(model: ServedModel, body: bytes) -> dict[str, Any]:
    """Reply to a body of /predict. Raises Refused."""
    try:
        request = BatchRequest.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    predictions = model.predict(_rows(request, model.description.inputs))
    ROWS.labels("batch").inc(len(predictions))
    return {"predictions": predictions.tolist(), "modelVersion": model.version}


def answer_single(model: ServedModel, body: bytes) -> dict[str, Any]:
    """Reply to a body of /model/api/predict; fields that are no inputs are ignored. Raises Refused."""
    try:
        values = from_json(body)
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise Refused(400, f"the body must be a JSON object, got {reprlib.repr(values)}")
    names = model.description.inputs
    problems = [p for name in names if (p := _problem(values, name, model.description.ranges.get(name)))]
    if problems:
        raise Refused(422, "; ".join(problems))
    row = np.array([[values[name] for name in names]], dtype=np.float64)
    ROWS.labels("single").inc()
    return {model.description.output: model.predict(row)[0].item(), "modelVersion": model.version}


def _rows(request: BatchRequest, names: list[str]) -> NDArray[np.float64]:
    """The rows as (n, inputs), columns in the model's order. Raises Refused."""
    if len(request.inputs) > MAX_ROWS:
        raise Refused(413, f"inputs: at most {MAX_ROWS} rows, got {len(request.inputs)}")
    if sorted(request.columns) != sorted(names):
        raise Refused(422, f"columns must be {names} in any order, got {reprlib.repr(request.columns)}")
    if set(map(len, request.inputs)) != {len(names)}:
        row, got = next((i, len(row)) for i, row in enumerate(request.inputs) if len(row) != len(names))
        raise Refused(422, f"inputs[{row}] must have {len(names)} numbers, one for each column, got {got}")
    rows = np.array(request.inputs, dtype=np.float64)
    if request.columns == names:
        return rows
    return np.ascontiguousarray(rows[:, [request.columns.index(name) for name in names]])


def _problem(values: dict[str, Any], name: str, allowed: tuple[float, float] | None) -> str | None:
    """What is wrong with one field of a single request, or None."""
    expected = f"a number from {allowed[0]:g} to {allowed[1]:g}" if allowed else "a finite number"
    if name not in values:
        return f"{name} is missing: it must be {expected}"
    value = values[name]
    # A bool is an int to Python; an int may be too large for a float.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and allowed:
        number = allowed[0] <= value <= allowed[1]
    elif number:
        number = math.isfinite(value) if isinstance(value, float) else abs(value) <= 10**300
    return None if number else f"{name} must be {expected}, got {reprlib.repr(value)}"


def _refusal(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON: {first['msg']}")
    place = "".join(f"[{part}]" if isinstance(part, int) else part for part in first["loc"]) or "the body"
    status = 422 if first["type"] in ("finite_number", "too_short") else 400
    return Refused(status, f"{place}: {first['msg']}, got {reprlib.repr(first['input'])}")


async def _body(request: Request) -> bytes:
    """The request's body, given up on as soon as it is too long. Raises Refused."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"the body must have at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _error(status: int, message: str, version: str) -> Response:
    return _json(status, {"error": message, "modelVersion": version})


def _json(status: int, content: dict[str, Any]) -> Response:
    return Response(to_json(content), status, media_type="application/json")
