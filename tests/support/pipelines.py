"""StreamPipelines on an API server, without an operator."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from tests.support.api_server import ApiServer

from streampipeline.api.crd import PLURAL
from streampipeline.api.spec import GROUP, VERSION


@dataclass(frozen=True)
class Pipelines:
    """StreamPipelines of one namespace, over plain HTTP: a request takes milliseconds."""

    client: httpx.Client
    namespace: str

    @property
    def path(self) -> str:
        """Where they are."""
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}"

    def create(self, document: Mapping[str, Any], *, dry: bool = False) -> httpx.Response:
        """As kubectl asks for it: fields that are not known are refused. `dry`: nothing is stored."""
        parameters = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
        return self.client.post(self.path, json=document, params=parameters)

    def live(self, document: Mapping[str, Any]) -> str:
        """Name of a new one, made from the document."""
        name = f"live-{secrets.token_hex(4)}"
        answer = self.create({**document, "metadata": {"name": name}})
        assert answer.status_code == 201, answer.text
        return name

    def change(self, document: Mapping[str, Any]) -> httpx.Response:
        """The server's answer to this document in place of that of its name. Nothing is stored."""
        path = f"{self.path}/{document['metadata']['name']}"
        version = self.client.get(path).json()["metadata"]["resourceVersion"]
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": version}}
        return self.client.put(path, json=document, params={"dryRun": "All"})


@contextmanager
def pipelines_of(server: ApiServer) -> Iterator[Pipelines]:
    """Those of a new namespace."""
    with server.client() as client:
        yield Pipelines(client, server.namespace())


def causes(answer: httpx.Response) -> list[tuple[str, str]]:
    """(field, message) of all that the server found wrong."""
    found = answer.json()
    listed = found.get("details", {}).get("causes", [])
    return [(cause.get("field", "").replace("<nil>", ""), cause["message"]) for cause in listed] or [
        ("", found["message"])
    ]
