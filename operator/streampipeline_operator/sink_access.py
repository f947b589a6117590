"""The administrator's side of a pipeline's sink: its token, and the Secret that keeps a generated one."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from streampipeline.jobconfig import SinkEndpoint
from streampipeline.sinks.base import write_secret
from streampipeline.sinks.influxdb_admin import USER, InfluxDbAdmin
from streampipeline_operator.desired import influxdb
from streampipeline_operator.desired.common import Pipeline, metadata
from streampipeline_operator.kube import SECRET, ApiException, Kube, Object
from streampipeline_operator.resolve import References


def open_sink_admin(
    api: Kube, pipeline: Pipeline, references: References, endpoint: SinkEndpoint, folder: Path
) -> InfluxDbAdmin:
    """`folder`: where this process keeps the token. Raises ApiException."""
    assert endpoint.influxdb is not None
    token_file = folder / "admin-token"
    name = f"{pipeline.name}-{pipeline.uid}"
    if not influxdb.managed(pipeline):
        assert references.sink_token is not None
        write_secret(token_file, references.sink_token)
        return InfluxDbAdmin(endpoint.influxdb, name, token_file, onboard=False)
    access = _generated(api, pipeline)
    write_secret(token_file, access["token"])
    return InfluxDbAdmin(endpoint.influxdb, name, token_file, onboard=True, password=access["password"])


def _generated(api: Kube, pipeline: Pipeline) -> dict[str, str]:
    """The Secret's content: made once, before the server learns it, and never changed."""
    name = pipeline.names.influxdb_admin
    found = api.get(SECRET, pipeline.namespace, name) or _create(api, pipeline, name)
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def _create(api: Kube, pipeline: Pipeline, name: str) -> Object:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(pipeline, name, "influxdb"),
        "type": "Opaque",
        "stringData": {
            "username": USER,
            "password": secrets.token_urlsafe(24),
            "token": secrets.token_urlsafe(48),
            "org": influxdb.ORG,
            "url": influxdb.url(pipeline),
        },
    }
    try:
        return api.create(body)
    except ApiException as error:
        if error.status != 409:
            raise
        found = api.get(SECRET, pipeline.namespace, name)
        assert found is not None
        return found
