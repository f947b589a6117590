"""Kafka clients as every part of the product wants them: read committed, no auto-commit, no surprises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from streampipeline.jobconfig import PipelineConfig

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


def admin(config: PipelineConfig) -> AdminClient:
    """An admin client; keep a name for it while its requests are under way: they end with it."""
    return AdminClient(connection(config))
