"""A broker, a model that adds, a Dask cluster and its driver as processes; and what the points must be."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.engines.dask import commands
from streampipeline.jobconfig import (
    Assignment,
    EngineName,
    JobConfig,
    Origin,
    ParquetEndpoint,
    PipelineConfig,
    SinkEndpoint,
    TimestampType,
)
from streampipeline.local.kafka import KafkaProcess
from streampipeline.local.processes import Processes
from streampipeline.topics import ensure_topics

REPOSITORY = Path(__file__).parents[2]
FIELDS = ("X", "Y", "Z", "EDA", "HR", "TEMP")
SCHEMA = {
    "type": "record",
    "name": "Nurse",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        *({"name": name, "type": "double"} for name in FIELDS),
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)
_RAW = fastavro.parse_schema(
    json.loads(json.dumps(SCHEMA).replace(', "logicalType": "timestamp-millis"', ""))
)


def kafka_home() -> Path:
    home = Path(os.environ.get("STREAMPIPELINE_KAFKA", REPOSITORY / "build" / "runtime" / "kafka"))
    assert any((home / "libs").glob("*.jar")), (
        f"no Kafka in {home}: run `make runtime` or set STREAMPIPELINE_KAFKA"
    )
    return home


def await_(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    """Poll until `condition` is true. Raises AssertionError with `what` otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@contextmanager
def model_server() -> Iterator[str]:
    """A model whose prediction is the whole part of the inputs' sum, in [0, 3)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            predictions = [prediction(row) for row in body["inputs"]]
            reply = json.dumps({"predictions": predictions, "modelVersion": "adder-1"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def prediction(inputs: Iterable[float]) -> int:
    return int(sum(inputs)) % 3


def value_of(key: str, e: int, readings: Iterable[float]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out, _RAW, {"id": key, "datetime": e, **dict(zip(FIELDS, readings, strict=True))}
    )
    return out.getvalue()


@dataclass
class Ground:
    """Processes of one test module."""

    processes: Processes
    kafka: KafkaProcess
    model_url: str
    scheduler: str = ""
    workers: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(cls, workdir: Path) -> Iterator[Ground]:
        processes = Processes(workdir)
        environment = {**commands.environment(), "PYTHONPATH": str(REPOSITORY / "jobs")}
        try:
            with model_server() as url:
                ground = cls(
                    processes, KafkaProcess(processes, home=kafka_home()), url, environment=environment
                )
                ground.kafka.start()
                ground.start_cluster()
                await_("Kafka answers", ground.kafka.answers, 180)
                yield ground
        finally:
            processes.stop_all()

    def start_cluster(self) -> None:
        port = self.processes.reserve_port()
        self.scheduler = f"tcp://127.0.0.1:{port}"
        self.processes.start("scheduler", commands.scheduler(sys.executable, port=port), env=self.environment)
        for _ in range(2):
            self.start_worker()

    def start_worker(self) -> str:
        name = f"worker-{self.workers}"
        self.workers += 1
        argv = commands.worker(
            sys.executable,
            scheduler=self.scheduler,
            name=name,
            directory=self.processes.workdir / "scratch",
        )
        self.processes.start(name, argv, env=self.environment)
        return name

    def driver(self, config: JobConfig, name: str = "driver", *, level: str = "INFO") -> None:
        path = self._write(config, name)
        argv = commands.driver(sys.executable, config=path, scheduler=self.scheduler)
        self.processes.start(name, argv, env={**self.environment, "STREAMPIPELINE_LOG_LEVEL": level})

    def repair(self, config: JobConfig, *arguments: str) -> dict[str, Any]:
        """Run the repair to its end. Returns its last JSON line."""
        path = self._write(config, "repair")
        argv = [sys.executable, "-m", "streampipeline.repair", str(path), *arguments]
        child = self.processes.start("repair", argv, env=self.environment)
        await_("the repair ends", lambda: not child.alive, 180)
        assert child.exit_code == 0, child.last_lines()
        lines = [line for line in child.log_file.read_text().splitlines() if line.startswith('{"re')]
        report: dict[str, Any] = json.loads(lines[-1])
        return report

    def stop(self, name: str = "driver") -> int:
        """Ask a process to stop. Returns its exit code."""
        child = self.processes.get(name)
        assert child is not None
        child.process.terminate()
        return child.process.wait(20)

    def exit_code(self, name: str = "driver") -> int | None:
        child = self.processes.get(name)
        return child.exit_code if child else None

    def log_lines(self, name: str = "driver") -> list[dict[str, Any]]:
        child = self.processes.get(name)
        assert child is not None
        lines = child.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _write(self, config: JobConfig, name: str) -> Path:
        path = self.processes.workdir / f"{name}.json"
        path.write_text(config.dump())
        return path

    def pipeline(
        self, topic: str, timestamps: TimestampType, *, batch_records: int = 50_000, **event_time: int
    ) -> PipelineConfig:
        """A pipeline on a new topic of 4 partitions, with its internal topics."""
        kind = {
            "message.timestamp.type": timestamps.value,
            "message.timestamp.after.max.ms": "9223372036854775807",
        }
        new = NewTopic(topic, num_partitions=4, replication_factor=1, config=kind)
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        admin.create_topics([new])[topic].result(20)
        config = PipelineConfig(
            pipeline=topic,
            uid=f"uid-{topic}",
            spec=spec(topic, batch_records, event_time),
            avro_schema=json.dumps(SCHEMA),
            bootstrap_servers=[self.kafka.bootstrap],
            timestamp_type=timestamps,
            model_url=self.model_url,
        )
        ensure_topics(config)
        return config

    def job(self, pipeline: PipelineConfig, origin: Origin, assignment: Assignment) -> JobConfig:
        """A job with a write token of its own, into `points(pipeline)`."""
        token = (
            self.processes.workdir / "tokens" / f"{pipeline.uid}-{assignment.epoch}-{assignment.engine.value}"
        )
        token.parent.mkdir(exist_ok=True)
        token.write_text("may write")
        endpoint = ParquetEndpoint(path=str(self.points_folder(pipeline)), token_file=str(token))
        return JobConfig(
            **{name: getattr(pipeline, name) for name in PipelineConfig.model_fields},
            assignment=assignment,
            origin=origin,
            sink=SinkEndpoint(parquet=endpoint),
        )

    def first_job(self, pipeline: PipelineConfig, origin: Origin, epoch: int = 1) -> JobConfig:
        assignment = Assignment(
            engine=EngineName.DASK,
            epoch=epoch,
            generation=1,
            boundary=origin.boundary,
            offsets=origin.offsets,
        )
        return self.job(pipeline, origin, assignment)

    def points_folder(self, pipeline: PipelineConfig) -> Path:
        return self.processes.workdir / "points" / pipeline.uid

    def points(self, pipeline: PipelineConfig) -> dict[tuple[str, int], dict[str, Any]]:
        """By (key, window start): the row that a reader takes."""
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        for file in sorted(self.points_folder(pipeline).glob("epoch=*/[!.]*.parquet")):
            for row in pl.read_parquet(file, hive_partitioning=False).iter_rows(named=True):
                at = (row["id"], row["window_start"])
                if at not in rows or _precedence(row) > _precedence(rows[at]):
                    rows[at] = row
        return rows

    def producer(self) -> Producer:
        settings = {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 20, "enable.idempotence": True}
        return Producer(settings)  # idempotent: a retry must not turn the order of T around

    def read(self, topic: str, partitions: int) -> list[tuple[int, int, int, bytes | None, Any]]:
        """Everything committed: (partition, offset, T, value, headers)."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "group.id": "test",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        rows: list[tuple[int, int, int, bytes | None, Any]] = []
        ended: set[int] = set()
        while len(ended) < partitions:
            for message in consumer.consume(10_000, timeout=0.1):
                if message.error() is not None:
                    ended.add(int(message.partition() or 0))
                    continue
                rows.append(
                    (
                        int(message.partition() or 0),
                        int(message.offset() or 0),
                        message.timestamp()[1],
                        message.value(),
                        message.headers(),
                    )
                )
        consumer.close()
        return rows


