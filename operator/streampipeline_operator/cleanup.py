"""The end of a pipeline: nothing of it is left, and nothing that is gone already can hold it up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaException

from streampipeline.jobconfig import EngineName, TimestampType
from streampipeline.kafka import admin
from streampipeline_operator import kube
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import Kind, Kube, Object
from streampipeline_operator.names import PIPELINE_LABEL
from streampipeline_operator.resolve import (
    KafkaAccess,
    References,
    Resolver,
    config,
    endpoint,
    typed,
    write_kafka_access,
)
from streampipeline_operator.settings import Settings
from streampipeline_operator.sink_access import SinkAccess

log = structlog.get_logger()

CHILDREN = (
    kube.DASK_CLUSTER,
    kube.POD,
    kube.DEPLOYMENT,
    kube.STATEFUL_SET,
    kube.SERVICE,
    kube.NETWORK_POLICY,
)
GONE_SECONDS = 25.0
FORCE_SECONDS = 10.0
EXTERNAL_SECONDS = 5.0


class Cleanup:
    """Of one pipeline that is being deleted. Ends within about 40 s, whatever answers."""

    def __init__(self, api: Kube, resolver: Resolver, settings: Settings) -> None:
        self._api = api
        self._resolver = resolver
        self._settings = settings

    def run(self, body: Object) -> None:
        """Remove the engines, then what they had outside of the cluster. Raises nothing."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        where = log.bind(namespace=namespace, pipeline=name)
        began = time.monotonic()
        pipeline = self._tried(where, "spec", lambda: self._pipeline(body))
        # Read first: Secrets may be on their way out as well. The schema, gone or not, is not needed.
        kafka = token = None
        if pipeline is not None:
            kafka = self._tried(where, "Kafka", lambda: self._resolver.kafka(namespace, pipeline.spec))
            token = self._tried(where, "sink", lambda: self._resolver.sink_token(namespace, pipeline.spec))
        self._tried(where, "children", lambda: self._children(namespace, name))
        if kafka is not None:
            self._tried(where, "topics", lambda: self._forget_topics(pipeline, kafka))
        if token is not None:
            self._tried(where, "tokens", lambda: self._forget_tokens(pipeline, token))
        shutil.rmtree(self._settings.workdir / body["metadata"]["uid"], ignore_errors=True)
        where.info("pipeline.removed", seconds=round(time.monotonic() - began, 1))

    @staticmethod
    def _tried(where: structlog.BoundLogger, what: str, step: Callable[[], Any]) -> Any:
        """The step's result; None when it failed: what is gone already is no reason to stay."""
        try:
            return step()
        except Exception as error:
            where.warning("cleanup.skipped", what=what, error=f"{type(error).__name__}: {error}")
            return None

    def _pipeline(self, body: Object) -> Pipeline:
        metadata = body["metadata"]
        return Pipeline(metadata["name"], metadata["namespace"], metadata["uid"], typed(body), self._settings)

    def _children(self, namespace: str, name: str) -> None:
        """Delete them, and see that they are gone; what is held by a dead operator or node is let go of."""
        selector = f"{PIPELINE_LABEL}={name}"
        deadline = time.monotonic() + GONE_SECONDS
        force_at = time.monotonic() + FORCE_SECONDS
        while True:
            left = [(kind, child) for kind in CHILDREN for child in self._list(kind, namespace, selector)]
            if not left:
                return
            forced = time.monotonic() > force_at
            for kind, child in left:
                metadata = child["metadata"]
                if forced and metadata.get("finalizers"):
                    self._api.merge(kind, namespace, metadata["name"], {"metadata": {"finalizers": None}})
                if forced or not metadata.get("deletionTimestamp"):
                    grace = 0 if forced else None
                    self._api.delete(kind, namespace, metadata["name"], grace_seconds=grace)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} children are still there; Kubernetes goes on removing them")
            time.sleep(1)

    def _list(self, kind: Kind, namespace: str, selector: str) -> list[Object]:
        try:
            return self._api.list(kind, namespace, selector)
        except kube.ApiException as error:
            if error.status == 404:  # Dask's operator was uninstalled, its kinds with it
                return []
            raise

    def _forget_topics(self, pipeline: Pipeline, kafka: KafkaAccess) -> None:
        """The internal topics and the engines' consumer groups; the dead letters are the user's."""
        folder = self._settings.workdir / pipeline.uid / "jobs"
        write_kafka_access(kafka, folder)
        there = config(pipeline, References("", kafka), TimestampType.LOG_APPEND_TIME, folder)
        client = admin(there)
        client.list_topics(timeout=2)
        internal = [there.progress_topic, there.repairs_topic, there.journal_topic]
        topics = client.delete_topics(internal, operation_timeout=5)
        groups = client.delete_consumer_groups(
            [there.group(engine) for engine in EngineName], request_timeout=EXTERNAL_SECONDS
        )
        for future in (*topics.values(), *groups.values()):
            with suppress(KafkaException):  # not there: nothing was begun
                future.result(EXTERNAL_SECONDS)

    def _forget_tokens(self, pipeline: Pipeline, token: str) -> None:
        """Of an external InfluxDB; a managed one is gone with its tokens."""
        folder = self._settings.workdir / pipeline.uid / "private"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        references = References("", KafkaAccess(), token)
        SinkAccess(self._api, pipeline, references, endpoint(pipeline), folder).admin.revoke_all()
