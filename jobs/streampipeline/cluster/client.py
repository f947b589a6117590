"""A cluster as kubectl reaches it: by a kubeconfig, with the user's own rights. Plain objects in and out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from streampipeline.api.spec import KIND
from streampipeline.cluster.exits import ClusterError
from streampipeline.cluster.options import Access
from streampipeline.kinds import CLAIM as CLAIM
from streampipeline.kinds import CONFIG_MAP as CONFIG_MAP
from streampipeline.kinds import DASK_CLUSTER as DASK_CLUSTER
from streampipeline.kinds import DASK_WORKER_GROUP as DASK_WORKER_GROUP
from streampipeline.kinds import DEPLOYMENT as DEPLOYMENT
from streampipeline.kinds import EVENT as EVENT
from streampipeline.kinds import NETWORK_POLICY as NETWORK_POLICY
from streampipeline.kinds import PIPELINE as PIPELINE
from streampipeline.kinds import PIPELINE_LABEL as PIPELINE_LABEL
from streampipeline.kinds import POD as POD
from streampipeline.kinds import SERVICE as SERVICE
from streampipeline.kinds import STATEFUL_SET as STATEFUL_SET
from streampipeline.kinds import Kind as Kind

TIMEOUT_SECONDS = 15.0
FIELD_MANAGER = "streampipeline-cli"
Object = dict[str, Any]


class NotFoundError(ClusterError):
    """There is no object of this name."""


class Cluster:
    """One API server and one namespace. Every method raises ClusterError when it cannot answer."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    @classmethod
    def connect(cls, access: Access) -> Cluster:
        """Asks nothing of the API server yet."""
        file = str(access.kubeconfig) if access.kubeconfig else None
        settings = client.Configuration()
        settings.retries = 0  # urllib3's own attempts follow each other at once, with a warning each
        try:
            contexts, current = config.list_kube_config_contexts(file)
            chosen = next((c for c in contexts if c["name"] == access.context), None)
            if access.context is not None and chosen is None:
                known = ", ".join(c["name"] for c in contexts)
                raise ClusterError(f"the kubeconfig has no context {access.context}; it has {known}")
            config.load_kube_config(file, access.context, settings, persist_config=False)
        except (config.ConfigException, OSError) as error:
            raise ClusterError(f"no kubeconfig that can be used: {error}") from None
        namespace = access.namespace or (chosen or current)["context"].get("namespace") or "default"
        return cls(client.ApiClient(settings), namespace)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> bytes:
        """The body of the answer."""
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        try:
            parameters = self._api.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            response = self._api.call_api(*parameters, _request_timeout=TIMEOUT_SECONDS)
            data: bytes = response.read()
        except (HTTPError, ApiException) as error:
            host = self._api.configuration.host
            raise ClusterError(f"the API server at {host} does not answer: {error}") from None
        if not 200 <= response.status < 300:
            raise _refusal(response.status, data)
        return data

    def get(self, kind: Kind, name: str) -> Object:
        """One object of the namespace."""
        found: Object = json.loads(self.request("GET", kind.path(self.namespace, name)))
        return found

    def find(
        self, kind: Kind, *, selector: str = "", namespace: str | None = "", fields: str = ""
    ) -> list[Object]:
        """Objects of the namespace, of another one, or (None) of all; by label and field selector."""
        where = self.namespace if namespace == "" else namespace
        query = {"labelSelector": selector, "fieldSelector": fields}
        listed = json.loads(
            self.request("GET", kind.path(where), query={k: v for k, v in query.items() if v})
        )
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in listed["items"]]

    def pipeline(self, name: str) -> Object:
        """A StreamPipeline."""
        try:
            return self.get(PIPELINE, name)
        except NotFoundError:
            raise ClusterError(f"there is no {KIND} {name} in namespace {self.namespace}") from None

    def merge(self, name: str, changes: Object) -> Object:
        """A JSON merge patch of a StreamPipeline; None removes a field. Returns it as it is then."""
        merged: Object = json.loads(
            self.request(
                "PATCH",
                PIPELINE.path(self.namespace, name),
                query={"fieldManager": FIELD_MANAGER},
                body=changes,
                content_type="application/merge-patch+json",
            )
        )
        return merged

    def annotate(self, name: str, annotation: str, value: str | None) -> Object:
        """Set an annotation of a StreamPipeline, or remove it."""
        return self.merge(name, {"metadata": {"annotations": {annotation: value}}})

    def log(
        self, namespace: str, pod: str, container: str, *, lines: int | None = None, previous: bool = False
    ) -> str:
        """What a container has printed, its newest `lines`; `previous`: before it was last restarted."""
        query = {"container": container}
        if lines is not None:
            query["tailLines"] = str(lines)
        if previous:
            query["previous"] = "true"
        data = self.request("GET", f"{POD.path(namespace, pod)}/log", query=query)
        return data.decode(errors="replace")


def _refusal(status: int, data: bytes) -> ClusterError:
    text = data.decode(errors="replace").strip()
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    message = answer.get("message") or f"the API server answers {status}: {text[:300]}"
    if status != 404:
        return ClusterError(message)
    if not (answer.get("details") or {}).get("name"):
        return ClusterError("this cluster does not know the kind: is the operator installed?")
    return NotFoundError(message)
