"""Whole audits: topics in the broker inside librdkafka, points in Parquet files, the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.support.audit_world import SCHEMA, START, World, spec

from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline_audit import AuditError, AuditRequest, audit, topics
from streampipeline_audit.cli import main
from streampipeline_audit.points import Point

UID = "u1"


@dataclass
class Trial:
    """A pipeline's topics and results; the mock broker makes four partitions of each topic."""

    folder: Path
    producer: Producer
    bootstrap: str
    world: World = field(default_factory=lambda: World(partitions=4, predictor=None))

    def config(self, **changed: Any) -> JobConfig:
        model = {**spec().model_dump(by_alias=True)["model"], "inputs": ["mean"]}
        return JobConfig.model_validate(
            {
                "pipeline": "p",
                "uid": UID,
                "spec": spec(model=model),
                "avroSchema": SCHEMA,
                "assignment": {
                    "engine": "flink",
                    "epoch": 1,
                    "generation": 1,
                    "boundary": START,
                    "offsets": {},
                },
                "origin": {"boundary": START, "offsets": {0: 0, 1: 0, 2: 0, 3: 0}},
                "bootstrapServers": [self.bootstrap],
                "modelUrl": "http://127.0.0.1:9",
                "timestampType": "CreateTime",
                "sink": {"parquet": {"path": str(self.folder / "points"), "tokenFile": "unused"}},
                **changed,
            }
        )

    def send(self, topic: str, value: bytes | None, partition: int = 0, **more: Any) -> None:
        self.producer.produce(topic, value, partition=partition, **more)
        self.producer.flush()

    def progress(self, frontier_s: float, generation: int = 1) -> None:
        row = {"generation": generation, "epoch": 1, "engine": "flink", "windows": 1, "at": 0}
        frontier = START + round(frontier_s * 1000)
        self.send(f"streampipeline.{UID}.progress", json.dumps({**row, "frontier": frontier}).encode())

    def request_repair(self, record_key: str, e: int) -> None:
        row = {"reason": "Late", "key": record_key, "from": e, "to": e + 1, "partition": 0, "offset": 0}
        self.send(f"streampipeline.{UID}.repairs", json.dumps(row).encode())

    def fill(self, seconds: int = 60) -> None:
        for i in range(seconds * 2):
            self.world.add(i % 3, i / 2, "ab"[i % 2], i / 2, i - 30.5)
        self.world.add_raw(3, 10, b"poison")
        for record in self.world.records:
            self.producer.produce("t", record.value, partition=record.partition, timestamp=record.timestamp)
        for partition, offset in self.world.dead * 2:
            headers = {
                "topic": "t",
                "partition": str(partition),
                "offset": str(offset),
                "reason": "Undecodable",
            }
            self.send("d", b"poison", headers={f"streampipeline.{name}": v for name, v in headers.items()})
        self.send("d", b"of somebody else", headers={"streampipeline.topic": "other"})
        self.world.frontier_s = seconds
        self.world.publish()
        self.progress(seconds / 2)
        self.progress(seconds)

    def write(self, points: list[Point], epoch: int = 1, written: int = 1, pipeline: str = "p") -> Path:
        rows = [
            {
                "pipeline": pipeline,
                "id": point.key,
                "window_start": point.start,
                "window_end": point.start + 5000,
                "epoch": epoch,
                "written_ns": written,
                **{name: float(v) if name in ("low", "sum") else v for name, v in point.fields.items()},  # type: ignore[arg-type]
            }
            for point in points
        ]
        folder = self.folder / "points" / f"epoch={epoch}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"flink-{written}-{len(list(folder.iterdir()))}.parquet"
        pl.DataFrame(rows).write_parquet(path)
        return path


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    producer = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})
    [broker] = producer.list_topics(timeout=10).brokers.values()
    made = Trial(tmp_path, producer, f"{broker.host}:{broker.port}")
    made.fill()
    yield made
    producer.flush()


def test_a_faultless_run_is_exact(trial: Trial) -> None:
    trial.write(trial.world.points[:5])
    trial.write(trial.world.points[5:])
    report = audit(AuditRequest(trial.config()))
    assert report.clean, report.examples
    assert report.balanced
    assert (report.produced, report.counted, report.dead_lettered) == (121, 120, 1)
    assert report.windows_expected == len(trial.world.points)
    assert report.frontier == START + 60_000
    assert report.ended_at_offsets == {0: 40, 1: 40, 2: 40, 3: 1}
    assert report.origin == {"boundary": START, "offsets": {0: 0, 1: 0, 2: 0, 3: 0}}
    assert report.records_per_second > 0


def test_of_several_rows_of_one_address_the_strongest_counts(trial: Trial) -> None:
    trial.write(trial.world.points, epoch=2)
    wrong = trial.world.point("a", START, [trial.world.records[0]] * 9)
    trial.write([wrong], epoch=1, written=99)
    trial.write([wrong], epoch=2, written=0)
    trial.write([wrong], epoch=3, pipeline="other")
    (trial.folder / "points" / "epoch=2" / ".flink-5-x.parquet").write_bytes(b"being written")
    assert audit(AuditRequest(trial.config())).clean
    trial.write([wrong], epoch=3)
    assert audit(AuditRequest(trial.config())).doubled == 9 - wrong_n(trial)


