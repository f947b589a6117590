"""Kubernetes' REST interface as the operator needs it: plain objects in and out, every call bounded."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from prometheus_client import Counter

from streampipeline.kinds import (
    CLAIM,
    CONFIG_MAP,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    LEASE,
    NETWORK_POLICY,
    PIPELINE,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
)

FIELD_MANAGER = "streampipeline-operator"
TIMEOUT_SECONDS = 10.0
Object = dict[str, Any]

REQUESTS = Counter("streampipeline_api_requests", "Requests to the Kubernetes API server.", ["verb", "kind"])

__all__ = [
    "CLAIM",
    "CONFIG_MAP",
    "DASK_CLUSTER",
    "DASK_WORKER_GROUP",
    "DEPLOYMENT",
    "FIELD_MANAGER",
    "KINDS",
    "LEASE",
    "NETWORK_POLICY",
    "PIPELINE",
    "POD",
    "SECRET",
    "SERVICE",
    "STATEFUL_SET",
    "ApiException",
    "Kind",
    "Kube",
    "NotLeadingError",
    "Object",
    "kind_of",
]


class NotLeadingError(OSError):
    """The Lease is not known to be held: another replica may act by now."""


KINDS = {
    kind.kind: kind
    for kind in (
        PIPELINE,
        POD,
        SERVICE,
        SECRET,
        CONFIG_MAP,
        CLAIM,
        DEPLOYMENT,
        STATEFUL_SET,
        NETWORK_POLICY,
        DASK_CLUSTER,
        DASK_WORKER_GROUP,
    )
}


def kind_of(body: Object) -> Kind:
    """The kind of an object. Raises KeyError for one that is not the operator's business."""
    return KINDS[body["kind"]]


def _message(data: bytes) -> str:
    """What the API server says in words: one line, unlike the library's."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace")[:300]


def _plural(path: str) -> str:
    """The resource that a path is about: what stands behind the namespace, or behind the version."""
    after = path.split("/namespaces/", 1)
    return after[1].split("/")[1] if len(after) == 2 else path.rsplit("/", 1)[1]


@dataclass
class Kube:
    """For any thread. Every method raises ApiException, or urllib3's errors when there is no answer."""

    api: client.ApiClient = field(default_factory=client.ApiClient)
    answered_at: float = 0.0
    """Monotonic time of the last answer, whatever it was."""
    leads_until: float = math.inf
    """Monotonic time up to which no other replica can act: moved on by each renewal of the Lease."""

    def assert_leading(self) -> None:
        """Raises NotLeadingError: who was stopped, or cut off, for long must not go on where it was."""
        if time.monotonic() > self.leads_until:
            raise NotLeadingError("the Lease was not renewed in time")

    @classmethod
    def connect(cls) -> Kube:
        """In a pod by its service account, else by the kubeconfig of the environment.

        Requests are not repeated by urllib3: it would do so several times past their time-out, sleep for as
        long as a busy server asks for, and take the reply to a second attempt for that to the first.
        """
        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
        bounded = client.Configuration.get_default_copy()
        bounded.retries = False
        client.Configuration.set_default(bounded)  # the Lease's requests are the library's own
        return cls()

    @classmethod
    def of(cls, kubeconfig: Path) -> Kube:
        """As this file says, whatever the environment does."""
        bounded = client.Configuration()
        bounded.retries = False
        return cls(config.new_client_from_config(str(kubeconfig), client_configuration=bounded))

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        timeout: float | tuple[float, float] = TIMEOUT_SECONDS,
        stream: bool = False,
    ) -> Any:
        """The JSON of the answer; with `stream` the response itself. A change raises NotLeadingError too."""
        if method != "GET":
            self.assert_leading()
        REQUESTS.labels(method.lower(), _plural(path)).inc()
        headers = {"Accept": "application/json", "Content-Type": content_type}
        parameters = self.api.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        response = self.api.call_api(*parameters, _request_timeout=timeout)
        self.answered_at = time.monotonic()
        if stream:
            return response.response
        data = response.read()
        if not 200 <= response.status < 300:
            raise ApiException(status=response.status, reason=_message(data) or response.reason)
        return json.loads(data) if data else {}

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """None when there is none."""
        try:
            found: Object = self.request("GET", kind.path(namespace, name))
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, kind: Kind, namespace: str | None, selector: str) -> list[Object]:
        """All that the label selector matches."""
        listed = self.request("GET", kind.path(namespace), query={"labelSelector": selector})
        items: list[Object] = listed["items"]
        return items

    def apply(self, body: Object) -> Object:
        """Server-side apply, as our field manager; fields of ours that others changed are taken back."""
        kind, metadata = kind_of(body), body["metadata"]
        applied: Object = self.request(
            "PATCH",
            kind.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )
        return applied

    def create(self, body: Object) -> Object:
        """Raises ApiException with status 409 when there is one already."""
        created: Object = self.request(
            "POST", kind_of(body).path(body["metadata"]["namespace"]), query={"fieldManager": FIELD_MANAGER},
            body=body,
        )  # fmt: skip
        return created

    def merge(self, kind: Kind, namespace: str, name: str, changes: Object) -> Object:
        """A JSON merge patch; None removes a field."""
        merged: Object = self.request(
            "PATCH", kind.path(namespace, name), query={"fieldManager": FIELD_MANAGER}, body=changes,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        return merged

    def replace_status(self, body: Object) -> Object:
        """Write `.status`; refused with 409 unless `metadata.resourceVersion` is the newest."""
        metadata = body["metadata"]
        path = kind_of(body).path(metadata["namespace"], metadata["name"])
        replaced: Object = self.request(
            "PUT", f"{path}/status", query={"fieldManager": FIELD_MANAGER}, body=body
        )
        return replaced

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """With all that it owns, in the background; one that is gone is fine."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", kind.path(namespace, name), body=options)
        except ApiException as error:
            if error.status != 404:
                raise
