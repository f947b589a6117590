"""Kinds of Kubernetes objects that the product deals with, and where each lives in the API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from streampipeline.api.crd import PLURAL
from streampipeline.api.spec import API_VERSION, GROUP, KIND

PIPELINE_LABEL = f"{GROUP}/pipeline"
"""Of all that belongs to a pipeline; its value is the pipeline's name."""


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind live."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The path of a collection (namespace None: of all namespaces), or of one object."""
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        if namespace is not None:
            base += f"/namespaces/{quote(namespace)}"
        return f"{base}/{self.plural}" + (f"/{quote(name)}" if name else "")


PIPELINE = Kind(API_VERSION, KIND, PLURAL)
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
SERVICE = Kind("v1", "Service", "services")
SECRET = Kind("v1", "Secret", "secrets")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
DASK_CLUSTER = Kind("kubernetes.dask.org/v1", "DaskCluster", "daskclusters")
DASK_WORKER_GROUP = Kind("kubernetes.dask.org/v1", "DaskWorkerGroup", "daskworkergroups")
