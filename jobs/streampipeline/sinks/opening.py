"""The sink of a job, its administration and its probe, each as its `SinkEndpoint` says."""

from __future__ import annotations

from pathlib import Path

from streampipeline.jobconfig import JobConfig, SinkEndpoint
from streampipeline.points import points_schema
from streampipeline.sinks.base import Sink, SinkAdmin
from streampipeline.sinks.influxdb import InfluxDbSink
from streampipeline.sinks.influxdb_admin import InfluxDbAdmin
from streampipeline.sinks.influxdb_write import write_canary
from streampipeline.sinks.parquet import ParquetAdmin, ParquetSink, touch


def open_sink(config: JobConfig) -> Sink:
    """The sink of a job. Raises Fenced when its token is gone, ValueError when it cannot hold such points."""
    endpoint = config.sink
    if endpoint.influxdb is not None:
        return InfluxDbSink(endpoint.influxdb, points_schema(config.spec).names)
    if endpoint.parquet is not None:
        return ParquetSink(endpoint.parquet)
    raise ValueError("the job's configuration names no sink")


def open_admin(
    endpoint: SinkEndpoint, *, pipeline: str, admin_token_file: Path | None = None, onboard: bool = False
) -> SinkAdmin:
    """The operator's side of a sink; `endpoint.*.token_file` is not used.

    `pipeline`: its name as unique at the sink. `admin_token_file` (InfluxDB): the token that makes and
    revokes others; with `onboard` it is generated when a fresh server is set up.
    """
    if endpoint.influxdb is not None:
        if admin_token_file is None:
            raise ValueError("an InfluxDB sink needs the file of its administrator's token")
        return InfluxDbAdmin(endpoint.influxdb, pipeline, admin_token_file, onboard=onboard)
    if endpoint.parquet is not None:
        return ParquetAdmin(endpoint.parquet)
    raise ValueError("the endpoint names no sink")


def probe(endpoint: SinkEndpoint) -> None:
    """Really write something that is no point, with the token file. Raises SinkUnavailable, Fenced."""
    if endpoint.influxdb is not None:
        write_canary(endpoint.influxdb)
    elif endpoint.parquet is not None:
        touch(endpoint.parquet)
    else:
        raise ValueError("the endpoint names no sink")
