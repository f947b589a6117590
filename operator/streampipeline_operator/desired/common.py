"""What all objects of a pipeline have in common: owner, labels, and pods that may do little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streampipeline.api.spec import API_VERSION, KIND, StreamPipelineSpec
from streampipeline_operator.names import JOBS_DIRECTORY, Names
from streampipeline_operator.settings import Settings

Object = dict[str, Any]
USER = 10001
"""The images' user."""


@dataclass(frozen=True)
class Pipeline:
    """One StreamPipeline as its objects are built from it."""

    name: str
    namespace: str
    uid: str
    spec: StreamPipelineSpec
    settings: Settings

    @property
    def names(self) -> Names:
        """Of its children."""
        return Names(self.name, self.namespace)

    def image(self, name: str) -> str:
        """The image that the chart names."""
        return self.settings.images[name]


def metadata(pipeline: Pipeline, name: str, component: str, **more: Any) -> Object:
    """Owned by the pipeline: gone with it, whether or not an operator is there then."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": pipeline.name,
        "uid": pipeline.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": pipeline.namespace,
        "labels": pipeline.names.labels(component),
        "ownerReferences": [owner],
        **more,
    }


def resources(cpu: str, memory: str, limit: str) -> Object:
    """Requests of both; a limit of memory only: processor time that nobody else wants is welcome."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


def container(
    pipeline: Pipeline,
    name: str,
    image: str,
    args: list[str],
    *,
    resources: Object,
    env: dict[str, str] | None = None,
    mounts: list[Object] | None = None,
    ports: dict[str, int] | None = None,
    **more: Any,
) -> Object:
    """A container that cannot write but to its own folders, and gains no rights.

    `args` are given to the image's entry point, which passes signals on and reaps orphans.
    """
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pipeline.settings.pull_policy,
        "args": args,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *({"name": key, "value": value} for key, value in (env or {}).items()),
        ],
        "ports": [{"name": port, "containerPort": number} for port, number in (ports or {}).items()],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *(mounts or [])],  # noqa: S108 - its own
        **more,
    }


def pod_spec(
    pipeline: Pipeline, *containers: Object, volumes: list[Object] | None = None, **more: Any
) -> Object:
    """A pod that runs as the images' user and knows nothing of the API server."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": name} for name in pipeline.settings.pull_secrets],
        "containers": list(containers),
        "volumes": [{"name": "tmp", "emptyDir": {}}, *(volumes or [])],
        **more,
    }


def jobs_volume(pipeline: Pipeline) -> Object:
    """The files of the assignments; a pod may be there before the first one."""
    secret = {"secretName": pipeline.names.jobs, "optional": True, "defaultMode": 0o440}
    return {"name": "jobs", "secret": secret}


JOBS_MOUNT: Object = {"name": "jobs", "mountPath": JOBS_DIRECTORY, "readOnly": True}


def deployment(
    pipeline: Pipeline,
    name: str,
    component: str,
    spec: Object,
    *,
    replicas: int = 1,
    strategy: str = "Recreate",
) -> Object:
    """Pods of one part, started anew whenever they end."""
    labels = pipeline.names.labels(component)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pipeline, name, component),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "strategy": {"type": strategy},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(pipeline: Pipeline, name: str, component: str, ports: dict[str, int], **more: Any) -> Object:
    """Reachable inside the cluster only."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(pipeline, name, component),
        "spec": {
            "type": "ClusterIP",
            "selector": pipeline.names.labels(component),
            "ports": [
                {"name": port, "port": number, "targetPort": number, "protocol": "TCP"}
                for port, number in ports.items()
            ],
            **more,
        },
    }


START_SECONDS = 20
"""What starts is not asked whether it lives."""


def alive(probe: Object) -> Object:
    """A liveness probe: patient, every ten seconds, and not before the start is over."""
    return {**probe, "periodSeconds": 10, "failureThreshold": 9, "initialDelaySeconds": START_SECONDS}


def http_probe(path: str, port: int, *, period: int = 2, failures: int = 3, timeout: int = 3) -> Object:
    """A readiness probe."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def tcp_probe(port: int, *, period: int = 2, failures: int = 3) -> Object:
    """A probe that only connects."""
    return {"tcpSocket": {"port": port}, "periodSeconds": period, "failureThreshold": failures}
