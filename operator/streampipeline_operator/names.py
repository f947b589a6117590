"""Names and labels of everything that belongs to a pipeline. One place for each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streampipeline.api import controls as control
from streampipeline.api.spec import GROUP
from streampipeline.kinds import PIPELINE_LABEL as PIPELINE_LABEL

MANAGED_BY = "streampipeline-operator"
COMPONENT_LABEL = "app.kubernetes.io/component"
EPOCH_LABEL = f"{GROUP}/epoch"
AUDIT_LABEL = control.AUDIT
SELECTOR = f"app.kubernetes.io/managed-by={MANAGED_BY},{PIPELINE_LABEL}"
"""Selects the children of every pipeline."""

FILES_ANNOTATION = f"{GROUP}/files"
"""Of the files that a pod was told to look at: changing it makes its kubelet refresh the mounts at once."""
EVENT_ANNOTATION = f"{GROUP}/event"
"""Of a pod whose end is still to be told as an event: the event's reason."""
APPLIED_ANNOTATION = f"{GROUP}/applied"
"""Hash of what was applied last."""


JOBMANAGER, TASKMANAGER, SQL_GATEWAY = "jobmanager", "taskmanager", "sql-gateway"
MODEL_SERVER, INFLUXDB = "model-server", "influxdb"
DASK_SCHEDULER, DASK_WORKER, DASK_DRIVER = "dask-scheduler", "dask-worker", "dask-driver"
REPAIR, AUDIT, DLQ, BACKFILL = "repair", "audit", "dlq", "backfill"

_SINGLE_LABEL = re.compile(
    r"(?P<scheme>(?:[a-z]+://)?)(?P<host>[a-z]([-a-z0-9]*[a-z0-9])?)(?P<rest>(?::[0-9].*|/.*)?)"
)

JOBS_DIRECTORY = "/run/streampipeline/jobs"
"""Where engines find their files."""


@dataclass(frozen=True)
class Names:
    """Of one pipeline's children."""

    pipeline: str
    namespace: str

    @property
    def jobmanager(self) -> str:
        """Deployment and Service."""
        return f"{self.pipeline}-flink-jobmanager"

    @property
    def taskmanager(self) -> str:
        """Deployment."""
        return f"{self.pipeline}-flink-taskmanager"

    @property
    def gateway(self) -> str:
        """Deployment and Service."""
        return f"{self.pipeline}-flink-sql-gateway"

    @property
    def model(self) -> str:
        """Deployment and Service."""
        return f"{self.pipeline}-model"

    @property
    def influxdb(self) -> str:
        """StatefulSet and Service."""
        return f"{self.pipeline}-influxdb"

    @property
    def influxdb_admin(self) -> str:
        """Secret with the administrator's token and password of a managed InfluxDB."""
        return f"{self.pipeline}-influxdb-admin"

    @property
    def jobs(self) -> str:
        """Secret with the files of the assignments."""
        return f"{self.pipeline}-jobs"

    @property
    def dask(self) -> str:
        """DaskCluster; Dask's operator names what belongs to it."""
        return f"{self.pipeline}-dask"

    @property
    def network(self) -> str:
        """NetworkPolicy."""
        return f"{self.pipeline}-inside"

    def host(self, service: str) -> str:
        """Name under which other namespaces find a Service."""
        return f"{service}.{self.namespace}.svc"

    def reachable(self, address: str) -> str:
        """An address (host:port, or a URL) that is meant as seen from the pipeline's namespace, for anywhere.

        A host of a single label is a Service of that namespace.
        """
        found = _SINGLE_LABEL.fullmatch(address)
        if found is None or found["host"] == "localhost":
            return address
        return f"{found['scheme']}{self.host(found['host'])}{found['rest']}"

    def labels(self, component: str) -> dict[str, str]:
        """Of one part."""
        return {
            "app.kubernetes.io/name": "streampipeline",
            "app.kubernetes.io/instance": self.pipeline,
            "app.kubernetes.io/managed-by": MANAGED_BY,
            COMPONENT_LABEL: component,
            PIPELINE_LABEL: self.pipeline,
        }
