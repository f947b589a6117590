"""The producer against a real broker: what it reports is what stands in the topic."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from tests.support.dask_ground import kafka_home

from streampipeline.local.kafka import KafkaProcess
from streampipeline.local.processes import Processes, free_port
from streampipeline.producer.settings import NURSE_SCHEMA, SIGNALS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Record:
    partition: int
    key: str
    value: bytes | None
    timestamp: int

    def decoded(self) -> dict[str, Any] | None:
        """The value, its datetime in ms; None when it cannot be decoded."""
        stream = io.BytesIO(self.value or b"")
        try:
            record = fastavro.schemaless_reader(stream, PLAIN_SCHEMA, None)
        except (EOFError, UnicodeDecodeError, ValueError, IndexError, OverflowError):
            return None
        return record if isinstance(record, dict) and stream.read() == b"" else None


PLAIN_SCHEMA = {
    **NURSE_SCHEMA,
    "fields": [
        {"name": "datetime", "type": "long"} if field["name"] == "datetime" else field
        for field in NURSE_SCHEMA["fields"]
    ],
}


class Broker(KafkaProcess):
    """The broker of a run, and what stands in its topics."""

    def await_answers(self) -> None:
        """Start it when it does not run; returns when it answers."""
        self.start()
        _until(self.answers, 60)

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, partition by partition."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "test", "enable.auto.commit": False}
        )
        try:
            found = []
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                consumer.assign([TopicPartition(topic, partition, low)])
                left = high - low
                while left:
                    messages = consumer.consume(left, timeout=10)
                    assert messages, "the topic ends too early"
                    left -= len(messages)
                    found += [
                        Record(partition, (m.key() or b"").decode(), m.value(), m.timestamp()[1])
                        for m in messages
                    ]
            return found
        finally:
            consumer.close()

    def count(self, topic: str) -> int:
        """Records in a topic; 0 when it is not there."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "test"})
        try:
            found = consumer.list_topics(timeout=10).topics.get(topic)
            partitions = list(found.partitions) if found is not None else []
            ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions]
            return sum(high - low for low, high in ends)
        finally:
            consumer.close()


