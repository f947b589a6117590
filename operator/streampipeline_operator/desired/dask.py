"""Dask: a DaskCluster for Dask's own operator, and the pods of drivers, repairs and audits."""

from __future__ import annotations

from streampipeline.api import controls as control
from streampipeline.api.oneoff import Backfill, DlqVerb, OneOff, dump
from streampipeline.engines.dask import commands
from streampipeline_operator.desired.common import (
    JOBS_MOUNT,
    Object,
    Pipeline,
    container,
    jobs_volume,
    metadata,
    pod_spec,
    resources,
)
from streampipeline_operator.names import (
    AUDIT,
    AUDIT_LABEL,
    BACKFILL,
    COMPONENT_LABEL,
    DASK_DRIVER,
    DASK_SCHEDULER,
    DASK_WORKER,
    DLQ,
    EPOCH_LABEL,
    EVENT_ANNOTATION,
    JOBS_DIRECTORY,
    REPAIR,
)

PORT, HTTP_PORT = 8786, 8787
PYTHON = "python"
POD_DIRECTORY = "/run/streampipeline/pod"
STARTED = "/tmp/started"  # noqa: S108 - the pod's own
SUMMARY = "/dev/termination-log"
"""Where a pod says what it did; Kubernetes keeps it in the pod's status."""


def address(pipeline: Pipeline) -> str:
    """Of the scheduler, as drivers reach it."""
    return f"tcp://{pipeline.names.dask}-scheduler:{PORT}"


def cluster(pipeline: Pipeline, workers: int) -> Object:
    """Scheduler and workers."""
    names = pipeline.names
    part = container(
        pipeline,
        "scheduler",
        pipeline.image("dask"),
        commands.scheduler(PYTHON, port=PORT, host="0.0.0.0", http_port=HTTP_PORT),  # noqa: S104
        resources=resources("25m", "160Mi", "1Gi"),
        env=dict(commands.environment()),
        ports={"tcp-comm": PORT, "http-dashboard": HTTP_PORT},
        readinessProbe={
            "tcpSocket": {"port": "tcp-comm"},  # Dask's definitions take ports by name only
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
    )
    scheduler_labels = names.labels(DASK_SCHEDULER)
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": metadata(pipeline, names.dask, "dask"),
        "spec": {
            "scheduler": {
                "metadata": {"labels": {COMPONENT_LABEL: DASK_SCHEDULER}},
                "spec": pod_spec(pipeline, part, terminationGracePeriodSeconds=2),
                "service": {
                    "type": "ClusterIP",
                    "selector": {
                        "dask.org/cluster-name": names.dask,
                        COMPONENT_LABEL: scheduler_labels[COMPONENT_LABEL],
                    },
                    # Drivers and workers connect as soon as it listens.
                    "publishNotReadyAddresses": True,
                    "ports": [
                        {"name": "tcp-comm", "port": PORT, "targetPort": "tcp-comm", "protocol": "TCP"},
                        {
                            "name": "http-dashboard",
                            "port": HTTP_PORT,
                            "targetPort": "http-dashboard",
                            "protocol": "TCP",
                        },
                    ],
                },
            },
            "worker": {
                "metadata": {"labels": {COMPONENT_LABEL: DASK_WORKER}},
                "replicas": workers,
                "spec": _worker(pipeline),
            },
        },
    }


def _worker(pipeline: Pipeline) -> Object:
    # Dask's operator sets DASK_WORKER_NAME, by which it retires workers.
    command = commands.worker(
        PYTHON,
        scheduler=address(pipeline),
        name="$(DASK_WORKER_NAME)",
        directory="/tmp/dask",  # noqa: S108 - the pod's own
        host="$(POD_IP)",
    )
    part = container(
        pipeline,
        "worker",
        pipeline.image("dask"),
        command,
        resources=resources("25m", "320Mi", "1280Mi"),
        env=dict(commands.environment()),
    )
    return pod_spec(pipeline, part, terminationGracePeriodSeconds=2)


