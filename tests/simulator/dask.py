"""Dask in memory: a scheduler with one worker, its client, and drivers that run the shipped engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.scheduler import Process, Scheduler
from tests.simulator.standins import Event

from streampipeline.decide.observed import JobState
from streampipeline.engines.dask import tasks
from streampipeline.engines.dask.engine import Engine
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.place import DaskSeen, JobFiles
from streampipeline.publish import Fenced, Publisher

WORKER = "tcp://worker"


@dataclass(eq=False)
class Future:
    """As `distributed.Future`."""

    call: Callable[[], Any]
    status: str = "pending"
    value: Any = None
    error: Exception | None = None

    def done(self) -> bool:
        """Whether it ended."""
        return self.status != "pending"

    def result(self, timeout: float) -> Any:
        """What it gave."""
        if self.error is not None:
            raise self.error
        return self.value

    def cancel(self) -> None:
        """Forget it."""
        self.status = "cancelled"

    def release(self) -> None:
        """It is not needed any more."""


class Client:
    """As `distributed.Client`. Raises OSError when the scheduler is gone."""

    def __init__(self, cluster: DaskCluster) -> None:
        self._cluster = cluster

    def nthreads(self) -> dict[str, int]:
        """Threads of each worker."""
        self._cluster.require()
        return {WORKER: 1} if self._cluster.worker is not None else {}

    def submit(self, function: Callable[..., Any], *arguments: Any, **_: Any) -> Future:
        """Have it run by the worker."""
        self._cluster.require()
        future = Future(lambda: function(*arguments))
        self._cluster.queue.append(future)
        self._cluster.news.set()
        return future


@dataclass
class Driver:
    """The process of one epoch."""

    process: Process
    stop: Event
    state: JobState = JobState.STARTING


@dataclass
class DaskCluster:
    """Scheduler, worker and drivers."""

    scheduler: Scheduler
    files: JobFiles
    up: bool = False
    worker: Process | None = None
    drivers: dict[int, Driver] = field(default_factory=dict)
    queue: list[Future] = field(default_factory=list)
    held_down: bool = False
    broken: bool = False
    """Drivers end as soon as they begin."""
    _starting: int = 0

    def __post_init__(self) -> None:
        self.news = Event(self.scheduler)

    def require(self) -> None:
        """Raises OSError when the scheduler is gone."""
        if not self.up:
            raise OSError("the scheduler is gone")

    # Scheduler and worker

    def scale(self, workers: int) -> None:
        """Keep it up with a worker, or take all of it down."""
        if workers == 0:
            if not any(d.state is not JobState.FINISHED for d in self.drivers.values()):
                self._starting = 0
                self.lose_scheduler()
        elif not self.up and not self._starting and not self.held_down:
            self._starting = self.scheduler.random.randrange(1, 1 << 30)
            number = self._starting
            self.scheduler.call(self.scheduler.random.uniform(0.5, 3), lambda: self._started(number))

    def _started(self, number: int) -> None:
        if number == self._starting and not self.held_down:
            self.up = True
            self.scheduler.note("dask: scheduler up")
            self._start_worker()
        self._starting = 0

    def _start_worker(self) -> None:
        if self.up and self.worker is None:
            tasks._kept = None
            self.worker = Process("dask-worker")
            self.scheduler.start(self.worker, self._work, "work", self.scheduler.random.uniform(0.1, 2))

    def _work(self) -> None:
        while True:
            while not self.queue:
                self.news.clear()
                self.news.wait()
            future = self.queue[0]
            self.scheduler.pause(0.002, 0.03)
            value, error = None, None
            try:
                value = future.call()
            except Exception as raised:
                error = raised
            # Now only: a worker that dies leaves its task to the next one.
            if future in self.queue:
                self.queue.remove(future)
            if future.status == "pending":
                future.value, future.error = value, error
                future.status = "finished" if error is None else "error"

    def lose_worker(self) -> None:
        """The worker is killed; another one comes."""
        if self.worker is not None:
            self.scheduler.kill(self.worker)
            self.worker = None
            self.scheduler.call(self.scheduler.random.uniform(0.5, 4), self._start_worker)

    def lose_scheduler(self) -> None:
        """The scheduler is killed, and its worker ends with it; drivers fail when they notice."""
        self.up = False
        if self.worker is not None:
            self.scheduler.kill(self.worker)
            self.worker = None
        for future in self.queue:
            future.error, future.status = OSError("the scheduler is gone"), "error"
        self.queue.clear()

    # Drivers

    def start_driver(self, epoch: int) -> None:
        """Start the driver of an epoch, unless there is one."""
        if epoch in self.drivers:
            return
        driver = Driver(Process(f"dask-{epoch}"), Event(self.scheduler))
        self.drivers[epoch] = driver
        seconds = self.scheduler.random.uniform(0.2, 4)
        self.scheduler.start(driver.process, lambda: self._drive(epoch, driver), "driver", seconds)
        self.scheduler.note(f"dask: driver of epoch {epoch} started")

    def _drive(self, epoch: int, driver: Driver) -> None:
        why = "stopped"
        try:
            if self.broken:
                raise OSError("it cannot start")
            config = JobConfig.load(self.files.config(EngineName.DASK, epoch))
            publisher = Publisher.open(config, source=EngineName.DASK, should_stop=driver.stop.is_set)
            engine = Engine(config, Client(self), publisher, driver.stop)  # type: ignore[arg-type]
            driver.state = JobState.RUNNING
            engine.run()
        except Fenced:
            why = "fenced"
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        self._ended(epoch, driver, why)

    def _ended(self, epoch: int, driver: Driver, why: str) -> None:
        if driver.state is not JobState.FINISHED:
            driver.state = JobState.FINISHED
            self.scheduler.note(f"dask: driver of epoch {epoch} ended: {why}")

    def kill_driver(self, epoch: int) -> None:
        """As SIGKILL."""
        driver = self.drivers[epoch]
        self.scheduler.kill(driver.process)
        self._ended(epoch, driver, "killed")

    def stop_driver(self, epoch: int) -> None:
        """SIGTERM, SIGKILL after a grace."""
        driver = self.drivers.get(epoch)
        if driver is None or driver.state is JobState.FINISHED:
            return
        driver.stop.set()
        self.scheduler.call(5.0, lambda: self.kill_driver(epoch))

    def freeze_drivers(self) -> list[Process]:
        """SIGSTOP to every driver that runs; returns them."""
        running = [d.process for d in self.drivers.values() if d.state is not JobState.FINISHED]
        for process in running:
            self.scheduler.freeze(process)
        return running

    def seen(self) -> DaskSeen:
        """As a place sees it."""
        states = {epoch: driver.state for epoch, driver in self.drivers.items()}
        return DaskSeen(up=self.up, workers=int(self.worker is not None), drivers=states)
