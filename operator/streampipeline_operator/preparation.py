"""What has to be so before the first decision: a topic that can be read exactly, our own topics, a sink."""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

from streampipeline.jobconfig import PipelineConfig, TimestampType
from streampipeline.kafka import admin, explain
from streampipeline.sinks.base import SinkAdmin
from streampipeline.topics import ensure_topics

log = structlog.get_logger()

TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 2.0


class SourceProblem(Exception):
    """The topic is not there, or cannot be read exactly; the message says what to do."""


def source_timestamps(config: PipelineConfig) -> TimestampType:
    """Who sets the timestamps of the pipeline's topic.

    Raises SourceProblem: no such topic, or a compacted one, which forgets records; KafkaException.
    """
    topic, client = config.spec.source.kafka.topic, admin(config)
    if topic not in client.list_topics(timeout=TIMEOUT_SECONDS).topics:
        raise SourceProblem(f"topic {topic} does not exist: create it, or correct spec.source.kafka.topic")
    resource = ConfigResource(ResourceType.TOPIC, topic)
    settings = client.describe_configs([resource], request_timeout=TIMEOUT_SECONDS)[resource].result(
        TIMEOUT_SECONDS
    )
    if "compact" in settings["cleanup.policy"].value:
        raise SourceProblem(
            f"topic {topic} is compacted: it forgets records, so no result could be exact; "
            "read a topic with cleanup.policy=delete"
        )
    return TimestampType(settings["message.timestamp.type"].value)


class Preparation:
    """Tries until all is so, in a thread of its own."""

    def __init__(
        self, namespace: str, config: PipelineConfig, known: TimestampType | None, sink: SinkAdmin
    ) -> None:
        """`known`: who set the topic's timestamps when the pipeline began."""
        self._namespace = namespace
        self._config = config
        self._sink = sink
        self._stop = threading.Event()
        self.timestamps: TimestampType | None = known
        self.source_problem = "not looked at yet"
        self.sink_problem = "not looked at yet"
        """Each empty when that side is ready."""
        self._thread = threading.Thread(target=self._loop, name="preparation", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether all is so."""
        return not self.source_problem and not self.sink_problem

    def close(self) -> None:
        """Try no more."""
        self._stop.set()

    def _loop(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set() and not self.done:
            self.source_problem = self._source() if self.source_problem else ""
            self.sink_problem = self._sink_ready() if self.sink_problem else ""
            if not self.done:
                self._stop.wait(PAUSE_SECONDS)
        if self.done:
            log.info(
                "pipeline.prepared",
                namespace=self._namespace,
                pipeline=self._config.pipeline,
                timestamps=self.timestamps,
                seconds=round(time.monotonic() - began, 1),
            )

    def _source(self) -> str:
        try:
            found = source_timestamps(self._config)
            self.timestamps = self.timestamps or found
            ensure_topics(self._config)
        except SourceProblem as error:
            return str(error)
        except KafkaException as error:
            return explain(self._config, error)
        except Exception as error:
            log.exception("preparation.source")
            return f"{type(error).__name__}: {error}"
        return ""

    def _sink_ready(self) -> str:
        try:
            self._sink.prepare()
        except Exception as error:  # whatever it is, it may be over at the next attempt
            return str(error)
        return ""
