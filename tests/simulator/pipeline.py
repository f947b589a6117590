"""The pipeline of a schedule: short thresholds; window, policy and bounds vary with the seed."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.simulator.source import SCHEMA, TOPIC

from streampipeline.api.spec import StreamPipelineSpec

MODEL_URL = "http://model"


def spec_of(random: Random) -> StreamPipelineSpec:
    """One of the specs that schedules run."""
    sliding = random.random() < 0.25
    window = (
        {"sliding": {"sizeSeconds": 10, "slideSeconds": 5}} if sliding else {"tumbling": {"sizeSeconds": 5}}
    )
    unavailable = {"policy": "Wait"} if random.random() < 0.5 else {"policy": "UseDefault", "default": 1}
    document: dict[str, Any] = {
        "source": {
            "kafka": {"bootstrapServers": ["broker:9092"], "topic": TOPIC},
            "format": {"type": "Json", "schema": SCHEMA},
            "keyField": "id",
            "eventTime": {
                "field": "datetime",
                "allowedDelaySeconds": random.choice((1, 2)),
                "maxLatenessSeconds": random.choice((15, 40)),
                "maxFutureSeconds": random.choice((1, 4)),
                "idlePartitionSeconds": random.choice((4, 10)),
            },
        },
        "window": window,
        "aggregates": [
            {"name": "mean", "field": "x", "function": "Mean"},
            {"name": "low", "field": "x", "function": "Min", "decimals": 2},
            {"name": "count", "function": "Count"},
        ],
        "model": {
            "external": {"url": MODEL_URL},
            "inputs": ["mean", "count"],
            "output": "level",
            "timeoutSeconds": 1,
            "attempts": 2,
            "onUnavailable": unavailable,
        },
        "sinks": [{"parquet": {"path": "unused"}}],
        "deadLetter": {"topic": "dead"},
        "primary": {"flink": {"checkpointIntervalSeconds": random.choice((2, 5))}},
        "fallback": {"dask": {"workers": {"max": 1}, "batchSeconds": random.choice((1, 2))}},
        "failover": {
            "checkIntervalSeconds": 2,
            "latencySeconds": 8,
            "violations": 2,
            "resumeLatencySeconds": 5,
            "resumeChecks": 2,
            "primaryRecoverySeconds": random.choice((3, 8)),
            "minimumFallbackSeconds": 8,
            "resumeTimeoutSeconds": 40,
            "maxLatencySwitchesPerHour": 20,
        },
    }
    return StreamPipelineSpec.model_validate(document)
