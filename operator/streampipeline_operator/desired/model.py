"""The model server: one of the bundled models, or a Bento of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from streampipeline.api.spec import ManagedModel, ModelRef
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


def digest_of(managed: ManagedModel) -> str:
    """By which a managed model is known."""
    return hashlib.sha256(managed.model_dump_json().encode()).hexdigest()[:8]


def first_of(pipeline: Pipeline) -> str:
    """Digest of the managed model that the spec names; "" when that runs elsewhere."""
    managed = pipeline.spec.model.managed
    return digest_of(managed) if managed is not None else ""


def name_of(pipeline: Pipeline, managed: ManagedModel, first: str) -> str:
    """Deployment and Service. `first`: digest of the pipeline's first managed model, whose name has none."""
    digest = digest_of(managed)
    return pipeline.names.model if digest == first else f"{pipeline.names.model}-{digest}"


def url(pipeline: Pipeline, model: ModelRef, first: str) -> str:
    """Where a model of the pipeline's answers; `first` as in `name_of`."""
    names = pipeline.names
    if model.external is not None:
        return names.reachable(model.external.url)
    assert model.managed is not None
    return f"http://{names.host(name_of(pipeline, model.managed, first))}:{PORT}"


def objects(pipeline: Pipeline, older: Iterable[ModelRef] = (), first: str | None = None) -> list[Object]:
    """A server for the spec's model and each of the `older` ones, but for what runs elsewhere.

    `first` as in `name_of`; None: the spec's model is the first.
    """
    models = [*older, pipeline.spec.model]
    managed = {digest_of(model.managed): model.managed for model in models if model.managed is not None}
    plain = first_of(pipeline) if first is None else first
    return [body for each in managed.values() for body in _server(pipeline, each, plain)]


def _server(pipeline: Pipeline, managed: ManagedModel, first: str) -> list[Object]:
    name = name_of(pipeline, managed, first)
    # Of its own: a Service must find the pods of its model alone.
    component = MODEL_SERVER + name.removeprefix(pipeline.names.model)
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
        service(pipeline, name, component, {"http": PORT}),
        deployment(pipeline, name, component, pod_spec(pipeline, part), strategy="RollingUpdate"),
    ]