def wrong_n(trial: Trial) -> int:
    return next(p.n for p in trial.world.points if (p.key, p.start) == ("a", START))


def test_a_repair_outranks_an_engine_of_a_later_epoch(trial: Trial) -> None:
    first = trial.world.points[0]
    trial.write(trial.world.points[1:])
    trial.write([Point(first.key, first.start, {**first.fields, "source": "repair"})], epoch=1)
    trial.write([Point(first.key, first.start, {**first.fields, "high": 0.5})], epoch=2)
    report = audit(AuditRequest(trial.config()))
    assert report.clean
    assert report.by_source["repair"] == 1


def test_the_frontier_is_the_newest_and_may_be_given(trial: Trial) -> None:
    trial.write(trial.world.points)
    trial.progress(20)
    assert audit(AuditRequest(trial.config())).frontier == START + 60_000
    assert audit(AuditRequest(trial.config(), frontier=START + 30_000)).frontier == START + 30_000
    trial.progress(70, generation=2)
    with pytest.raises(AuditError, match="generation 2"):
        audit(AuditRequest(trial.config()))


def test_requests_behind_the_repairs_own_offset_are_outstanding(trial: Trial) -> None:
    record = trial.world.add(0, 40, "a", 20, 1.0)
    trial.send("t", record.value, timestamp=record.timestamp)
    trial.request_repair("a", record.e)
    trial.write(trial.world.points)
    report = audit(AuditRequest(trial.config()))
    assert report.clean, report.examples
    assert report.pending == 1
    config = trial.config()
    consumer = Consumer({"bootstrap.servers": trial.bootstrap, "group.id": config.group(EngineName.REPAIR)})
    consumer.commit(offsets=[TopicPartition(config.repairs_topic, 0, 1)], asynchronous=False)
    consumer.close()
    assert audit(AuditRequest(config)).lost == 1


def test_reading_ends_at_the_offsets_given(trial: Trial) -> None:
    trial.write(trial.world.points)
    report = audit(AuditRequest(trial.config(), until_offsets={0: 20}))
    assert report.clean, report.examples
    assert report.ended_at_offsets == {0: 20, 1: 40, 2: 40, 3: 1}


def test_the_command_line(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    config = trial.folder / "config.json"
    config.write_text(trial.config().dump())
    trial.write(trial.world.points[1:])
    assert main([str(config), "-o", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["lost"] == trial.world.points[0].n
    assert report["balanced"] is False
    assert {
        *(
            "produced",
            "counted",
            "dead_lettered",
            "pending",
            "windows_expected",
            "lost",
            "doubled",
            "differing",
        ),
        *(
            "unscored",
            "examples",
            "by_source",
            "frontier",
            "origin",
            "ended_at_offsets",
            "records_per_second",
        ),
    } <= set(report)
    assert set(report["examples"]) == {"lost", "doubled", "differing", "unscored", "pending"}
    trial.write(trial.world.points[:1])
    assert main([str(config)]) == 0
    assert capsys.readouterr().out.startswith("Exact: ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sink": {}}, "names no sink"),
        ({"sink": {"parquet": {"path": "/nowhere", "tokenFile": "x"}}}, "no folder /nowhere"),
        ({"avroSchema": "{"}, "Avro schema"),
        ({"bootstrapServers": ["127.0.0.1:1"]}, "Kafka at 127.0.0.1:1"),
        ({"kafkaSecretFile": "/nowhere"}, "secrets"),
        ({"kafkaProperties": {"nonsense": "1"}}, "nonsense"),
    ],
)
def test_what_cannot_be_audited_is_one_line_and_status_2(
    trial: Trial,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    told: str,
) -> None:
    monkeypatch.setattr(topics, "_CALL_SECONDS", 2)
    trial.write(trial.world.points)
    config = trial.folder / "config.json"
    config.write_text(trial.config(**change).dump())
    assert main([str(config)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("The audit could not be made: ")
    assert told in line


def test_a_damaged_file_of_points_is_told(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    path = trial.write(trial.world.points)
    path.write_bytes(path.read_bytes()[:100])
    config = trial.folder / "config.json"
    config.write_text(trial.config().dump())
    assert main([str(config)]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_a_wrong_configuration_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    config = tmp_path / "config.json"
    if content is not None:
        config.write_text(content)
    assert main([str(config)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["x", "-o", "xml"], ["x", "--until-offsets", "5"], ["x", "--pending-late", "x"]]
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_records_deleted_by_retention_are_told(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.write(trial.world.points)
    bounds = topics.Topics._bounds

    def cut(self: topics.Topics, topic: str) -> dict[int, tuple[int, int]]:
        return {
            p: (low + 7 if (topic, p) == ("t", 1) else low, high)
            for p, (low, high) in bounds(self, topic).items()
        }

    monkeypatch.setattr(topics.Topics, "_bounds", cut)
    with pytest.raises(AuditError, match="deleted 7 records of t, partition 1"):
        audit(AuditRequest(trial.config()))
