"""A broker that is reached over TLS with a name and a password only, and the files by which clients do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from tests.support.dask_ground import SCHEMA, Ground, await_, kafka_home, model_server, spec

from streampipeline.engines.dask import commands
from streampipeline.jobconfig import PipelineConfig, TimestampType
from streampipeline.kafka import admin
from streampipeline.local.kafka import KafkaProcess
from streampipeline.local.processes import Processes
from streampipeline.topics import ensure_source, ensure_topics
from streampipeline_operator.resolve import KafkaAccess, write_kafka_access

USER = r'nurse "7\8"'  # Kafka takes ASCII only
SECRET_PART = "7f3a9c51e2"
"""In every password, and without a character that any writer would escape."""
PASSWORD = f"""a"b\\c 'd'#=:!\\n ${{env:HOME}} ö€𝄞 {SECRET_PART}"""
WRONG = f"not {SECRET_PART}"
SUBJECT_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"
CLUSTER_ID = "c3RyZWFtcGlwZWxpbmUAAA"
PROPERTIES = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}


def make_certificates(folder: Path) -> None:
    """An authority (ca.crt) and the broker's key with a certificate that it signed (broker.pem)."""

    def request(*arguments: str) -> None:
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *arguments]
        subprocess.run(new, check=True, capture_output=True, cwd=folder)

    folder.mkdir(parents=True)
    request("-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", SUBJECT_NAMES]
    leaf = ["-addext", "basicConstraints=critical,CA:FALSE"]
    request("-subj", "/CN=broker", *signed, *leaf, "-keyout", "broker.key", "-out", "broker.crt")
    pem = (folder / "broker.key").read_text() + (folder / "broker.crt").read_text()
    (folder / "broker.pem").write_text(pem)


class SecuredBroker(KafkaProcess):
    """Offers its clients SASL_SSL with SCRAM-SHA-512; to itself it speaks plainly."""

    def __init__(self, processes: Processes, *, home: Path) -> None:
        self.certificates = processes.workdir / "certificates"
        make_certificates(self.certificates)
        super().__init__(processes, home=home)

    def _configure(self, controller: int) -> None:
        super()._configure(controller)
        inside = self._processes.reserve_port()
        clients = f"SASL_SSL://127.0.0.1:{self.port}"
        lines = {
            "listeners": f"{clients},PLAINTEXT://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"{clients},PLAINTEXT://127.0.0.1:{inside}",
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates / "broker.pem"),
        }
        with self._settings.open("a") as file:  # of two lines with a key the last one counts
            file.writelines(f"{key}={value}\n" for key, value in lines.items())

    def start(self) -> None:
        """With its user, who has to be there from the first format on."""
        user = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        if not (self._dir / "data" / "meta.properties").exists():
            told = ["format", "-t", CLUSTER_ID, "-c", str(self._settings), "--add-scram", user]
            storage = self._java("kafka.tools.StorageTool", *told)
            utf8 = {**os.environ, "LC_ALL": "C.UTF-8"}  # it decides how Java reads its arguments
            subprocess.run(storage, check=True, capture_output=True, env=utf8)
        super().start()


@dataclass(frozen=True)
class SecuredGround:
    """A ground whose broker is secured."""

    ground: Ground
    broker: SecuredBroker

    def pipeline(self, topic: str, *, password: str = PASSWORD) -> PipelineConfig:
        """What a pipeline is told: its files are written as the operator writes them."""
        folder = self.ground.processes.workdir / "access" / topic
        secrets = {"sasl.username": USER, "sasl.password": password}
        ca = (self.broker.certificates / "ca.crt").read_text()
        write_kafka_access(KafkaAccess(ca, PROPERTIES, secrets), folder)
        return PipelineConfig(
            pipeline=topic,
            uid=f"uid-{topic}",
            spec=spec(topic, 50_000, {}),
            avro_schema=json.dumps(SCHEMA),
            bootstrap_servers=[self.broker.bootstrap],
            kafka_properties={**PROPERTIES, "ssl.ca.location": str(folder / "kafka-ca.crt")},
            kafka_secret_file=str(folder / "kafka.json"),
            timestamp_type=TimestampType.CREATE_TIME,
            model_url=self.ground.model_url,
        )

    def with_topics(self, topic: str) -> PipelineConfig:
        """A pipeline whose topics are there."""
        config = self.pipeline(topic)
        await_("Kafka answers", lambda: _answers(config))
        ensure_source(config, partitions=4)
        ensure_topics(config)
        return config


def _answers(config: PipelineConfig) -> bool:
    try:
        return bool(admin(config).list_topics(timeout=3).brokers)
    except KafkaException:
        return False


@contextmanager
def secured_ground(workdir: Path) -> Iterator[SecuredGround]:
    """A secured broker, a model and a Dask cluster as processes."""
    processes = Processes(workdir)
    environment = {**commands.environment(), "PYTHONPATH": str(Path(__file__).parents[2] / "jobs")}
    try:
        with model_server() as url:
            broker = SecuredBroker(processes, home=kafka_home())
            ground = Ground(processes, broker, url, environment=environment)
            broker.start()
            ground.start_cluster()
            yield SecuredGround(ground, broker)
    finally:
        processes.stop_all()
