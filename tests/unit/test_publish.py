"""Publishing as a whole: values, order of effects, waiting, fences.

The model and InfluxDB are HTTP servers that answer as told, Kafka is the broker inside librdkafka.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import stamina
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.support.http_answers import Answer, Request, http_server
from tests.support.publish_config import influxdb_sink, job_config, parquet_sink, windows

from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.publish import Fenced, Publisher, Stopped
from streampipeline.requests import RepairRequest
from streampipeline.sinks.parquet import read_points

USE_DEFAULT: dict[str, Any] = {"attempts": 1, "onUnavailable": {"policy": "UseDefault", "default": 1}}


@pytest.fixture(autouse=True)
def _short_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1_000, cap=True):
        yield


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """Address of a Kafka that lives in this process."""
    holder = Producer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1})
    [address] = holder.list_topics(timeout=10).brokers.values()
    yield f"{address.host}:{address.port}"
    holder.flush(1)


def level(request: Request) -> Answer:
    """A model whose answer is twice X, that is 1 for each window of `publish_config.windows`."""
    asked = json.loads(request.body)
    assert asked["columns"] == ["low", "X"]
    return Answer(200, {"predictions": [round(2 * x) for _, x in asked["inputs"]], "modelVersion": "v1"})


def requests_in(broker: str, topic: str) -> list[RepairRequest]:
    """All requests that are in a topic now."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    try:
        partition = TopicPartition(topic, 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=10)
        consumer.assign([partition])
        messages = consumer.consume(end, timeout=10) if end else []
        return [RepairRequest.decode(message.value() or b"") for message in messages]
    finally:
        consumer.close()


def with_uid(config: JobConfig, uid: str) -> JobConfig:
    """A pipeline whose topics no other test uses."""
    return config.model_copy(update={"uid": uid})


def test_points_carry_values_scores_and_provenance(tmp_path: Path) -> None:
    with http_server(level) as model:
        config = job_config(parquet_sink(tmp_path), model.url)
        publisher = Publisher.open(config, source=EngineName.DASK)
        report = publisher.publish(windows(config, [("a", 0), ("b", 5_000)]))
        publisher.close()
    assert (report.windows, report.unscored, report.rejected) == (2, 0, ())
    assert report.seconds > 0
    [_, b] = read_points(tmp_path / "points").drop_columns(["written_ns"]).to_pylist()
    assert b == {
        "pipeline": "nurses",
        "id": "b",
        "window_start": 5_000,
        "window_end": 10_000,
        "X": 1_500_000 / 3_000_000,
        "low": -2.5,
        "count": 3,
        "level": 1,
        "source": "dask-fallback",
        "n": 3,
        "scored": True,
        "modelVersion": "v1",
        "generation": 3,
        "datetime": 9_999,
        "hash": 2**50 + 5_000,
        "epoch": 7,
    }


