"""One Kafka broker (KRaft) as a child process, on loopback, its log in the working directory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streampipeline.local.processes import Processes

BROKER = "kafka"
# Any 16 bytes in URL-safe base64 will do: the cluster never leaves its working directory.
_CLUSTER_ID = "c3RyZWFtcGlwZWxpbmUAAA"
log = structlog.get_logger()


class KafkaProcess:
    """A broker whose data and port survive restarts of the run."""

    def __init__(self, processes: Processes, *, home: Path) -> None:
        self._processes = processes
        self._home = home
        self._dir = processes.workdir / "kafka"
        self._settings = self._dir / "server.properties"
        self._dir.mkdir(parents=True, exist_ok=True)
        self.port = processes.reserve_port()
        self._configure(processes.reserve_port())
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect, host:port."""
        return f"127.0.0.1:{self.port}"

    def _configure(self, controller: int) -> None:
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._dir / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            # A recording's timestamps may be years old: age must not delete it.
            "log.retention.ms": "-1",
        }
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    def _java(self, *arguments: str) -> list[str]:
        # The folder of settings comes first: it quiets Kafka's own log.
        return ["java", "-Xms128m", "-Xmx512m", "-cp", f"{self._home}/config:{self._home}/libs/*", *arguments]

    def start(self) -> None:
        """Start the broker when it does not run. Raises subprocess.CalledProcessError."""
        if not self._processes.missing(BROKER):
            return
        if not (self._dir / "data" / "meta.properties").exists():
            format_log = self._java(
                "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._settings)
            )
            subprocess.run(format_log, check=True, capture_output=True)
        self._processes.start(BROKER, self._java("kafka.Kafka", str(self._settings)))

    def stop(self) -> None:
        """End the broker; it has 15 s to close its log."""
        self._processes.stop(BROKER, grace_seconds=15)

    def answers(self) -> bool:
        """Whether the broker serves metadata within a second."""
        try:
            admin = self._admin or AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            self._admin = admin
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False
