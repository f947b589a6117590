"""Preloaded by each worker: imports what tasks need before the first one comes, and shows what they did.

The counters stand in the worker's metrics (`client.scheduler_info()["workers"][address]["metrics"]`).
"""

from __future__ import annotations

from distributed import Worker

from streampipeline.engines.dask import tasks

METRICS = "streampipeline"


def dask_setup(worker: Worker) -> None:
    """Called by `dask worker --preload`."""
    worker.metrics[METRICS] = lambda _: tasks.counters()
