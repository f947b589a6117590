"""The sink of a run: an InfluxDB of its own, the user's, or files."""

from __future__ import annotations

from pathlib import Path

from streampipeline.api.load import Manifest
from streampipeline.api.spec import InfluxDbSink, ParquetSink
from streampipeline.jobconfig import InfluxDbEndpoint, ParquetEndpoint, PipelineConfig, SinkEndpoint
from streampipeline.local.processes import Processes
from streampipeline.local.runtime import Runtime
from streampipeline.local.services import InfluxDbProcess
from streampipeline.sinks.base import SinkAdmin, write_secret
from streampipeline.sinks.opening import open_admin


class LocalSink:
    """`influxdb`: the run's own server; None: it has none."""

    def __init__(
        self, sink: InfluxDbSink | ParquetSink, manifest: Manifest, processes: Processes, runtime: Runtime
    ) -> None:
        """Raises MissingProgramError."""
        self._sink = sink
        self._manifest = manifest
        self._workdir = processes.workdir
        managed = isinstance(sink, InfluxDbSink) and sink.external is None
        self.influxdb = InfluxDbProcess(processes, runtime) if managed else None

    @property
    def endpoint(self) -> SinkEndpoint:
        """Where points go; each job puts its own token file in."""
        sink = self._sink
        if not isinstance(sink, InfluxDbSink):
            return SinkEndpoint(parquet=ParquetEndpoint(path=sink.path, token_file=""))
        local = self.influxdb.url if self.influxdb else ""
        return SinkEndpoint(
            influxdb=InfluxDbEndpoint(
                url=sink.external.url if sink.external else local,
                org=sink.external.org if sink.external else InfluxDbProcess.ORG,
                bucket=sink.bucket,
                measurement=sink.measurement,
                token_file="",
                timeout_seconds=sink.write_timeout_seconds,
            )
        )

    def prepared(self, config: PipelineConfig) -> SinkAdmin:
        """Its administration for a pipeline, once it answers. Raises SinkUnavailable."""
        admin = open_admin(
            self.endpoint,
            pipeline=f"{config.pipeline}-{config.uid}",
            admin_token_file=self._admin_token_file(),
            onboard=self.influxdb is not None,
        )
        admin.prepare()
        return admin

    def _admin_token_file(self) -> Path | None:
        """The file of the token that makes tokens: generated, or the user's own written out for the run."""
        if self.influxdb is not None:
            return self.influxdb.admin_token_file
        if not isinstance(self._sink, InfluxDbSink) or self._sink.external is None:
            return None
        ref = self._sink.external.token_secret_ref
        file = self._workdir / "tokens" / "external"
        write_secret(file, self._manifest.secret(ref.name, ref.key))
        return file
