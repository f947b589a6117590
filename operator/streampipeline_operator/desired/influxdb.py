"""A managed InfluxDB 2: one pod with a volume."""

from __future__ import annotations

from streampipeline.api.spec import InfluxDbSink
from streampipeline_operator.desired.common import (
    Object,
    Pipeline,
    alive,
    container,
    http_probe,
    metadata,
    pod_spec,
    resources,
    service,
)
from streampipeline_operator.names import INFLUXDB

PORT = 8086
ORG = "streampipeline"
DATA = "/var/lib/influxdb2"


def sink(pipeline: Pipeline) -> InfluxDbSink | None:
    """The pipeline's InfluxDB sink, if it has one."""
    return pipeline.spec.sinks[0].influxdb


def managed(pipeline: Pipeline) -> bool:
    """Whether an InfluxDB is run for the pipeline."""
    found = sink(pipeline)
    return found is not None and found.external is None


def url(pipeline: Pipeline) -> str:
    """Where the pipeline's InfluxDB answers."""
    found = sink(pipeline)
    assert found is not None
    if found.external is not None:
        return pipeline.names.reachable(found.external.url)
    return f"http://{pipeline.names.host(pipeline.names.influxdb)}:{PORT}"


def objects(pipeline: Pipeline) -> list[Object]:
    """Nothing for an InfluxDB that runs elsewhere."""
    found = sink(pipeline)
    if found is None or found.external is not None:
        return []
    names = pipeline.names
    labels = names.labels(INFLUXDB)
    command = [
        "influxd", "run",
        "--http-bind-address", f":{PORT}",
        "--bolt-path", f"{DATA}/influxd.bolt",
        "--sqlite-path", f"{DATA}/influxd.sqlite",
        "--engine-path", f"{DATA}/engine",
        "--reporting-disabled",
        "--log-level", "warn",
        # The design's fence: no write is read for longer than an engine is waited for.
        "--http-read-timeout", f"{found.write_timeout_seconds}s",
    ]  # fmt: skip
    part = container(
        pipeline,
        INFLUXDB,
        pipeline.image("influxdb"),
        command,
        resources=resources("25m", "256Mi", "1Gi"),
        env={"HOME": "/tmp"},  # noqa: S108 - its own
        mounts=[{"name": "data", "mountPath": DATA}],
        ports={"http": PORT},
        readinessProbe=http_probe("/health", PORT),
        livenessProbe=alive(http_probe("/ping", PORT)),
    )
    storage = found.managed.storage if found.managed else "1Gi"
    claim = {
        "metadata": {"name": "data", "labels": labels},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
        },
    }
    return [
        service(pipeline, names.influxdb, INFLUXDB, {"http": PORT}),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata(pipeline, names.influxdb, INFLUXDB),
            "spec": {
                "serviceName": names.influxdb,
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": pod_spec(pipeline, part, terminationGracePeriodSeconds=30),
                },
                "volumeClaimTemplates": [claim],
            },
        },
    ]