def _precedence(row: dict[str, Any]) -> tuple[int, bool, int, int]:
    return (row["generation"], row["source"] == EngineName.REPAIR, row["epoch"], row["written_ns"])


def spec(topic: str, batch_records: int, event_time: dict[str, int]) -> StreamPipelineSpec:
    return StreamPipelineSpec.model_validate(
        {
            "source": {
                "kafka": {"bootstrapServers": ["unused:9092"], "topic": topic},
                "format": {"type": "Avro", "schema": json.dumps(SCHEMA)},
                "keyField": "id",
                "eventTime": {"field": "datetime", "allowedDelaySeconds": 1, **event_time},
            },
            "window": {"tumbling": {"sizeSeconds": 1}},
            "aggregates": [{"name": name, "field": name, "function": "Mean"} for name in FIELDS],
            "model": {"external": {"url": "http://unused"}, "inputs": list(FIELDS), "output": "stress_level"},
            "sinks": [{"parquet": {"path": "unused"}}],
            "deadLetter": {"topic": f"{topic}-dead-letter"},
            "fallback": {"dask": {"batchRecords": batch_records}},
        }
    )


@dataclass
class Expected:
    """One window, recomputed record by record."""

    n: int = 0
    hash: int = 0
    newest: int = 0
    sums: list[int] = field(default_factory=lambda: [0] * len(FIELDS))

    def values(self) -> list[float]:
        return [float(total) / float(self.n * 10**6) for total in self.sums]


