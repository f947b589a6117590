"""Points in InfluxDB 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.flux_table import FluxRecord
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from streampipeline.jobconfig import InfluxDbEndpoint
from streampipeline_audit.errors import AuditError
from streampipeline_audit.points import Point

_NOT_FIELDS = {"result", "table", "_start", "_stop", "_time", "_measurement", "pipeline"}
_QUERY_SECONDS = 120


class InfluxPoints:
    """One measurement of one bucket, read with the endpoint's token."""

    def __init__(self, endpoint: InfluxDbEndpoint, token_file: Path, pipeline: str, key_field: str) -> None:
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise AuditError(f"the token file {token_file} cannot be read: {error.strerror}") from error
        self._client = InfluxDBClient(
            endpoint.url, token=token, org=endpoint.org, timeout=_QUERY_SECONDS * 1000
        )
        self._endpoint = endpoint
        self._pipeline = pipeline
        self._key_field = key_field

    def points(self, begin: int, end: int) -> Iterator[Point]:
        """A point for each series and time: one tag more makes two points of one address."""
        query = (
            f"from(bucket: {_quoted(self._endpoint.bucket)})"
            f" |> range(start: time(v: {begin * 1_000_000}), stop: time(v: {end * 1_000_000}))"
            f" |> filter(fn: (r) => r._measurement == {_quoted(self._endpoint.measurement)}"
            f" and r.pipeline == {_quoted(self._pipeline)})"
            ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
        )
        try:
            for record in self._client.query_api().query_stream(query):
                yield self._point(record)
        except (ApiException, InfluxDBError, HTTPError, OSError) as error:
            raise AuditError(f"InfluxDB at {self._endpoint.url} does not answer: {_reason(error)}") from error

    def _point(self, record: FluxRecord) -> Point:
        fields = {name: value for name, value in record.values.items() if name not in _NOT_FIELDS}
        # The answer's CSV has one sign for no value and for the empty text, which this field may be.
        if fields.get("modelVersion") is None:
            fields["modelVersion"] = ""
        time = record.values["_time"]
        start = round(time.timestamp() * 1000)
        return Point(str(fields.pop(self._key_field, "")), start, fields)


def _reason(error: Exception) -> str:
    """One line."""
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}"
    return str(error).splitlines()[0]


def _quoted(text: str) -> str:
    """A string literal of Flux, in which ${...} would be replaced."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'
