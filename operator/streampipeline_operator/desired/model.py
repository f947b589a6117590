"""The model server: one of the bundled models, or a Bento of the user's."""

from __future__ import annotations

from streampipeline_operator.desired.common import (
    Object,
    Pipeline,
    alive,
    container,
    deployment,
    http_probe,
    pod_spec,
    resources,
    service,
)
from streampipeline_operator.names import MODEL_SERVER

PORT = 3000
HOME = "/opt/streampipeline/model-server"


def url(pipeline: Pipeline) -> str:
    """Where the pipeline's model answers."""
    names, external = pipeline.names, pipeline.spec.model.external
    return names.reachable(external.url) if external else f"http://{names.host(names.model)}:{PORT}"


def objects(pipeline: Pipeline) -> list[Object]:
    """Nothing for a model that runs elsewhere."""
    managed = pipeline.spec.model.managed
    if managed is None:
        return []
    names = pipeline.names
    part = container(
        pipeline,
        MODEL_SERVER,
        managed.image or pipeline.image("model-server"),
        [],
        resources=resources("25m", "256Mi", "1Gi"),
        # A Bento of the user's may keep its files anywhere below its home.
        env={"BENTOML_DO_NOT_TRACK": "True", "HOME": "/tmp", "PORT": str(PORT)},  # noqa: S108 - its own
        ports={"http": PORT},
        readinessProbe=http_probe("/readyz", PORT),
        livenessProbe=alive(http_probe("/livez", PORT)),
    )
    if managed.bundled is not None:
        arguments = ["serve.py", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - a pod's network
        part["args"] = ["python", *arguments, "--model-dir", f"{HOME}/models/{managed.bundled}"]
        part["workingDir"] = HOME
    else:
        del part["args"]
    return [
        service(pipeline, names.model, MODEL_SERVER, {"http": PORT}),
        deployment(pipeline, names.model, MODEL_SERVER, pod_spec(pipeline, part), strategy="RollingUpdate"),
    ]
