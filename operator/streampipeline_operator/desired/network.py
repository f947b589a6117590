"""Who may talk to a pipeline's parts: they themselves, and the operator."""

from __future__ import annotations

from streampipeline_operator.desired.common import Object, Pipeline, metadata
from streampipeline_operator.names import INFLUXDB, PIPELINE_LABEL

READER_LABEL = "streampipeline.io/reads"
"""On pods of the user's that may query a pipeline's managed InfluxDB; its value is the pipeline's name."""


def objects(pipeline: Pipeline) -> list[Object]:
    """Enforced only where the cluster's network does so."""
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": pipeline.settings.namespace}}
    }
    own = {"podSelector": {"matchLabels": {PIPELINE_LABEL: pipeline.name}}}
    readers = {"podSelector": {"matchLabels": {READER_LABEL: pipeline.name}}}
    return [
        _policy(pipeline, pipeline.names.network, {PIPELINE_LABEL: pipeline.name}, [own, operator]),
        _policy(pipeline, pipeline.names.influxdb, pipeline.names.labels(INFLUXDB), [readers]),
    ]


def _policy(pipeline: Pipeline, name: str, pods: dict[str, str], peers: list[Object]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(pipeline, name, "network"),
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers}],
        },
    }
