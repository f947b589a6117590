"""Flink as child processes: one JobManager, one TaskManager, one SQL gateway, on loopback."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import yaml

from streampipeline.engines.flink.cluster import ENVIRONMENT, settings
from streampipeline.engines.flink.gateway import JobManager, SqlGateway
from streampipeline.local.processes import Processes

JOBMANAGER, TASKMANAGER, GATEWAY = "flink-jobmanager", "flink-taskmanager", "flink-sql-gateway"


class FlinkProcesses:
    """A session cluster. Starting is idempotent; nothing restarts by itself."""

    def __init__(
        self, processes: Processes, *, home: Path, python: Path, python_path: str, slots: int
    ) -> None:
        self._processes = processes
        self._home = home
        self._python_path = python_path
        self._conf = processes.workdir / "flink" / "conf"
        self.rest_port = processes.reserve_port()
        self.gateway_port = processes.reserve_port()
        self.jobmanager = JobManager(f"http://127.0.0.1:{self.rest_port}")
        self.gateway = SqlGateway(f"http://127.0.0.1:{self.gateway_port}")
        self._configure(python, slots)

    def _configure(self, python: Path, slots: int) -> None:
        defaults = self._home / "conf"
        self._conf.mkdir(parents=True, exist_ok=True)
        for file in defaults.iterdir():
            if file.is_file() and file.name != "config.yaml":
                shutil.copyfile(file, self._conf / file.name)
        data = self._processes.workdir / "flink"
        config = {
            **settings(slots=slots, python=str(python)),
            # Flink's own: what Java 17 must open for it.
            "env.java.opts.all": yaml.safe_load((defaults / "config.yaml").read_text())["env"]["java"][
                "opts"
            ]["all"],
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.port": self._processes.reserve_port(),
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.rpc.port": "0",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest_port,
            "sql-gateway.endpoint.rest.address": "127.0.0.1",
            "sql-gateway.endpoint.rest.bind-address": "127.0.0.1",
            "sql-gateway.endpoint.rest.port": self.gateway_port,
            "blob.server.port": "0",
            "io.tmp.dirs": str(data / "tmp"),
            "execution.checkpointing.dir": (data / "checkpoints").as_uri(),
        }
        (data / "tmp").mkdir(exist_ok=True)
        (self._conf / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=True))

    @property
    def _env(self) -> dict[str, str]:
        return {
            **ENVIRONMENT,
            "FLINK_HOME": str(self._home),
            "FLINK_CONF_DIR": str(self._conf),
            "FLINK_LOG_DIR": str(self._processes.workdir / "logs"),
            "PYTHONPATH": self._python_path,
        }

    def ensure(self) -> None:
        """Start what does not run."""
        commands = {
            JOBMANAGER: ["bin/jobmanager.sh", "start-foreground"],
            TASKMANAGER: ["bin/taskmanager.sh", "start-foreground"],
            GATEWAY: ["bin/sql-gateway.sh", "start-foreground"],
        }
        for name, (script, *arguments) in commands.items():
            if self._processes.missing(name):
                self._processes.start(name, [str(self._home / script), *arguments], env=self._env)

    def slots(self) -> int:
        """Slots of registered TaskManagers; 0 while the JobManager does not answer."""
        try:
            return self.jobmanager.slots()
        except httpx.HTTPError:
            return 0

    def stop(self) -> None:
        """End all three, the SQL gateway first; each has 3 s to go."""
        for name in (GATEWAY, TASKMANAGER, JOBMANAGER):
            self._processes.stop(name, grace_seconds=3)
