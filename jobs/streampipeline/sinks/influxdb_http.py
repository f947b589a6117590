"""InfluxDB 2's HTTP interface, as far as it is used: one request a call, no retries, no proxies."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from streampipeline.jobconfig import InfluxDbEndpoint
from streampipeline.sinks.base import SinkUnavailable

KEEP_ALIVE_SECONDS = 60.0
"""InfluxDB keeps idle connections for three minutes."""


class Refused(Exception):
    """An answer of 4xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class InfluxDbClient:
    """Sends requests with a token. Not for use by several threads."""

    def __init__(self, endpoint: InfluxDbEndpoint, token: str | None) -> None:
        self._client = httpx.Client(
            base_url=endpoint.url,
            headers={"Authorization": f"Token {token}"} if token else {},
            timeout=float(endpoint.timeout_seconds),
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,
        )
        self._where = f"InfluxDB {endpoint.url}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The JSON object of the answer, {} when it has no body. `options` as of `httpx.Client.request`.

        Raises SinkUnavailable when there is no answer, or one of 5xx or 429; Refused for any other 4xx.
        """
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise SinkUnavailable(f"{self._where}: {type(error).__name__}: {error}") from error
        if 400 <= response.status_code < 500 and response.status_code != 429:
            raise Refused(response.status_code, _message(response))
        if not response.is_success:
            raise SinkUnavailable(f"{self._where}: {response.status_code}: {_message(response)}")
        if not response.content:
            return {}
        answer = _json(response)
        if not isinstance(answer, dict):
            raise SinkUnavailable(f"{self._where}: the answer is not a JSON object: {response.text[:100]}")
        return answer


def _message(response: httpx.Response) -> str:
    """What the server said in words."""
    answer = _json(response)
    if isinstance(answer, dict) and "message" in answer:
        return str(answer["message"])
    return response.text[:300] or response.reason_phrase


def _json(response: httpx.Response) -> Any:
    """None when the body is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None
