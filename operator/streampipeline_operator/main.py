"""The operator's process: kopf's handlers, and their wiring to what they call. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import kopf
import structlog
from prometheus_client import start_http_server
from urllib3.exceptions import HTTPError

from streampipeline.api.spec import GROUP, VERSION
from streampipeline.logs import configure
from streampipeline_operator import leader, metrics
from streampipeline_operator.cleanup import Cleanup
from streampipeline_operator.kube import PIPELINE, ApiException, Kube
from streampipeline_operator.reconcile import Reconciler
from streampipeline_operator.settings import Settings
from streampipeline_operator.status_store import ChangedError, SupersededError
from streampipeline_operator.world import World

log = structlog.get_logger()

RESOURCE = (GROUP, VERSION, "streampipelines")
TICK_SECONDS = 1.0
SHORTEST_TICK_SECONDS = 0.2
STOP_SECONDS = 5.0
CLEANUP_SECONDS = 55.0
FINALIZER = f"{GROUP}/finalizer"
PULSE_SECONDS, HUNG_SECONDS = 5.0, 60.0
HUNG = 5
"""Exit code of a replica whose event loop stood still."""
DEFINITION_SECONDS = 2.0
PIPELINES_MOST = 64
"""Each has a thread of its own."""


class Backoffs:
    """Pauses (s) of kopf's own requests while the API server does not answer: it never gives up.

    kopf's default ends in minutes: an edit would be seen that long after an outage.
    """

    def __iter__(self) -> Iterator[float]:
        """Anew for each request."""
        return chain((1, 2, 3), repeat(5))


def wire(registry: kopf.OperatorRegistry, world: World) -> None:
    """Register the handlers."""
    running: dict[str, threading.Event] = {}
    """By UID: set when the pipeline's loop has ended."""
    removed: deque[str] = deque(maxlen=1000)
    """UIDs of pipelines of which nothing is left."""

    @kopf.on.startup(registry=registry)
    def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.persistence.finalizer = FINALIZER
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
        settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
        settings.execution.max_workers = 2 * PIPELINES_MOST
        settings.posting.level = logging.CRITICAL  # events are ours; kopf's own remarks are for the log
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.connect_timeout = 10
        settings.networking.request_timeout = 10
        settings.networking.connect_timeout = 5
        settings.networking.error_backoffs = Backoffs()
        settings.scanning.disabled = True

    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**arguments)

    @kopf.daemon(
        *RESOURCE,
        registry=registry,
        cancellation_backoff=STOP_SECONDS,
        cancellation_timeout=1,
        initial_delay=0,
    )
    def pipeline(
        *, body: kopf.Body, uid: str, name: str, namespace: str | None, stopped: Any, **_: Any
    ) -> None:
        assert namespace is not None
        ended = running.setdefault(uid, threading.Event())
        ended.clear()
        try:
            _loop(world, body, uid, name, namespace, stopped)
        finally:
            ended.set()

    @kopf.on.delete(*RESOURCE, registry=registry, timeout=CLEANUP_SECONDS, errors=kopf.ErrorsMode.PERMANENT)
    def delete(*, body: kopf.Body, uid: str, name: str, namespace: str | None, **_: Any) -> None:
        assert namespace is not None
        if uid in removed:
            return  # kopf asks again when the loop's thread was still on its way out
        ended = running.pop(uid, None)
        if ended is not None:
            ended.wait(STOP_SECONDS)
        Cleanup(world.api, world.resolver, world.settings).run(_plain(body))
        metrics.forget(namespace, name)
        removed.append(uid)


def _loop(world: World, body: kopf.Body, uid: str, name: str, namespace: str, stopped: Any) -> None:
    def tell(reason: str, message: str, warning: bool) -> None:
        kopf.event(body, type="Warning" if warning else "Normal", reason=reason, message=message)

    bell = world.bell.of(namespace, name)
    reconciler = Reconciler(world, namespace, name, uid, tell)
    try:
        while not stopped:
            try:
                with metrics.RECONCILES.labels(namespace, name).time():
                    reconciler.reconcile(_plain(body))
            except (SupersededError, ChangedError) as reason:
                log.info("reconcile.superseded", namespace=namespace, pipeline=name, reason=str(reason))
            except Exception as error:
                metrics.ERRORS.labels(namespace, name).inc()
                log.warning(
                    "reconcile.failed",
                    namespace=namespace,
                    pipeline=name,
                    error=f"{type(error).__name__}: {error}",
                    exc_info=not isinstance(error, (OSError, ApiException, HTTPError)),
                )
                stopped.wait(TICK_SECONDS)
            stopped.wait(SHORTEST_TICK_SECONDS)
            bell.wait(TICK_SECONDS - SHORTEST_TICK_SECONDS)
            bell.clear()
    finally:
        reconciler.close()


def _plain(body: kopf.Body) -> dict[str, Any]:
    """What stands in kopf's live view now."""
    return {key: body[key] for key in body}


async def _operate(registry: kopf.OperatorRegistry, settings: Settings) -> None:
    """Run kopf, under a watchdog: a loop that hangs would keep the Lease and do nothing."""
    beat = [time.monotonic()]

    async def pulse() -> None:
        while True:
            beat[0] = time.monotonic()
            await asyncio.sleep(PULSE_SECONDS)

    def watch() -> None:
        while time.monotonic() - beat[0] < HUNG_SECONDS:
            time.sleep(PULSE_SECONDS)
        log.error("loop.hung", seconds=HUNG_SECONDS)
        os._exit(HUNG)

    pulsing = asyncio.create_task(pulse())
    threading.Thread(target=watch, name="watchdog", daemon=True).start()
    try:
        await kopf.operator(
            registry=registry,
            standalone=True,
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
        )
    finally:
        pulsing.cancel()


def _await_definition(api: Kube, settings: Settings) -> None:
    """Wait until the API server knows StreamPipelines: kopf does not notice when they come later."""
    told = False
    while True:
        try:
            api.list(PIPELINE, next(iter(settings.watch_namespaces), None), "")
        except (ApiException, HTTPError) as error:
            status = error.status if isinstance(error, ApiException) else 0
            if status in (401, 403):
                raise
            if status != 404:
                log.warning("definition.unknown", error=f"{type(error).__name__}: {error}")
            elif not told:
                log.warning("definition.missing", remedy="install the chart with crds.install, or crds/")
                told = True
            time.sleep(DEFINITION_SECONDS)
        else:
            return


def main() -> None:
    """Run until told to stop. Raises SettingsError."""
    configure()
    logging.basicConfig(level=logging.WARNING, format='{"level": "%(levelname)s", "event": "%(message)s"}')
    settings = Settings.from_environment()
    start_http_server(settings.metrics_port)
    api = Kube.connect()
    world = World(api, settings)

    leader.wait_until_leading(api, settings.namespace, settings.identity)
    world.watches.start()
    registry = kopf.OperatorRegistry()
    wire(registry, world)
    _await_definition(api, settings)
    asyncio.run(_operate(registry, settings))
    leader.end(api, settings.namespace)
