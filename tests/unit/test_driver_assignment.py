"""A Dask driver that stands by in a pod: its epoch, and the files of it, appear later, in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.publish_config import job_config

from streampipeline.engines.dask.driver import from_assignment
from streampipeline.job_file import load_when_there
from streampipeline.jobconfig import EngineName, JobConfig

EPOCH = 1_800_000_000
CONFIG = job_config({"parquet": {"path": "data", "token_file": "token"}})


class Pod:
    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.jobs, self.epoch = folder / "jobs", folder / "epoch"
        self.jobs.mkdir()
        self.stop = threading.Event()
        self.told: Future[JobConfig | None] = pool.submit(from_assignment, self.jobs, self.epoch, self.stop)

    def label(self, text: str) -> None:
        """As a kubelet does: all at once."""
        fresh = self.epoch.with_name(".epoch")
        fresh.write_text(text)
        fresh.rename(self.epoch)

    def deliver(self, epoch: int) -> None:
        fresh = self.jobs / ".new"
        fresh.write_text(CONFIG.dump())
        fresh.rename(self.jobs / f"{epoch}-{EngineName.DASK.value}.json")

    def waits(self) -> bool:
        """Whether it has not been told after a few of its looks."""
        with pytest.raises(TimeoutError):
            self.told.result(0.3)
        return True


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    pool = ThreadPoolExecutor(1)
    try:
        return Pod(tmp_path, pool)
    finally:
        pool.shutdown(wait=False)


ORDERS: dict[str, list[Callable[[Pod], None]]] = {
    "label first": [lambda pod: pod.label(f"{EPOCH}\n"), lambda pod: pod.deliver(EPOCH)],
    "files first": [lambda pod: pod.deliver(EPOCH), lambda pod: pod.label(f"{EPOCH}")],
}


@pytest.mark.parametrize("order", ORDERS)
def test_it_waits_for_both(pod: Pod, order: str) -> None:
    first, second = ORDERS[order]
    pod.label("")  # a pod without the label has an empty file
    first(pod)
    assert pod.waits()
    second(pod)
    assert pod.told.result(10) == CONFIG


def test_the_files_of_another_epoch_are_not_its_own(pod: Pod) -> None:
    pod.deliver(EPOCH - 1)
    pod.label(f"{EPOCH}")
    assert pod.waits()
    pod.deliver(EPOCH)
    assert pod.told.result(10) == CONFIG


def test_it_can_be_told_to_stop_before(pod: Pod) -> None:
    assert pod.waits()
    pod.stop.set()
    assert pod.told.result(10) is None


def test_files_that_never_come_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_when_there(tmp_path / f"{EPOCH}-dask-fallback.json", wait_seconds=0.2)
