"""A spec for tests of decisions: what it computes does not matter there."""

from __future__ import annotations

from collections.abc import Mapping

from streampipeline.api.spec import StreamPipelineSpec


def decision_spec(failover: Mapping[str, int], *, suspend: bool = False) -> StreamPipelineSpec:
    """Tumbling windows of 5 s; `failover`: thresholds by their names in the resource."""
    return StreamPipelineSpec.model_validate(
        {
            "suspend": suspend,
            "source": {
                "kafka": {"bootstrapServers": ["k:9092"], "topic": "t"},
                "format": {"type": "Json", "schema": "{}"},
                "keyField": "id",
                "eventTime": {"field": "at"},
            },
            "window": {"tumbling": {"sizeSeconds": 5}},
            "aggregates": [{"name": "n", "function": "Count"}],
            "model": {"managed": {"bundled": "m"}, "inputs": ["n"], "output": "o"},
            "sinks": [{"parquet": {"path": "p"}}],
            "deadLetter": {"topic": "d"},
            "failover": dict(failover),
        }
    )
