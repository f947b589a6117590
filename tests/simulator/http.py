"""HTTP without a network: `httpx.Client` as the product uses it, and servers that answer in virtual time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Protocol, Self

import httpx
from tests.simulator.scheduler import Scheduler


class Server(Protocol):
    """Answers requests; may block, and raise httpx.TransportError."""

    def answer(self, method: str, path: str, request: Request) -> httpx.Response:
        """One request."""
        ...


class Request:
    """What a client sent."""

    def __init__(
        self,
        token: str | None,
        timeout: float,
        params: Mapping[str, str] | None = None,
        content: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        json: object = None,
    ) -> None:
        self.token, self.timeout = token, timeout
        self.params, self.headers = dict(params or {}), dict(headers or {})
        self.content = content.encode() if isinstance(content, str) else content
        self._json = json

    def json(self) -> Any:
        """The body."""
        return self._json if self._json is not None else json.loads(self.content)


class Network:
    """Servers by the beginning of their URLs; `httpx` is what stands in for that module."""

    def __init__(self, scheduler: Scheduler, servers: Mapping[str, Server]) -> None:
        self.scheduler = scheduler
        self.servers = servers
        self.httpx = SimpleNamespace(
            Client=self._client,
            HTTPError=httpx.HTTPError,
            Limits=httpx.Limits,
            Response=httpx.Response,
        )

    def _client(self, **settings: Any) -> Client:
        return Client(self, **settings)


class Client:
    """As `httpx.Client`."""

    def __init__(
        self,
        network: Network,
        *,
        base_url: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float = 5,
        limits: httpx.Limits | None = None,
        trust_env: bool = True,
    ) -> None:
        assert not trust_env, "a proxy of the environment is not for servers of the pipeline's own"
        self._network = network
        self._base = base_url
        self._timeout = timeout
        self._token = (headers or {}).get("Authorization", "").removeprefix("Token ") or None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def close(self) -> None:
        """Nothing is open."""

    def post(self, url: str, **options: Any) -> httpx.Response:
        """One request."""
        return self.request("POST", url, **options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """One request. Raises httpx.TransportError."""
        url = self._base + url
        name = next(name for name in self._network.servers if url.startswith(name))
        self._network.scheduler.pause(0.0002, 0.002)
        request = Request(self._token, self._timeout, **options)
        path = url.removeprefix(name)
        response = self._network.servers[name].answer(method, path, request)
        response.request = httpx.Request(method, url)
        return response
