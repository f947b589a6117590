"""Which sink a run writes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support import publish_config

from streampipeline.api.spec import InfluxDbSink, ParquetSink, StreamPipelineSpec
from streampipeline.local.settings import SinkChoice, sink_of

INFLUXDB = {"influxdb": {"managed": {}, "bucket": "b", "measurement": "m"}}


def spec(sink: dict[str, Any]) -> StreamPipelineSpec:
    return StreamPipelineSpec.model_validate({**publish_config.spec(), "sinks": [sink]})


def test_the_files_sink_is_the_one_that_is_used() -> None:
    sink = sink_of(spec(INFLUXDB), SinkChoice.SPEC, Path("/run/a"))

    assert isinstance(sink, InfluxDbSink)
    assert (sink.bucket, sink.measurement) == ("b", "m")


@pytest.mark.parametrize("named", [INFLUXDB, {"parquet": {"path": "elsewhere"}}])
def test_parquet_by_choice_is_in_the_working_directory_whatever_the_file_says(named: dict[str, Any]) -> None:
    assert sink_of(spec(named), SinkChoice.PARQUET, Path("/run/a")) == ParquetSink(path="/run/a/points")


@pytest.mark.parametrize(
    ("path", "expected"), [("out/points", "/run/a/out/points"), ("/data/points", "/data/points")]
)
def test_a_relative_path_of_the_file_is_below_the_working_directory(path: str, expected: str) -> None:
    sink = sink_of(spec({"parquet": {"path": path}}), SinkChoice.SPEC, Path("/run/a"))

    assert sink == ParquetSink(path=expected)