def test_an_empty_batch_has_no_effect(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    report = Publisher.open(config, source=EngineName.FLINK).publish(windows(config, []))
    assert (report.windows, report.unscored, report.rejected) == (0, 0, ())
    assert not (tmp_path / "points").exists()


def test_unscored_windows_are_requested_then_written(tmp_path: Path, broker: str) -> None:
    """When the points arrive at the sink, the requests are in Kafka already."""
    seen: list[list[RepairRequest]] = []

    def answer(_: Request) -> Answer:
        seen.append(requests_in(broker, "streampipeline.order.repairs"))
        return Answer(204)

    with http_server(answer) as influxdb:
        sink = influxdb_sink(influxdb.url, tmp_path)
        sink["influxdb"]["timeoutSeconds"] = 30
        config = with_uid(job_config(sink, bootstrap=broker, **USE_DEFAULT), "order")
        report = Publisher.open(config, source=EngineName.FLINK).publish(
            windows(config, [("a", 0), ("b", 5_000)])
        )
    assert report.unscored == 2
    assert seen == [[RepairRequest.unscored("a", 0), RepairRequest.unscored("b", 5_000)]]
    [request] = influxdb.requests
    assert b"level=1i" in request.body
    assert b'scored=false,modelVersion=""' in request.body


def test_when_requests_can_not_be_produced_no_point_is_written(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    config = job_config(parquet_sink(tmp_path), **USE_DEFAULT)
    publisher = Publisher.open(config, source=EngineName.FLINK, should_stop=stop.is_set)
    with pytest.raises(Stopped):
        publisher.publish(windows(config, [("a", 0)]))
    assert not (tmp_path / "points").exists()


def test_an_unavailable_sink_is_waited_for(tmp_path: Path) -> None:
    statuses = iter([503, 429, 500, 404])
    with http_server(level) as model, http_server(lambda _: Answer(next(statuses, 204))) as influxdb:
        config = job_config(influxdb_sink(influxdb.url, tmp_path), model.url)
        report = Publisher.open(config, source=EngineName.FLINK).publish(windows(config, [("a", 0)]))
    assert report.rejected == ()
    assert len(influxdb.requests) == 5
    assert len({request.body for request in influxdb.requests}) == 1
    assert len(model.requests) == 1


def test_waiting_for_the_sink_ends_when_asked_to_stop(tmp_path: Path) -> None:
    stop = threading.Event()

    def answer(_: Request) -> Answer:
        stop.set()
        return Answer(503)

    with http_server(level) as model, http_server(answer) as influxdb:
        config = job_config(influxdb_sink(influxdb.url, tmp_path), model.url)
        publisher = Publisher.open(config, source=EngineName.FLINK, should_stop=stop.is_set)
        with pytest.raises(Stopped):
            publisher.publish(windows(config, [("a", 0)]))
    assert len(influxdb.requests) == 1


def test_a_revoked_token_is_fatal(tmp_path: Path) -> None:
    with http_server(level) as model, http_server(lambda _: Answer(401)) as influxdb:
        config = job_config(influxdb_sink(influxdb.url, tmp_path), model.url)
        with pytest.raises(Fenced):
            Publisher.open(config, source=EngineName.FLINK).publish(windows(config, [("a", 0)]))
    assert len(influxdb.requests) == 1


def test_rejected_points_are_reported_and_the_others_written(tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        return Answer(422 if b"id=bad" in request.body else 204)

    with http_server(level) as model, http_server(answer) as influxdb:
        config = job_config(influxdb_sink(influxdb.url, tmp_path), model.url)
        given = windows(config, [("a", 0), ("bad", 5_000), ("b", 0), ("c\n", 0)])
        report = Publisher.open(config, source=EngineName.FLINK).publish(given)
    assert report.windows == 4
    assert {(one.key, one.window_start) for one in report.rejected} == {("bad", 5_000), ("c\n", 0)}


def test_large_batches_reach_the_sink_in_parts(tmp_path: Path) -> None:
    with http_server(level) as model, http_server(lambda _: Answer(204)) as influxdb:
        config = job_config(influxdb_sink(influxdb.url, tmp_path), model.url)
        rows = [(f"k{i}", 0) for i in range(12_000)]
        Publisher.open(config, source=EngineName.FLINK).publish(windows(config, rows))
    lines = [len(request.body.split(b"\n")) for request in influxdb.requests]
    assert lines == [5_000, 5_000, 2_000]


def test_the_right_to_write_is_asked_for_at_the_start(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    (tmp_path / "token").unlink()
    with pytest.raises(Fenced):
        Publisher.open(config, source=EngineName.FLINK)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hash"):
        Publisher.open(job_config(parquet_sink(tmp_path), output="hash"), source=EngineName.FLINK)


def test_counts_stay_integers_and_number_outputs_floats(tmp_path: Path) -> None:
    def answer(_: Request) -> Answer:
        return Answer(200, {"predictions": [3], "modelVersion": "v1"})

    with http_server(answer) as model:
        config = job_config(parquet_sink(tmp_path), model.url, outputType="Number")
        Publisher.open(config, source=EngineName.FLINK).publish(windows(config, [("a", 0)]))
    points = read_points(tmp_path / "points")
    assert points.schema.field("count").type == pa.int64()
    assert points.schema.field("level").type == pa.float64()
    assert points["level"].to_pylist() == [3.0]
