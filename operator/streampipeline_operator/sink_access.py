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


class SinkAccess:
    """`admin`, and for a server of ours the Secret without which nobody could open it again."""

    def __init__(
        self, api: Kube, pipeline: Pipeline, references: References, endpoint: SinkEndpoint, folder: Path
    ) -> None:
        """`folder`: where this process keeps the token. Raises ApiException."""
        assert endpoint.influxdb is not None
        self._api, self._pipeline = api, pipeline
        self._generated: dict[str, str] | None = None
        token_file = folder / "admin-token"
        name = f"{pipeline.name}-{pipeline.uid}"
        if not influxdb.managed(pipeline):
            assert references.sink_token is not None
            write_secret(token_file, references.sink_token)
            self.admin = InfluxDbAdmin(endpoint.influxdb, name, token_file, onboard=False)
            return
        self._generated = _content(self._found() or self._create(_generate(pipeline)))
        write_secret(token_file, self._generated["token"])
        password = self._generated["password"]
        self.admin = InfluxDbAdmin(endpoint.influxdb, name, token_file, onboard=True, password=password)

    def ensure(self) -> bool:
        """Put the Secret back as it was when it was removed. Returns whether it was. Raises ApiException."""
        if self._generated is None or self._found() is not None:
            return False
        self._create(self._generated)
        return True

    def _found(self) -> Object | None:
        return self._api.get(SECRET, self._pipeline.namespace, self._pipeline.names.influxdb_admin)

    def _create(self, content: dict[str, str]) -> Object:
        """The Secret, made before the server learns its content and never changed."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata(self._pipeline, self._pipeline.names.influxdb_admin, "influxdb"),
            "type": "Opaque",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in content.items()},
        }
        try:
            return self._api.create(body)
        except ApiException as error:
            if error.status != 409:
                raise
            found = self._found()
            assert found is not None
            return found


def _generate(pipeline: Pipeline) -> dict[str, str]:
    return {
        "username": USER,
        "password": secrets.token_urlsafe(24),
        "token": secrets.token_urlsafe(48),
        "org": influxdb.ORG,
        "url": influxdb.url(pipeline),
    }


def _content(secret: Object) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
