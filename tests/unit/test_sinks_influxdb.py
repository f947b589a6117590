"""The InfluxDB sink against a real HTTP server that gives InfluxDB's answers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.http_answers import Answer, Request, http_server
from tests.support.publish_config import influxdb_sink, job_config, windows

from streampipeline.jobconfig import EngineName, JobConfig, SinkEndpoint
from streampipeline.points import Scores, aggregate_values, points_table
from streampipeline.sinks.base import Fenced, SinkUnavailable
from streampipeline.sinks.opening import open_sink, probe


def points(config: JobConfig, rows: list[tuple[str, int]]) -> pa.Table:
    given = windows(config, rows)
    n = len(rows)
    scores = Scores(pa.array([2] * n), pa.array([True] * n), pa.array(["v1"] * n))
    values = aggregate_values(config.spec, given)
    return points_table(config, EngineName.FLINK, given, values, scores, written_ns=11)


def written(request: Request) -> list[str]:
    return request.body.decode().split("\n")


def test_a_point_is_one_line_with_every_field(tmp_path: Path) -> None:
    with http_server(lambda _: Answer(204)) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
        assert open_sink(config).write(points(config, [("n 1", 5_000)])) == []
    [request] = server.requests
    assert request.path == "/api/v2/write?org=o&bucket=b&precision=ms"
    assert request.headers["Authorization"] == "Token secret"
    assert written(request) == [
        (
            "stress,id=n\\ 1,pipeline=nurses X=0.5,low=-2.5,count=3i,level=2i,"
            'source="flink",n=3i,scored=true,modelVersion="v1",generation=3i,'
            "datetime=9999i,hash=1125899906847624i 5000"
        )
    ]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_point_is_rejected_and_the_others_are_written(tmp_path: Path, status: int) -> None:
    kept: set[str] = set()

    def answer(request: Request) -> Answer:
        if any("id=bad" in line for line in written(request)):
            return Answer(status, {"code": "invalid", "message": "no such luck"})
        kept.update(written(request))
        return Answer(204)

    rows = [("bad" if i in (3, 17) else f"k{i}", i * 5_000) for i in range(20)]
    with http_server(answer) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
        rejected = open_sink(config).write(points(config, rows))
    assert [(one.key, one.window_start) for one in rejected] == [("bad", 15_000), ("bad", 85_000)]
    assert all("no such luck" in one.reason for one in rejected)
    assert len(kept) == 18


def test_when_the_server_dropped_every_point_it_is_not_asked_again(tmp_path: Path) -> None:
    message = "failure writing points to database: partial write: field type conflict dropped=3"
    with http_server(lambda _: Answer(422, {"message": message})) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
        rejected = open_sink(config).write(points(config, [("a", 0), ("b", 0), ("c", 0)]))
    assert [one.key for one in rejected] == ["a", "b", "c"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["a\nb", "a\\", "\n", ""])
def test_a_key_that_influxdb_cannot_hold_is_rejected_unsent(tmp_path: Path, key: str) -> None:
    with http_server(lambda _: Answer(204)) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
        rejected = open_sink(config).write(points(config, [("a", 0), (key, 5_000), ("b", 0)]))
    assert [(one.key, one.window_start) for one in rejected] == [(key, 5_000)]
    assert len(written(server.requests[0])) == 2


def test_401_fences(tmp_path: Path) -> None:
    with http_server(lambda _: Answer(401, {"message": "unauthorized access"})) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
        with pytest.raises(Fenced, match="revoked"):
            open_sink(config).write(points(config, [("a", 0)]))


@pytest.mark.parametrize("status", [302, 403, 404, 405, 429, 500, 503])
def test_other_answers_mean_unavailable_and_are_not_retried_here(tmp_path: Path, status: int) -> None:
    with http_server(lambda _: Answer(status, {"message": "bucket not found"})) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
        with pytest.raises(SinkUnavailable, match="bucket not found"):
            open_sink(config).write(points(config, [("a", 0)]))
    assert len(server.requests) == 1


def test_no_server_means_unavailable(tmp_path: Path) -> None:
    with http_server(lambda _: Answer(204)) as server:
        config = job_config(influxdb_sink(server.url, tmp_path))
    with pytest.raises(SinkUnavailable, match="ConnectError"):
        open_sink(config).write(points(config, [("a", 0)]))


def test_without_its_token_the_sink_does_not_open(tmp_path: Path) -> None:
    config = job_config(influxdb_sink("http://127.0.0.1:9", tmp_path))
    (tmp_path / "token").unlink()
    with pytest.raises(Fenced):
        open_sink(config)


@pytest.mark.parametrize("measurement", ["#a", "a\nb", "a\\"])
def test_measurements_that_influxdb_cannot_hold_are_refused(tmp_path: Path, measurement: str) -> None:
    sink = influxdb_sink("http://127.0.0.1:9", tmp_path)
    sink["influxdb"]["measurement"] = measurement
    with pytest.raises(ValueError, match=r"measurement|name"):
        open_sink(job_config(sink))


def test_an_output_named_time_is_refused(tmp_path: Path) -> None:
    config = job_config(influxdb_sink("http://127.0.0.1:9", tmp_path), output="time")
    with pytest.raises(ValueError, match="time"):
        open_sink(config)


def test_the_probe_writes_a_canary_to_another_measurement(tmp_path: Path) -> None:
    with http_server(lambda _: Answer(204)) as server:
        probe(SinkEndpoint.model_validate(influxdb_sink(server.url, tmp_path)))
    assert written(server.requests[0])[0].startswith("streampipeline_canary at=")
    with (
        http_server(lambda _: Answer(503, {"message": "disk full"})) as server,
        pytest.raises(SinkUnavailable, match="disk full"),
    ):
        probe(SinkEndpoint.model_validate(influxdb_sink(server.url, tmp_path)))