@dataclass
class Recomputed:
    """What a topic's records are worth, by the contract and in plain Python."""

    on_time: dict[tuple[str, int], Expected] = field(default_factory=dict)
    final: dict[tuple[str, int], Expected] = field(default_factory=dict)
    late: int = 0
    refused: dict[tuple[int, int], str] = field(default_factory=dict)


def mix(partition: int, offset: int) -> int:
    mask = 2**64 - 1
    z = (partition * 0x9E3779B97F4A7C15 + offset) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 21


def recompute(
    records: Iterable[tuple[int, int, int, bytes | None, Any]],
    pipeline: PipelineConfig,
) -> Recomputed:
    """Judge and add up each record of the source topic."""
    result = Recomputed()
    times = pipeline.spec.source.event_time
    size = pipeline.spec.window.size_ms
    for partition, offset, t, value, _ in records:
        source = io.BytesIO(value or b"")
        try:
            record: Any = fastavro.schemaless_reader(source, _RAW, None)
            assert not source.read(1)
        except Exception:
            result.refused[partition, offset] = "Undecodable"
            continue
        age = t - record["datetime"]
        if not record["id"]:
            result.refused[partition, offset] = "EmptyKey"
        elif any(math.isnan(record[name]) for name in FIELDS):
            result.refused[partition, offset] = "NotANumber"
        elif age > times.max_lateness_seconds * 1000:
            result.refused[partition, offset] = "TooLate"
        elif -age > times.max_future_seconds * 1000:
            result.refused[partition, offset] = "TooFarInFuture"
        else:
            late = age > times.allowed_delay_seconds * 1000
            result.late += late
            at = (record["id"], record["datetime"] // size * size)
            for table in (result.final,) if late else (result.final, result.on_time):
                window = table.setdefault(at, Expected())
                window.n += 1
                window.hash += mix(partition, offset)
                window.newest = max(window.newest, record["datetime"])
                for index, name in enumerate(FIELDS):
                    window.sums[index] += math.floor(record[name] * 10**6 + 0.5)
    return result


def differences(
    points: dict[tuple[str, int], dict[str, Any]], expected: dict[tuple[str, int], Expected]
) -> list[str]:
    """What is missing, too much or different, in words."""
    found = [f"missing {at}" for at in expected.keys() - points.keys()]
    found += [f"unexpected {at}" for at in points.keys() - expected.keys()]
    for at in points.keys() & expected.keys():
        row, want = points[at], expected[at]
        have = (row["n"], row["hash"], row["datetime"], [row[name] for name in FIELDS], row["stress_level"])
        wanted = (want.n, want.hash, want.newest, want.values(), prediction(want.values()))
        if have != wanted:
            found.append(f"{at}: {have} instead of {wanted}")
    return found
