"""A broker with TLS and SASL: both engines read it alike, a wrong password is named, no secret is shown."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaException, TopicPartition
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support import publish_config
from tests.support.dask_ground import FIELDS, await_, value_of
from tests.support.flink_ground import flink_cluster, submit
from tests.support.secured_broker import (
    PASSWORD,
    SECRET_PART,
    USER,
    WRONG,
    SecuredGround,
    secured_ground,
)

from streampipeline.engines.flink import sql
from streampipeline.engines.flink.kafka_access import client_properties, credentials_file
from streampipeline.jobconfig import EngineName, JobConfig, Origin, PipelineConfig
from streampipeline.kafka import admin, consumer, explain, producer
from streampipeline.local.flink import FlinkProcesses
from streampipeline.local.runtime import Runtime
from streampipeline.progress import ProgressReader
from streampipeline.start import origin
from streampipeline.topics import ensure_topics
from streampipeline_operator.resolve import KafkaAccess, write_kafka_access

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SECONDS = 20
RATE = 40
LATE_EVERY, BAD_EVERY = 10, 40
COMPARED = ("n", "hash", "datetime", *FIELDS, "stress_level", "scored", "modelVersion")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredGround]:
    with secured_ground(Path(tmp_path_factory.mktemp("secured"))) as secured:
        yield secured


@pytest.fixture(scope="module")
def flink(secured: SecuredGround) -> Iterator[FlinkProcesses]:
    with flink_cluster(secured.ground) as flink:
        yield flink


def produce(config: PipelineConfig, begin: int) -> None:
    """Records of which some are late and some undecodable; T is ours, and never runs back."""
    client = producer(config)
    topic = config.spec.source.kafka.topic
    for step in range(SECONDS * RATE):
        t = begin + step * 1000 // RATE
        age = 1500 if step % LATE_EVERY == 3 else 100
        value = value_of(f"nurse {step % 3}", t - age, [step + index / 8 for index in range(6)])
        if step % BAD_EVERY == 7:
            value = value[:5]
        client.produce(topic, value=value, partition=step % 4, timestamp=t)
    last = begin + SECONDS * 1000 + 30_000
    for partition in range(4):  # closes what was still open
        client.produce(topic, value=value_of("closer", last, [1.0] * 6), partition=partition, timestamp=last)
    assert client.flush(30) == 0


def as_engine(pipeline: PipelineConfig, engine: EngineName) -> PipelineConfig:
    """The same topic as a pipeline of one engine, with topics of its own."""
    dead = pipeline.spec.dead_letter.model_copy(update={"topic": f"dead-{engine.value}"})
    spec = pipeline.spec.model_copy(update={"dead_letter": dead})
    named = pipeline.model_copy(update={"uid": f"secured-{engine.value}", "spec": spec})
    ensure_topics(named)
    return named


def job_of(
    secured: SecuredGround, pipeline: PipelineConfig, where: Origin, engine: EngineName, epoch: int
) -> JobConfig:
    job = secured.ground.first_job(pipeline, where, epoch)
    return job.model_copy(update={"assignment": job.assignment.model_copy(update={"engine": engine})})


def await_frontier(pipeline: PipelineConfig, boundary: int, seconds: float) -> None:
    reader = ProgressReader(pipeline)

    def reached() -> bool:
        reader.poll()
        return (reader.frontier(1) or 0) >= boundary

    try:
        await_(f"the frontier of {pipeline.uid}", reached, seconds)
    finally:
        reader.close()


def length(pipeline: PipelineConfig, topic: str) -> int:
    """Records of a topic of one partition."""
    client = consumer(pipeline, "test")
    try:
        low, high = client.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        return int(high - low)
    finally:
        client.close()


def shown(secured: SecuredGround, flink: FlinkProcesses, job_id: str) -> dict[str, bytes]:
    """All that a reader of logs, of Flink's files and of its REST answers sees, by where it stands."""
    workdir = secured.ground.processes.workdir
    found = {
        str(file.relative_to(workdir)): file.read_bytes()
        for folder in ("logs", "flink")
        for file in (workdir / folder).rglob("*")
        if file.is_file()
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{flink.rest_port}", timeout=20) as client:
        members = client.get("/taskmanagers").json()["taskmanagers"]
        vertices = client.get(f"/jobs/{job_id}").json()["vertices"]
        paths = [
            *(f"/jobs/{job_id}{part}" for part in ("", "/config", "/plan", "/exceptions", "/checkpoints")),
            *(f"/jobs/{job_id}{part}" for part in ("/checkpoints/config", "/jobmanager/config")),
            *(f"/jobs/{job_id}/vertices/{vertex['id']}" for vertex in vertices),
            *(f"/jobmanager/{part}" for part in ("config", "environment", "log", "stdout", "thread-dump")),
            *(f"/taskmanagers/{m['id']}{part}" for m in members for part in ("", "/log", "/stdout")),
        ]
        found |= {path: client.get(path).content for path in paths}
    return found


def from_gateway(flink: FlinkProcesses, config: JobConfig) -> dict[str, bytes]:
    """What the gateway answers when it is told of the tables, and how it shows them."""
    found: dict[str, bytes] = {}
    tables = ["source", "progress", "repairs", "dead_letters"]
    with httpx.Client(base_url=f"http://127.0.0.1:{flink.gateway_port}", timeout=20) as client:
        opened = client.post("/v1/sessions", json={"properties": sql.session_properties(config)})
        session = f"/v1/sessions/{opened.json()['sessionHandle']}"
        made = [
            text for text in sql.statements(config, "unused") if text.startswith("CREATE TEMPORARY TABLE")
        ]
        for statement in [*made, *(f"SHOW CREATE TABLE {table}" for table in tables)]:
            handle = client.post(f"{session}/statements", json={"statement": statement}).json()
            result = f"{session}/operations/{handle['operationHandle']}/result/0"
            while (answer := client.get(result)).json().get("resultType") == "NOT_READY":
                time.sleep(0.05)
            found[statement] = answer.raise_for_status().content
        found["session"] = client.get(session).content
        client.delete(session)
    for table in tables:
        # Shown it is: only what is not there can not be seen.
        assert b"sasl.jaas.config" in found[f"SHOW CREATE TABLE {table}"]
    return found


def credentials_of(config: JobConfig) -> bytes:
    assert config.kafka_secret_file is not None
    return Path(credentials_file(config.kafka_secret_file)).read_bytes()


def where_secret(found: dict[str, bytes]) -> list[str]:
    return [place for place, content in found.items() if SECRET_PART.encode() in content]


def points(secured: SecuredGround, pipeline: PipelineConfig, until: int) -> dict[Any, tuple[Any, ...]]:
    rows = secured.ground.points(pipeline)
    return {
        at: tuple(row[name] for name in COMPARED) for at, row in rows.items() if row["window_end"] <= until
    }


def test_both_engines_read_and_write_over_tls_and_scram(
    secured: SecuredGround, flink: FlinkProcesses
) -> None:
    pipeline = secured.with_topics("secured")
    begin = (time.time_ns() // 1_000_000_000 - 600) * 1000
    produce(pipeline, begin)
    until = begin + SECONDS * 1000
    where = origin(pipeline)
    dask, java = as_engine(pipeline, EngineName.DASK), as_engine(pipeline, EngineName.FLINK)
    secured.ground.driver(job_of(secured, dask, where, EngineName.DASK, 2))
    job = job_of(secured, java, where, EngineName.FLINK, 3)
    job_id = submit(secured.ground, flink, job)
    await_frontier(dask, until, 60)
    await_frontier(java, until, 120)
    seen = shown(secured, flink, job_id) | from_gateway(flink, job)
    flink.jobmanager.cancel(job_id)
    assert secured.ground.stop() == 0

    from_flink, from_dask = points(secured, java, until), points(secured, dask, until)
    assert len(from_flink) >= 3 * (SECONDS - 1)
    assert from_flink == from_dask
    bad = SECONDS * RATE // BAD_EVERY
    for config in (java, dask):
        assert length(config, config.spec.dead_letter.topic) == bad
        assert length(config, config.repairs_topic) > 0
    assert length(java, java.repairs_topic) == SECONDS * RATE // LATE_EVERY
    assert where_secret({"the clients' file": credentials_of(job)}) == ["the clients' file"]
    assert where_secret(seen) == []


@pytest.fixture(scope="module")
def java_login() -> Iterator[Callable[[dict[str, str]], list[str]]]:
    """Login module, name and password that the connector's Kafka client reads out of its properties."""
    program = Path(__file__).parents[1] / "support" / "FlinkKafkaLogin.java"
    argv = ["java", "-cp", f"{Runtime.find().flink_home}/lib/*", str(program)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as java:
        assert java.stdin is not None
        assert java.stdout is not None
        into, out = java.stdin, java.stdout

        def ask(properties: dict[str, str]) -> list[str]:
            into.write("\t".join(word for pair in properties.items() for word in pair) + "\n")
            into.flush()
            module, *values = out.readline().split()
            return [module, *(base64.b64decode(value[1:]).decode() for value in values)]

        yield ask
        into.close()


MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
CREDENTIAL = st.text(st.characters(codec="utf-8") | st.sampled_from("\\\"'\r\n\t ;=,:#!${}u0"))


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mechanism=st.sampled_from(MECHANISMS), user=CREDENTIAL, word=CREDENTIAL)
@example(mechanism="PLAIN", user=USER, word=PASSWORD)
@example(mechanism="PLAIN", user=" = ", word="\r\n\t\f\b\0\\u0041\\141 ")
def test_any_credentials_reach_java_as_they_are(
    java_login: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
    mechanism: str,
    user: str,
    word: str,
) -> None:
    properties = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism}
    access = KafkaAccess(None, properties, {"sasl.username": user, "sasl.password": word})
    write_kafka_access(access, tmp_path)
    config = publish_config.job_config(publish_config.parquet_sink(tmp_path)).model_copy(
        update={"kafka_properties": properties, "kafka_secret_file": str(tmp_path / "kafka.json")}
    )

    module, *read = java_login({"bootstrap.servers": "127.0.0.1:9", **client_properties(config)})

    assert read == [user, word]
    assert module.endswith(".PlainLoginModule" if mechanism == "PLAIN" else ".ScramLoginModule")


def test_a_wrong_password_is_named_and_not_shown(secured: SecuredGround, flink: FlinkProcesses) -> None:
    right = secured.with_topics("refused")
    where = origin(right)
    config = job_of(secured, secured.pipeline("refused", password=WRONG), where, EngineName.FLINK, 4)
    job_id = submit(secured.ground, flink, config)
    await_("Flink says why", lambda: flink.jobmanager.failure(job_id), 60)

    said = flink.jobmanager.failure(job_id)
    assert "invalid credentials with SASL mechanism SCRAM-SHA-512" in said
    assert where_secret(shown(secured, flink, job_id)) == []
    flink.jobmanager.cancel(job_id)


def test_the_operator_names_a_wrong_password_too(secured: SecuredGround) -> None:
    config = secured.pipeline("refused", password=WRONG)
    with pytest.raises(KafkaException) as refused:
        admin(config).list_topics(timeout=5)
    said = explain(config, refused.value)
    assert "invalid credentials with SASL mechanism SCRAM-SHA-512" in said
    assert WRONG not in said