def _until(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if happened():
                return
        except KafkaException:
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    processes = Processes(tmp_path_factory.mktemp("kafka"))
    one = Broker(processes, home=kafka_home())
    try:
        one.await_answers()
        yield one
    finally:
        processes.stop_all(grace_seconds=60)


def _start(servers: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "streampipeline.producer",
            "--bootstrap-servers",
            servers,
            *map(str, arguments),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "jobs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(servers: str, *arguments: object, code: int = 0) -> tuple[dict[str, Any], str]:
    """The report and what was said on standard error."""
    process = _start(servers, *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return (json.loads(out) if out else {}), err


def test_live_records_are_due_now_with_the_faults_that_were_asked_for(broker: Broker) -> None:
    report, _ = _run(
        broker.bootstrap, "--topic", "live", "--rate", 600, "--duration", 4, "--poison", 12, "--late", 20,
        "--late-seconds", 30, "--silent-partition", "2:1:3",
    )  # fmt: skip
    records = broker.records("live")
    assert len(records) == report["records"]
    assert report["records"] == 2400 + 12 - report["silenced"]
    counts = Counter(str(record.partition) for record in records)
    assert counts == report["partitions"]
    assert len(counts) == 4
    assert report["failures"] == 0
    assert report["bytes"] == sum(len(record.value or b"") for record in records)

    decoded = [(record, value) for record in records if (value := record.decoded()) is not None]
    assert len(decoded) == len(records) - 12
    assert all(record.key == value["id"] for record, value in decoded)
    partitions = {(record.key, record.partition) for record in records}
    assert len(partitions) == len({key for key, _ in partitions}) == 15

    late = [value for record, value in decoded if record.timestamp - value["datetime"] > 25_000]
    assert len(late) == report["late"]
    assert 0 < len(late) <= 20
    on_time = [record.timestamp - value["datetime"] for record, value in decoded if value not in late]
    assert min(on_time) >= 0
    assert max(on_time) < 2000
    quiet = sorted(record.timestamp for record, _ in decoded if record.partition == 2)
    assert max(after - before for before, after in pairwise(quiet)) > 1500
    assert report["silenced"] > 200


def _recording(file: Path) -> pl.DataFrame:
    ticks = pl.DataFrame({"tick": range(4000)})
    nurses = pl.DataFrame({"id": ["15", "5C", "E4"], "day": [0, 40, 7]})
    frame = nurses.join(ticks, how="cross").select(
        *((pl.col("tick") % 50 + index).cast(pl.Float64).alias(name) for index, name in enumerate(SIGNALS)),
        "id",
        datetime=pl.datetime(2020, 7, 1) + pl.duration(days="day", milliseconds=pl.col("tick") * 250),
    )
    frame.write_parquet(file)
    return frame


def test_a_replay_has_the_times_of_the_recording(broker: Broker, tmp_path: Path) -> None:
    frame = _recording(tmp_path / "recording.parquet")
    end = 1_750_000_000_000
    arguments = ["--data", tmp_path / "recording.parquet", "--rate", "max", "--end", end, "--partitions", 2]
    report, _ = _run(broker.bootstrap, "--topic", "replay", *arguments)
    records = broker.records("replay")
    assert len(records) == frame.height == report["records"]
    values = [value for record in records if (value := record.decoded()) is not None]
    assert [record.timestamp for record in records] == [value["datetime"] for value in values]
    assert max(value["datetime"] for value in values) == end == report["last_event_time"]
    assert min(value["datetime"] for value in values) == end - 3999 * 250 == report["first_event_time"]
    for partition in (0, 1):
        times = [record.timestamp for record in records if record.partition == partition]
        assert times == sorted(times)
    sent = pl.DataFrame(values).sort("id", "datetime").select(*SIGNALS, "id")
    assert sent.equals(frame.sort("id", "datetime").select(*SIGNALS, "id"))

    _, said = _run(broker.bootstrap, "--topic", "live", *arguments, code=2)
    assert "message.timestamp.type=LogAppendTime" in said


def test_a_broker_that_stops_for_a_while_loses_nothing(broker: Broker) -> None:
    process = _start(broker.bootstrap, "--topic", "restart", "--rate", 500)
    try:
        _until(lambda: broker.count("restart") > 200, 30)
        known = broker.count("restart")
        broker.stop()
        broker.await_answers()
        _until(lambda: broker.count("restart") > known + 1000, 60)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    report = json.loads(out)
    assert process.returncode == 0, err
    assert report["stopped"] is True
    assert report["failures"] == 0
    assert "records wait until it is back" in err
    records = broker.records("restart")
    assert len(records) == report["records"]
    values = [value for record in records if (value := record.decoded()) is not None]
    assert len({(value["id"], value["datetime"]) for value in values}) == len(values) == len(records)
    times = sorted(value["datetime"] for value in values)
    assert max(after - before for before, after in pairwise(times)) <= 2 + round(
        report["slipped_seconds"] * 1000
    )


def test_a_broker_that_cannot_be_reached_is_named() -> None:
    port = free_port()
    _, said = _run(f"127.0.0.1:{port}", "--connect-attempts", 1, code=3)
    assert f"cannot reach Kafka at 127.0.0.1:{port} in 1 attempts" in said


def test_signals_without_an_end_have_no_recorded_times() -> None:
    _, said = _run("127.0.0.1:1", "--rate", "max", code=2)
    assert "give a limit" in said


def test_live_records_as_fast_as_it_goes_are_of_this_moment(broker: Broker) -> None:
    report, _ = _run(
        broker.bootstrap, "--topic", "burst", "--rate", "max", "--clock", "live", "--limit", 12_000
    )
    values = [(record, record.decoded()) for record in broker.records("burst")]
    assert len(values) == report["records"] == 12_000
    assert all(
        value is not None and 0 <= record.timestamp - value["datetime"] < 2000 for record, value in values
    )
