"""Flink's session cluster: JobManager, TaskManagers, SQL gateway, reachable only inside."""

from __future__ import annotations

from streampipeline.engines.flink.cluster import ENVIRONMENT
from streampipeline.engines.flink.cluster import settings as flink_settings
from streampipeline_operator.desired.common import (
    JOBS_MOUNT,
    Object,
    Pipeline,
    alive,
    container,
    deployment,
    http_probe,
    jobs_volume,
    pod_spec,
    resources,
    service,
    tcp_probe,
)
from streampipeline_operator.names import JOBMANAGER, SQL_GATEWAY, TASKMANAGER

REST, RPC, BLOB, GATEWAY, TASK_RPC, TASK_DATA = 8081, 6123, 6124, 8083, 6122, 6121
SLOTS_PER_TASKMANAGER = 2
HOME = "/opt/flink"
PYTHON = "/opt/venv/bin/python"


def taskmanagers(pipeline: Pipeline) -> int:
    """So many that each subtask has a slot."""
    return -(-pipeline.spec.primary.flink.parallelism // SLOTS_PER_TASKMANAGER)


def slots(pipeline: Pipeline) -> int:
    """Of one TaskManager."""
    return min(pipeline.spec.primary.flink.parallelism, SLOTS_PER_TASKMANAGER)


def objects(pipeline: Pipeline, *, up: bool) -> list[Object]:
    """With `up` False all pods are gone and the rest stays."""
    names = pipeline.names
    return [
        service(
            pipeline,
            names.jobmanager,
            JOBMANAGER,
            {"rpc": RPC, "blob": BLOB, "rest": REST},
            # A JobManager finds itself by this name before it is ready.
            publishNotReadyAddresses=True,
        ),
        service(pipeline, names.gateway, SQL_GATEWAY, {"rest": GATEWAY}),
        deployment(pipeline, names.jobmanager, JOBMANAGER, _jobmanager(pipeline), replicas=int(up)),
        deployment(
            pipeline,
            names.taskmanager,
            TASKMANAGER,
            _taskmanager(pipeline),
            replicas=taskmanagers(pipeline) if up else 0,
        ),
        deployment(pipeline, names.gateway, SQL_GATEWAY, _gateway(pipeline), replicas=int(up)),
    ]


def _options(pipeline: Pipeline, **more: str) -> list[str]:
    """Settings on the command line: the image's own file has what Java needs."""
    values = {
        **flink_settings(slots=slots(pipeline), python=PYTHON),
        "jobmanager.rpc.address": pipeline.names.jobmanager,
        "jobmanager.rpc.port": str(RPC),
        "blob.server.port": str(BLOB),
        "rest.address": pipeline.names.jobmanager,
        "rest.port": str(REST),
        "io.tmp.dirs": "/tmp",  # noqa: S108 - the pod's own
        "execution.checkpointing.dir": "file:///tmp/checkpoints",
        **more,
    }
    # In two words each: jobmanager.sh takes anything else for a host and a port.
    return [word for key, value in sorted(values.items()) for word in ("-D", f"{key}={value}")]


def _flink(pipeline: Pipeline, name: str, script: str, options: list[str], cpu: str, memory: tuple[str, str],
           **more: object) -> Object:  # fmt: skip
    return container(
        pipeline,
        name,
        pipeline.image("flink"),
        [f"{HOME}/bin/{script}", "start-foreground", *options],
        resources=resources(cpu, *memory),
        env=ENVIRONMENT,
        **more,  # type: ignore[arg-type]
    )


def _jobmanager(pipeline: Pipeline) -> Object:
    options = _options(
        pipeline,
        **{"jobmanager.bind-host": "0.0.0.0", "rest.bind-address": "0.0.0.0"},  # noqa: S104 - a pod's network
    )
    part = _flink(
        pipeline,
        JOBMANAGER,
        "jobmanager.sh",
        options,
        "25m",
        ("640Mi", "1Gi"),
        ports={"rpc": RPC, "blob": BLOB, "rest": REST},
        # Its source coordinator connects to Kafka too.
        mounts=[JOBS_MOUNT],
        readinessProbe=http_probe("/overview", REST),
        livenessProbe=alive(tcp_probe(REST)),
    )
    return pod_spec(pipeline, part, volumes=[jobs_volume(pipeline)])


def _taskmanager(pipeline: Pipeline) -> Object:
    options = _options(
        pipeline,
        **{
            "taskmanager.bind-host": "0.0.0.0",  # noqa: S104 - a pod's network
            "taskmanager.host": "$(POD_IP)",
            "taskmanager.rpc.port": str(TASK_RPC),
            "taskmanager.data.port": str(TASK_DATA),
        },
    )
    part = _flink(
        pipeline,
        TASKMANAGER,
        "taskmanager.sh",
        options,
        "100m",
        ("1280Mi", "2560Mi"),
        ports={"rpc": TASK_RPC, "data": TASK_DATA},
        mounts=[JOBS_MOUNT],
        readinessProbe=tcp_probe(TASK_RPC),
        livenessProbe=alive(tcp_probe(TASK_RPC)),
    )
    return pod_spec(pipeline, part, volumes=[jobs_volume(pipeline)])


def _gateway(pipeline: Pipeline) -> Object:
    options = _options(
        pipeline,
        **{
            "sql-gateway.endpoint.rest.address": "$(POD_IP)",
            "sql-gateway.endpoint.rest.bind-address": "0.0.0.0",  # noqa: S104 - a pod's network
            "sql-gateway.endpoint.rest.port": str(GATEWAY),
        },
    )
    part = _flink(
        pipeline,
        SQL_GATEWAY,
        "sql-gateway.sh",
        options,
        "25m",
        ("512Mi", "1Gi"),
        ports={"rest": GATEWAY},
        readinessProbe=http_probe("/v1/info", GATEWAY),
        livenessProbe=alive(http_probe("/v1/info", GATEWAY)),
    )
    return pod_spec(pipeline, part)