def driver(pipeline: Pipeline, name: str, epoch: int | None) -> Object:
    """A driver pod; with `epoch` None it stands by until it is given the label of one."""
    part = container(
        pipeline,
        "driver",
        pipeline.image("dask"),
        [
            *commands.driver(PYTHON, config=JOBS_DIRECTORY, scheduler=address(pipeline)),
            "--assignment", f"{POD_DIRECTORY}/epoch", "--ready-file", STARTED,
        ],
        resources=resources("25m", "256Mi", "1Gi"),
        env=dict(commands.environment()),
        mounts=[JOBS_MOUNT, {"name": "pod", "mountPath": POD_DIRECTORY, "readOnly": True}],
        # Why it ended stands in the pod's status, then: the operator reads no logs.
        terminationMessagePolicy="FallbackToLogsOnError",
        readinessProbe={
            "exec": {"command": ["test", "-e", STARTED]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
    )  # fmt: skip
    label = {"path": "epoch", "fieldRef": {"fieldPath": f"metadata.labels['{EPOCH_LABEL}']"}}
    volumes = [jobs_volume(pipeline), {"name": "pod", "downwardAPI": {"items": [label]}}]
    body = _pod(pipeline, name, DASK_DRIVER, part, volumes)
    if epoch is not None:
        body["metadata"]["labels"][EPOCH_LABEL] = str(epoch)
    return body


def repair(pipeline: Pipeline, name: str, epoch: int, until: int) -> Object:
    """One repair pass over windows that end by `until` (ms)."""
    file = f"{JOBS_DIRECTORY}/{epoch}-repair.json"
    part = container(
        pipeline,
        "repair",
        pipeline.image("dask"),
        [PYTHON, "-m", "streampipeline.repair", file, "--until", str(until), "--once", "--summary", SUMMARY],
        resources=resources("25m", "256Mi", "1Gi"),
        env=dict(commands.environment()),
        mounts=[JOBS_MOUNT],
        terminationMessagePath=SUMMARY,
    )
    body = _pod(pipeline, name, REPAIR, part, [jobs_volume(pipeline)])
    body["metadata"]["labels"][EPOCH_LABEL] = str(epoch)
    return body


def audit(pipeline: Pipeline, name: str, request: str) -> Object:
    """One audit; its report is the only thing on its standard output."""
    arguments = [f"{JOBS_DIRECTORY}/audit.json", "-o", "json"]
    if pipeline.spec.model.managed and pipeline.spec.model.managed.bundled:
        models = "/opt/streampipeline/model-server/models"
        arguments += ["--model-file", f"{models}/{pipeline.spec.model.managed.bundled}/model.txt"]
    part = container(
        pipeline,
        "audit",
        pipeline.image("dask"),
        [PYTHON, "-m", "streampipeline_audit", *arguments],
        resources=resources("25m", "256Mi", "2Gi"),
        env=dict(commands.environment()),
        mounts=[JOBS_MOUNT],
    )
    body = _pod(pipeline, name, AUDIT, part, [jobs_volume(pipeline)])
    body["metadata"]["labels"][AUDIT_LABEL] = request
    return body


def one_off(pipeline: Pipeline, annotation: str, asked: OneOff) -> Object:
    """Dead letters or a backfill; the answer is the only thing on its standard output."""
    component = {control.DLQ: DLQ, control.BACKFILL: BACKFILL}[annotation]
    arguments = [f"{JOBS_DIRECTORY}/oneoff.json", annotation, dump(asked), "--summary", SUMMARY]
    part = container(
        pipeline,
        component,
        pipeline.image("dask"),
        [PYTHON, "-m", "streampipeline.oneoff", *arguments],
        resources=resources("25m", "256Mi", "1Gi"),
        env=dict(commands.environment()),
        mounts=[JOBS_MOUNT],
        terminationMessagePath=SUMMARY,
    )
    body = _pod(pipeline, f"{pipeline.name}-{component}-{asked.id}", component, part, [jobs_volume(pipeline)])
    body["metadata"]["labels"][annotation] = asked.id
    event = event_of(asked)
    if event is not None:
        body["metadata"].setdefault("annotations", {})[EVENT_ANNOTATION] = event
    return body


def event_of(asked: OneOff) -> str | None:
    """The reason of the event about its end; None: there is none to be told of."""
    if isinstance(asked, Backfill):
        return "BackfillDone"
    if asked.verb is DlqVerb.LIST:
        return "DeadLettersShown" if asked.show_contents else None
    return None if asked.dry_run else "DeadLettersReplayed"


def _pod(pipeline: Pipeline, name: str, component: str, part: Object, volumes: list[Object]) -> Object:
    """A pod that runs once: whether it is to run again is decided, not left to the kubelet."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(pipeline, name, component),
        "spec": pod_spec(pipeline, part, volumes=volumes, restartPolicy="Never"),
    }
