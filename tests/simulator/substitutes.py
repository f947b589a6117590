"""Puts clocks, threads and clients of the simulation in the place of those that the product names."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from unittest.mock import patch

import confluent_kafka
import httpx
import stamina._core
import structlog
import tenacity.nap
from confluent_kafka.admin import AdminClient
from tests.simulator import admin, clients
from tests.simulator.broker import Broker
from tests.simulator.http import Network
from tests.simulator.scheduler import Scheduler
from tests.simulator.standins import Pool, Threading, Time

PACKAGES = ("streampipeline.", "streampipeline_audit.")
MODULES = (
    "streampipeline.engine_ground",
    "streampipeline.engines.dask.engine",
    "streampipeline.repair",
    "streampipeline.sinks.influxdb_admin",
    "streampipeline.topics",
    "streampipeline_audit.run",
)
"""Enough to import all that is run."""


def _stand_ins(scheduler: Scheduler, broker: Broker, network: Network) -> dict[int, Any]:
    """By the identity of what they stand in for."""
    clock = Time(scheduler)
    pairs: list[tuple[object, Any]] = [
        (time, clock),
        (time.monotonic, clock.monotonic),
        (threading, Threading(scheduler)),
        (ThreadPoolExecutor, partial(Pool, scheduler)),
        (httpx, network.httpx),
        (confluent_kafka.Consumer, partial(clients.Consumer, scheduler, broker)),
        (confluent_kafka.Producer, partial(clients.Producer, scheduler, broker)),
        (AdminClient, partial(admin.AdminClient, scheduler, broker)),
    ]
    return {id(original): stand_in for original, stand_in in pairs}


@contextlib.contextmanager
def substituted(scheduler: Scheduler, broker: Broker, network: Network) -> Iterator[None]:
    """While it lasts, the product runs in the simulation, and its log is part of the trace."""
    for name in MODULES:
        importlib.import_module(name)
    stand_ins = _stand_ins(scheduler, broker, network)
    configured = structlog.get_config()
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith(PACKAGES):
                for attribute, value in list(vars(module).items()):
                    if id(value) in stand_ins:
                        stack.enter_context(patch.object(module, attribute, stand_ins[id(value)]))
        stack.enter_context(patch("streampipeline.kafka._ADMINS", {}))
        stack.enter_context(patch.object(tenacity.nap, "time", Time(scheduler)))
        stack.enter_context(patch.object(stamina._core, "random", scheduler.random))
        structlog.configure(
            processors=[_to_trace(scheduler)],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.configure(**configured)


def _to_trace(scheduler: Scheduler) -> Callable[[Any, str, Any], Any]:
    def note(_logger: Any, _method: str, said: Any) -> Any:
        event = said.pop("event")
        told = " ".join(f"{name}={value}" for name, value in sorted(said.items()))
        scheduler.note(f"log: {event} {told}".rstrip())
        raise structlog.DropEvent

    return note
