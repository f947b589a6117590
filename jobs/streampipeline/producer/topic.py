"""The topic: reached, made when missing, and of the kind of timestamps that the run needs."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # in its stubs, but not exported
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streampipeline.producer.settings import Clock, ProducerError, Settings

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 3.0
"""How long one attempt to reach the broker may take, and at least takes."""
UNREACHABLE = 3
"""Exit code when the broker cannot be reached."""
TIMESTAMP_TYPE = "message.timestamp.type"


def ready_topic(settings: Settings, stop: threading.Event) -> int:
    """Number of partitions of the topic, which is made if it is missing.

    Raises ProducerError: the broker cannot be reached in `connect_attempts` attempts, refuses, or the topic
    has Kafka timestamps of the broker while the run has to set its own.
    """
    admin = AdminClient(
        {**settings.properties, "bootstrap.servers": settings.bootstrap_servers, "log_level": 0}
    )
    partitions = _partitions(admin, settings, stop)
    if partitions == 0:
        _create(admin, settings)
        partitions = _partitions(admin, settings, stop) or settings.partitions
    elif settings.clock_used is Clock.RECORDED and _timestamp_type(admin, settings.topic) != "CreateTime":
        raise ProducerError(
            f"topic {settings.topic} has {TIMESTAMP_TYPE}=LogAppendTime: a replay on the recorded clock sets "
            "Kafka timestamps itself; use another topic, or the live clock"
        )
    if partitions != settings.partitions:
        log.warning("topic %s has %d partitions, not %d", settings.topic, partitions, settings.partitions)
    return partitions


def _partitions(admin: AdminClient, settings: Settings, stop: threading.Event) -> int:
    """Number of partitions; 0: the topic is not there."""
    reason = "stopped"
    for attempt in range(1, settings.connect_attempts + 1):
        try:
            # Without a name: asking for one may make the topic, with the broker's settings.
            found = admin.list_topics(timeout=ATTEMPT_SECONDS).topics.get(settings.topic)
            return len(found.partitions) if found is not None and found.error is None else 0
        except KafkaException as error:
            reason = error.args[0].str()
            servers = settings.bootstrap_servers
            log.warning(
                "no answer from Kafka at %s (attempt %d of %d): %s",
                servers,
                attempt,
                settings.connect_attempts,
                reason,
            )
        if stop.is_set():
            break
    raise ProducerError(
        f"cannot reach Kafka at {settings.bootstrap_servers} in {settings.connect_attempts} attempts: "
        f"{reason}; is the broker up, and the address right?",
        UNREACHABLE,
    )


def _create(admin: AdminClient, settings: Settings) -> None:
    config = {TIMESTAMP_TYPE: "LogAppendTime"}
    if settings.clock_used is Clock.RECORDED:
        # Retention goes by Kafka timestamps: a replay of old records would be deleted as soon as it is there.
        config = {TIMESTAMP_TYPE: "CreateTime", "retention.ms": "-1"}
    topic = NewTopic(settings.topic, settings.partitions, settings.replication, config=config)
    try:
        admin.create_topics([topic], operation_timeout=10)[settings.topic].result(30)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise ProducerError(f"cannot make topic {settings.topic}: {error.args[0].str()}") from error


def _timestamp_type(admin: AdminClient, topic: str) -> str:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        config = admin.describe_configs([resource])[resource].result(30)
    except KafkaException as error:
        raise ProducerError(f"cannot read the settings of topic {topic}: {error.args[0].str()}") from error
    return str(config[TIMESTAMP_TYPE].value)
