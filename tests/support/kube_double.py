"""An API server's answers out of a dictionary, for tests of what the operator asks for."""

from __future__ import annotations

import copy
import itertools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.tenant import sample

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.api.validate import parse
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import ApiException, Kind, Kube, Object
from streampipeline_operator.names import PIPELINE_LABEL
from streampipeline_operator.settings import IMAGES, Settings
from streampipeline_operator.watch import Watches

NAMESPACE = "ward"
SETTINGS = Settings(
    namespace="operators",
    identity="operator-0",
    images={name: f"registry.example.com/{name}:1" for name in IMAGES},
    pull_secrets=("pull",),
    workdir=Path("unused"),
)


def spec_of(body: Object) -> StreamPipelineSpec:
    """The typed spec of a resource."""
    document = {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec")}
    return parse(document).spec


def pipeline_of(name: str = "nurse-stress", **spec: Any) -> Pipeline:
    """The sample; `spec`: members to replace."""
    return Pipeline(name, NAMESPACE, "uid-1", spec_of(sample(name, **spec)), SETTINGS)


class KubeDouble(Kube):
    """Keeps objects by (plural, namespace, name); real are the operator's own methods above `request`."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.calls: list[tuple[str, str, str]] = []
        """(method, plural, name) of every change."""
        self.denied: set[str] = set()
        """Plurals that are forbidden."""
        self._versions = itertools.count(1)

    def put(self, kind: Kind, body: Object) -> Object:
        """Let there be an object, as by somebody else."""
        metadata = {"namespace": NAMESPACE, "uid": f"u{next(self._versions)}", **body["metadata"]}
        stored = {"kind": kind.kind, "status": {}, **copy.deepcopy(body), "metadata": metadata}
        self.objects[kind.plural, metadata["namespace"], metadata["name"]] = stored
        return self._touched(stored)

    def _touched(self, body: Object) -> Object:
        body["metadata"].setdefault("creationTimestamp", "2026-11-22T10:00:00Z")
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        return body

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float | tuple[float, float] = 0,
        stream: bool = False,
    ) -> Any:
        """As an API server would answer."""
        self.answered_at = time.monotonic()
        namespace, plural, *rest = unquote(path.split("/namespaces/")[1]).split("/")
        name = rest[0] if rest else ""
        if plural in self.denied:
            raise ApiException(status=403, reason="Forbidden")
        if method == "GET" and not name:
            wanted = [pair.split("=") for pair in (query or {})["labelSelector"].split(",")]
            return {
                "items": [
                    copy.deepcopy(found)
                    for (kind, where, _), found in self.objects.items()
                    if (kind, where) == (plural, namespace)
                    and all(found["metadata"].get("labels", {}).get(key) == value for key, value in wanted)
                ]
            }
        if method == "POST":
            name = body["metadata"]["name"]
        key = (plural, namespace, name)
        if method != "GET":
            self.calls.append((method, plural, name))
        if method == "POST" or (method == "PATCH" and "apply" in content_type):
            known = self.objects.get(key, {}).get("metadata", {}).get("resourceVersion")
            asked = body["metadata"].get("resourceVersion", known)
            if (method == "POST" and known) or asked != known:
                raise ApiException(status=409, reason="Conflict")
            return copy.deepcopy(self._written(key, body))
        if key not in self.objects:
            raise ApiException(status=404, reason="Not Found")
        found = self.objects[key]
        if method == "PATCH":
            version = body.get("metadata", {}).get("resourceVersion")
            if version not in (None, found["metadata"]["resourceVersion"]):
                raise ApiException(status=409, reason="Conflict")
            _merge(found, body)
            self._touched(found)
        elif method == "DELETE":
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if found["metadata"].get("deletionTimestamp") and not found["metadata"].get("finalizers"):
            del self.objects[key]
        return copy.deepcopy(found)

    def _written(self, key: tuple[str, str, str], body: Object) -> Object:
        before = self.objects.get(key, {"metadata": {"generation": 0}, "status": {}})
        same = json.dumps(before.get("spec"), sort_keys=True) == json.dumps(body.get("spec"), sort_keys=True)
        generation = before["metadata"].get("generation", 0) + (0 if same else 1)
        after = {**before, **copy.deepcopy(body)}
        after["metadata"] = {**before["metadata"], **after["metadata"], "generation": generation}
        if not same or before.get("data") != body.get("data"):
            self._touched(after)
        self.objects[key] = after
        return after


def _merge(target: Object, changes: Object) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


class StoreWatches(Watches):
    """Watches that see at once what the double holds."""

    def __init__(self, api: KubeDouble) -> None:
        self._api = api
        self.first_look_over = True

    def synced(self) -> bool:
        """As told."""
        return self.first_look_over

    def children(self, kind: Kind, namespace: str, pipeline: str) -> list[Object]:
        """Those with the label."""
        return self._api.list(kind, namespace, f"{PIPELINE_LABEL}={pipeline}")

    def child(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """By name."""
        return copy.deepcopy(self._api.objects.get((kind.plural, namespace, name)))
