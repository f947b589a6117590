"""An edit of every field of the spec: what is edited, and what it becomes."""

from __future__ import annotations

from typing import Any

from streampipeline_operator.kube import Object

BASE: dict[str, Object] = {
    "managed": {},
    "external": {
        "source": {
            "kafka": {
                "tls": {"caSecretRef": {"name": "one", "key": "a"}},
                "sasl": {"mechanism": "Plain", "credentialsSecretRef": {"name": "one"}},
            }
        },
        "window": {"tumbling": None, "sliding": {"sizeSeconds": 10, "slideSeconds": 5}},
        "model": {"managed": None, "external": {"url": "http://model:3000"}},
        "sinks": [
            {
                "influxdb": {
                    "external": {
                        "url": "http://influx:8086",
                        "org": "ward",
                        "tokenSecretRef": {"name": "one", "key": "a"},
                    },
                    "bucket": "stress",
                    "measurement": "m",
                }
            }
        ],
    },
}
"""Members that a sample is merged with: together they have every field that one pipeline can have."""

INPUTS = ["X", "Y", "Z", "EDA", "HR", "TEMP"]
EDITS: dict[str, tuple[str, Any] | tuple[str, Any, dict[str, Any]]] = {
    "suspend": ("managed", True),
    "source.kafka.bootstrapServers": ("managed", ["kafka:9093"]),
    "source.kafka.topic": ("managed", "another"),
    "source.kafka.startFrom": ("managed", "Latest"),
    "source.kafka.startTimestamp": ("managed", 5),
    "source.kafka.tls.caSecretRef.name": ("external", "two"),
    "source.kafka.tls.caSecretRef.key": ("external", "b"),
    "source.kafka.sasl.mechanism": ("external", "ScramSha512"),
    "source.kafka.sasl.credentialsSecretRef.name": ("external", "two"),
    "source.format.type": ("managed", "Json"),
    "source.format.schemaConfigMapRef.name": ("managed", "another"),
    "source.format.schemaConfigMapRef.key": ("managed", "another"),
    "source.format.schema": ("managed", "{}"),
    "source.format.schemaIds": ("managed", [1]),
    "source.keyField": ("managed", "X"),
    "source.eventTime.field": ("managed", "id"),
    "source.eventTime.allowedDelaySeconds": ("managed", 3),
    "source.eventTime.maxLatenessSeconds": ("managed", 3601),
    "source.eventTime.maxFutureSeconds": ("managed", 61),
    "source.eventTime.idlePartitionSeconds": ("managed", 11),
    "source.eventTime.timestampDisorderSeconds": ("managed", 1),
    "window.tumbling.sizeSeconds": ("managed", 10),
    "window.sliding.sizeSeconds": ("external", 15),
    "window.sliding.slideSeconds": ("external", 2),
    "model.managed.image": ("managed", "bento:2", {"model.managed.bundled": None}),
    "aggregates.name": ("managed", "W", {"model.inputs": ["W", "Y"]}),
    "aggregates.field": ("managed", "HR"),
    "aggregates.function": ("managed", "Max"),
    "aggregates.decimals": ("managed", 3),
    "model.inputs": ("managed", ["W"]),
    "model.managed.bundled": (
        "managed",
        "nurse-stress",
        {"model.managed.image": None, "aggregates.name": "X", "model.inputs": INPUTS},
    ),
    "model.version": ("managed", "2"),
    "model.output": ("managed", "strain"),
    "model.outputType": ("managed", "Number"),
    "model.onUnavailable.default": ("managed", 2),
    "model.onUnavailable.policy": ("managed", "Wait", {"model.onUnavailable.default": None}),
    "model.external.url": ("external", "http://model:3001"),
    "model.timeoutSeconds": ("managed", 3),
    "model.attempts": ("managed", 4),
    "sinks.influxdb.managed.storage": ("managed", "2Gi"),
    "sinks.influxdb.external.url": ("external", "http://influx:8087"),
    "sinks.influxdb.external.org": ("external", "another"),
    "sinks.influxdb.external.tokenSecretRef.name": ("external", "two"),
    "sinks.influxdb.external.tokenSecretRef.key": ("external", "b"),
    "sinks.influxdb.bucket": ("managed", "another"),
    "sinks.influxdb.measurement": ("managed", "another"),
    "sinks.influxdb.writeTimeoutSeconds": ("managed", 11),
    "sinks.parquet.path": ("managed", "points"),
    "deadLetter.topic": ("managed", "another"),
    "primary.flink.parallelism": ("managed", 4),
    "primary.flink.checkpointIntervalSeconds": ("managed", 6),
    "fallback.dask.workers.min": ("managed", 1),
    "fallback.dask.workers.max": ("managed", 3),
    "fallback.dask.batchSeconds": ("managed", 2),
    "fallback.dask.batchRecords": ("managed", 60_000),
    "failover.checkIntervalSeconds": ("managed", 6),
    "failover.latencySeconds": ("managed", 16),
    "failover.violations": ("managed", 4),
    "failover.resumeLatencySeconds": ("managed", 9),
    "failover.resumeChecks": ("managed", 4),
    "failover.primaryRecoverySeconds": ("managed", 11),
    "failover.minimumFallbackSeconds": ("managed", 31),
    "failover.resumeTimeoutSeconds": ("managed", 121),
    "failover.maxLatencySwitchesPerHour": ("managed", 5),
}
"""For each field the base that is edited, the new value, and what must change with it (None: goes).

In this order, each on top of those before.
"""
