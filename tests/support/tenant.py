"""A namespace with pipelines on an API server, as its user sees it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.api_server import ApiServer
from tests.support.operator_process import eventually

from streampipeline_operator import kube
from streampipeline_operator.kube import Kind, Kube, Object
from streampipeline_operator.names import PIPELINE_LABEL, Names

REPOSITORY = Path(__file__).parents[2]
EVENT = Kind("v1", "Event", "events")
LABELLED = (
    kube.SERVICE,
    kube.DEPLOYMENT,
    kube.STATEFUL_SET,
    kube.NETWORK_POLICY,
    kube.SECRET,
    kube.POD,
    kube.DASK_CLUSTER,
)
SAMPLE = list(yaml.safe_load_all((REPOSITORY / "samples/nurse-stress.yaml").read_text()))
"""The ConfigMap with the schema, and the pipeline."""


def sample(name: str = "nurse-stress", **spec: Any) -> Object:
    """The sample's pipeline; `spec`: members to replace."""
    body: Object = copy.deepcopy(SAMPLE[1])
    body["metadata"]["name"] = name
    body["spec"] |= spec
    return body


@dataclass(frozen=True)
class Tenant:
    """One namespace with pipelines, seen by an administrator."""

    api: Kube
    namespace: str

    @classmethod
    def of(cls, server: ApiServer, *, schema: bool = True) -> Tenant:
        """A new namespace, with the schema of the sample unless told otherwise."""
        tenant = cls(Kube.of(server.kubeconfig), server.namespace("tenant"))
        if schema:
            tenant.create_schema()
        return tenant

    def create(self, body: Mapping[str, Any]) -> Object:
        """Create an object here."""
        metadata = {**body["metadata"], "namespace": self.namespace}
        return self.api.create({**body, "metadata": metadata})

    def create_schema(self) -> None:
        """The ConfigMap that the sample refers to."""
        self.create(SAMPLE[0])

    def change(self, name: str, changes: Object) -> Object:
        """Merge changes into a pipeline."""
        return self.api.merge(kube.PIPELINE, self.namespace, name, changes)

    def pipeline(self, name: str) -> Object | None:
        """The resource."""
        return self.api.get(kube.PIPELINE, self.namespace, name)

    def status(self, name: str) -> Object:
        """Its status; empty before the first visit."""
        found: Object = (self.pipeline(name) or {}).get("status") or {}
        return found

    def decisions(self, name: str) -> Object:
        """What decisions remember."""
        found: Object = (self.status(name).get("state") or {}).get("decisions") or {}
        return found

    def condition(self, name: str, kind: str) -> tuple[str, str]:
        """Status and reason; empty texts where it is not there."""
        conditions = self.status(name).get("conditions", [])
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))

    def await_condition(self, name: str, kind: str, status: str, reason: str, seconds: float = 30) -> None:
        """Wait until the condition has this status and reason."""
        eventually(
            f"{kind}={status} ({reason}) of {name}",
            lambda: self.condition(name, kind) == (status, reason) or None,
            seconds,
        )

    def plant(self, name: str, change: Callable[[Object], None]) -> None:
        """Write `.status.state.decisions` as somebody else."""
        body = self.pipeline(name)
        assert body is not None
        change(body["status"]["state"]["decisions"])
        self.api.replace_status(body)

    def events(self, name: str, reason: str) -> list[str]:
        """Messages of the pipeline's events of this reason."""
        listed = self.api.list(EVENT, self.namespace, "")
        return [
            each["message"]
            for each in listed
            if each["reason"] == reason and each["involvedObject"]["name"] == name
        ]

    def children(self, kind: Kind, pipeline: str) -> list[Object]:
        """Objects with the pipeline's label."""
        found = self.api.list(kind, self.namespace, f"{PIPELINE_LABEL}={pipeline}")
        return [{"kind": kind.kind, **body} for body in found]

    def child(self, kind: Kind, name: str) -> Object:
        """An object that must be there."""
        found = self.api.get(kind, self.namespace, name)
        assert found is not None, f"no {kind.kind} {name}"
        return found

    def has(self, kind: Kind, *names: str) -> bool:
        """Whether all are there."""
        return all(self.api.get(kind, self.namespace, name) is not None for name in names)

    def delete(self, name: str) -> None:
        """Ask for a pipeline's end."""
        self.api.delete(kube.PIPELINE, self.namespace, name)

    def objects(self, pipeline: str) -> set[tuple[str, str]]:
        """(kind, name) of all that carries the pipeline's label."""
        return {
            (body["kind"], body["metadata"]["name"])
            for kind in LABELLED
            for body in self.children(kind, pipeline)
        }

    def await_deployed(self, name: str, seconds: float = 30) -> None:
        """Wait until a pipeline's objects are there."""
        names = Names(name, self.namespace)
        flink = (names.jobmanager, names.taskmanager, names.gateway)
        eventually(
            f"{name} is deployed",
            lambda: self.has(kube.DEPLOYMENT, *flink) and self.has(kube.NETWORK_POLICY, names.network),
            seconds,
        )
