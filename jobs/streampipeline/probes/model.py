"""Is the model there: a real prediction, not a readiness page."""

from __future__ import annotations

import httpx


def probe_model(http: httpx.Client, url: str, inputs: list[str]) -> str:
    """Predict one row of zeros at `url` (without /predict). Returns the model's version.

    Raises httpx.HTTPError, ValueError when the answer is not one prediction.
    """
    reply = http.post(f"{url.rstrip('/')}/predict", json={"inputs": [[0.0] * len(inputs)], "columns": inputs})
    body = reply.raise_for_status().json()
    if len(body.get("predictions", [])) != 1 or not body.get("modelVersion"):
        raise ValueError("the model's answer to one row is not one prediction with a modelVersion")
    return str(body["modelVersion"])
