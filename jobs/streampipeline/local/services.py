"""The model server, InfluxDB and Dask's cluster as child processes on loopback."""

from __future__ import annotations

from pathlib import Path

import httpx

from streampipeline.engines.dask import commands
from streampipeline.local.processes import Processes
from streampipeline.local.runtime import MissingProgramError, Runtime

MODEL, INFLUXDB = "model-server", "influxdb"
SCHEDULER, WORKER, DRIVER = "dask-scheduler", "dask-worker", "dask-driver"
STANDBY = "dask-standby"
"""A driver that has no assignment yet."""


class ModelProcess:
    """The BentoML model server with one of the bundled models."""

    def __init__(self, processes: Processes, runtime: Runtime, bundled: str, *, name: str = MODEL) -> None:
        """`name`: of its process. Raises MissingProgramError when no such model ships."""
        self.name = name
        self._processes = processes
        self._runtime = runtime
        self.model_dir = runtime.model_server / "models" / bundled
        if not (self.model_dir / "model.txt").exists():
            shipped = sorted(path.name for path in (runtime.model_server / "models").iterdir())
            raise MissingProgramError(
                f"spec.model.managed.bundled: no model {bundled!r} ships; "
                f"use one of {', '.join(shipped)}, or external.url"
            )
        self._port = processes.reserve_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def ensure(self) -> None:
        """Start it when it does not run."""
        if self._processes.missing(self.name):
            argv = [
                str(self._runtime.python), "serve.py",
                "--port", str(self._port),
                "--model-dir", str(self.model_dir),
            ]  # fmt: skip
            self._processes.start(
                self.name, argv, cwd=self._runtime.model_server, env={"BENTOML_DO_NOT_TRACK": "True"}
            )


class InfluxDbProcess:
    """A local influxd, its data in the working directory."""

    ORG = "streampipeline"

    def __init__(self, processes: Processes, runtime: Runtime) -> None:
        """Raises MissingProgramError when there is no influxd."""
        if runtime.influxd is None:
            raise MissingProgramError(
                "the sink is InfluxDB and there is no influxd on this machine: "
                "run `python3 hack/bootstrap.py --with influxd`, "
                "name a server with spec.sinks[0].influxdb.external, "
                "or choose files with --sink parquet"
            )
        self._processes = processes
        self._program = runtime.influxd
        self._port = processes.reserve_port()
        self._dir = processes.workdir / "influxdb"
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def admin_token_file(self) -> Path:
        """Holds the token that makes tokens, once the server was set up."""
        return self._dir / "admin-token"

    def ensure(self) -> None:
        """Start it when it does not run."""
        if not self._processes.missing(INFLUXDB):
            return
        self._dir.mkdir(parents=True, exist_ok=True)
        argv = [
            str(self._program), "run",
            "--http-bind-address", f"127.0.0.1:{self._port}",
            "--bolt-path", str(self._dir / "influxd.bolt"),
            "--sqlite-path", str(self._dir / "influxd.sqlite"),
            "--engine-path", str(self._dir / "engine"),
            "--reporting-disabled",
            "--log-level", "warn",
        ]  # fmt: skip
        self._processes.start(INFLUXDB, argv)

    def answers(self) -> bool:
        """Whether the server calls itself healthy within a second."""
        try:
            return httpx.get(f"{self.url}/health", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


class DaskProcesses:
    """Scheduler, workers and the driver of each epoch. At rest nothing of it runs."""

    def __init__(self, processes: Processes, runtime: Runtime) -> None:
        self._processes = processes
        self._runtime = runtime
        self._port = processes.reserve_port()
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._env = {**commands.environment(), "PYTHONPATH": runtime.python_path}
        self._started: set[int] = set()
        """Epochs whose driver has said so: its log is not read again."""

    @property
    def up(self) -> bool:
        """Whether the scheduler runs."""
        return self._processes.alive(SCHEDULER)

    def scale(self, workers: int) -> None:
        """Keep so many workers; the scheduler runs while there are any, and while a driver does."""
        if workers > 0 and self._processes.missing(SCHEDULER):
            argv = commands.scheduler(self._runtime.python, port=self._port)
            self._processes.start(SCHEDULER, argv, env=self._env)
        if workers > 0 and self._processes.missing(STANDBY) and not self._driving():
            argv = commands.driver(self._runtime.python, config="-", scheduler=self.address)
            self._processes.start(STANDBY, argv, env=self._env, told=True)
        for index in range(workers):
            name = f"{WORKER}-{index}"
            if self._processes.missing(name):
                argv = commands.worker(
                    self._runtime.python,
                    scheduler=self.address,
                    name=name,
                    directory=self._processes.workdir / "dask",
                )
                self._processes.start(name, argv, env=self._env)
        for name in self._processes.names(f"{WORKER}-"):
            if int(name.rsplit("-", 1)[1]) >= workers:
                self._processes.stop(name, grace_seconds=3)
        if workers == 0 and not self._driving():
            self._processes.stop(STANDBY, grace_seconds=0)  # it holds nothing
            self._processes.stop(SCHEDULER, grace_seconds=3)

    def _driving(self) -> bool:
        return any(self.drivers().values())

    def workers(self) -> int:
        """How many workers run."""
        return sum(self._processes.alive(name) for name in self._processes.names(f"{WORKER}-"))

    def start_driver(self, epoch: int, config_file: Path) -> None:
        """Give the driver that stands by its assignment; start one when none does."""
        if self._processes.tell(STANDBY, str(config_file), f"{DRIVER}-{epoch}"):
            return
        argv = commands.driver(self._runtime.python, config=config_file, scheduler=self.address)
        self._processes.start(f"{DRIVER}-{epoch}", argv, env=self._env)

    def drivers(self) -> dict[int, bool]:
        """Epoch -> whether its driver runs, for every driver that was started and not forgotten."""
        return {
            int(name.rsplit("-", 1)[1]): self._processes.alive(name)
            for name in self._processes.names(f"{DRIVER}-")
        }

    def started(self, epoch: int) -> bool:
        """Whether the driver has reached its cluster and begun to read."""
        child = self._processes.get(f"{DRIVER}-{epoch}")
        if epoch not in self._started and child is not None and "dask.started" in child.last_lines(200):
            self._started.add(epoch)
        return epoch in self._started

    def stop_driver(self, epoch: int) -> None:
        """End the driver of an epoch; it stays in `drivers` as one that does not run."""
        self._processes.end(f"{DRIVER}-{epoch}", grace_seconds=5)
