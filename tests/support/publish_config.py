"""A small pipeline's job configuration and finished windows, for the tests of publishing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from streampipeline.jobconfig import JobConfig
from streampipeline.windows_schema import windows_schema


def spec(**model: Any) -> dict[str, Any]:
    return {
        "source": {
            "kafka": {"bootstrapServers": ["127.0.0.1:9092"], "topic": "t"},
            "format": {"type": "Json", "schema": "{}"},
            "keyField": "id",
            "eventTime": {"field": "datetime"},
        },
        "window": {"tumbling": {"sizeSeconds": 5}},
        "aggregates": [
            {"name": "X", "field": "x", "function": "Mean"},
            {"name": "low", "field": "x", "function": "Min", "decimals": 2},
            {"name": "count", "function": "Count"},
        ],
        "model": {"external": {"url": "http://unused"}, "inputs": ["low", "X"], "output": "level", **model},
        "sinks": [{"parquet": {"path": "unused"}}],
        "deadLetter": {"topic": "d"},
    }


def job_config(
    sink: dict[str, Any], model_url: str = "http://127.0.0.1:9", bootstrap: str = "127.0.0.1:9", **model: Any
) -> JobConfig:
    return JobConfig.model_validate(
        {
            "pipeline": "nurses",
            "uid": "u1",
            "spec": spec(**model),
            "avroSchema": "{}",
            "assignment": {"engine": "flink", "epoch": 7, "generation": 3, "boundary": 0, "offsets": {}},
            "origin": {"boundary": 0, "offsets": {}},
            "bootstrapServers": [bootstrap],
            "modelUrl": model_url,
            "sink": sink,
        }
    )


def parquet_sink(folder: Path) -> dict[str, Any]:
    """A Parquet sink under `folder`, with its token in place."""
    token = folder / "token"
    token.write_text("7-flink")
    return {"parquet": {"path": str(folder / "points"), "tokenFile": str(token)}}


def influxdb_sink(url: str, folder: Path) -> dict[str, Any]:
    token = folder / "token"
    token.write_text("secret\n")
    return {
        "influxdb": {
            "url": url,
            "org": "o",
            "bucket": "b",
            "measurement": "stress",
            "tokenFile": str(token),
            "timeoutSeconds": 1,
        }
    }


def windows(config: JobConfig, rows: list[tuple[str, int]]) -> pa.Table:
    """One finished window for each (key, window start): n = 3, Mean's sum 1_500_000, Min -250."""
    schema = windows_schema(config.spec)
    given = [
        {
            "key": key,
            "window_start": start,
            "window_end": start + 5_000,
            "n": 3,
            "hash": 2**50 + start,
            "newest": start + 4_999,
            "agg_0": 1_500_000,
            "agg_1": -250,
            "agg_2": 3,
        }
        for key, start in rows
    ]
    return pa.Table.from_pylist(given, schema=schema)
