"""Kafka clients as every part of the product wants them: read committed, no auto-commit, no surprises."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streampipeline.jobconfig import PipelineConfig

_ADMINS: dict[str, list[AdminClient]] = {}
"""By connection; the last one is in use."""
_REFUSALS: dict[str, KafkaError] = {}
"""By connection: the newest error that a client told of by itself."""
_ADMINS_LOCK = threading.Lock()

READ_BATCH = 20_000
"""Messages asked for in one call of `Consumer.consume`."""


def connection(config: PipelineConfig) -> dict[str, Any]:
    """Properties that reach the broker, secrets included. Raises OSError when the secret file is gone."""
    properties: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.bootstrap_servers),
        # Connection failures are seen, and said, by who asks.
        "log_level": 2,
        **config.kafka_properties,
    }
    if config.kafka_secret_file is not None:
        properties.update(json.loads(Path(config.kafka_secret_file).read_text()))
    return properties


def consumer(config: PipelineConfig, group: str, overrides: Mapping[str, object] | None = None) -> Consumer:
    """A consumer that is assigned its partitions explicitly and commits by hand."""
    return Consumer(
        {
            **connection(config),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            **(overrides or {}),
        }
    )


def producer(config: PipelineConfig, overrides: Mapping[str, object] | None = None) -> Producer:
    """An idempotent producer: acknowledged by all replicas, order kept."""
    return Producer(
        {
            **connection(config),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            **(overrides or {}),
        }
    )


def admin(config: PipelineConfig, *, instead_of: AdminClient | None = None) -> AdminClient:
    """The process's admin client for this connection; for any thread.

    None is ever let go of: one whose last reference is dropped just after its answer may be torn down by its
    own thread, which crashes the process, and one dropped before fails its requests. `instead_of`: the client
    that is not to be used any more.
    """
    properties = connection(config)
    key = json.dumps(properties, sort_keys=True)
    with _ADMINS_LOCK:
        clients = _ADMINS.setdefault(key, [])
        if not clients or clients[-1] is instead_of:
            settings: dict[str, Any] = {**properties, "error_cb": partial(_REFUSALS.__setitem__, key)}
            clients.append(AdminClient(settings))
        return clients[-1]


def explain(config: PipelineConfig, error: KafkaException) -> str:
    """An admin request's failure in words: the broker's refusal of who asks, where that is what it was."""
    client = admin(config)
    client.poll(0.1)
    refusal = _REFUSALS.pop(json.dumps(connection(config), sort_keys=True), None)
    if refusal is not None and refusal.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
        return str(refusal.str())
    return str(error)


class GroupOffsets:
    """The offsets that one consumer group has committed. For any thread; joins no group.

    Asked through a consumer: librdkafka's admin request for them crashes the process when the group's
    coordinator is just moving (seen with 2.16: rd_kafka_cgrp_op without a consumer group).
    """

    TIMEOUT_SECONDS = 10.0

    def __init__(self, config: PipelineConfig, group: str) -> None:
        self._consumer = consumer(config, group)

    def committed(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """A partition without any is missing. Raises confluent_kafka.KafkaException."""
        asked = [TopicPartition(topic, partition) for partition in partitions]
        found = self._consumer.committed(asked, timeout=self.TIMEOUT_SECONDS) if asked else []
        for entry in found:
            if entry.error is not None:
                raise KafkaException(entry.error)
        return {entry.partition: entry.offset for entry in found if entry.offset >= 0}

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()
