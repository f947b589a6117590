"""The bare limits: each step of the data plane alone, at its fastest, on the records of the bench topic."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import fastavro
import lightgbm
import numpy as np
import polars as pl
import pyarrow as pa
from confluent_kafka import Message, TopicPartition

from streampipeline import windows
from streampipeline.decode import Decoder
from streampipeline.jobconfig import PipelineConfig
from streampipeline.kafka import READ_BATCH, consumer
from streampipeline.offsets import OffsetLookup

SAMPLE = 200_000
"""Records that the steps in memory are measured on."""


def rate(count: int, work: Callable[[], object], repeats: int = 3) -> float:
    """Units a second of the best of some runs."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return count / best


def consume(config: PipelineConfig) -> tuple[float, pa.Table]:
    """Records a second of one consumer that keeps nothing but a sample; the sample as raw records."""
    lookup = OffsetLookup(config)
    ends = lookup.stable_ends(lookup.partitions())
    reader = consumer(config, "bench")
    reader.assign([TopicPartition(lookup.topic, partition, 0) for partition in ends])
    total, seen = sum(ends.values()), 0
    kept: list[Message] = []
    reader.consume(1, timeout=10)
    began = time.perf_counter()
    while seen < total - 1:
        batch = [message for message in reader.consume(READ_BATCH, timeout=1) if message.error() is None]
        seen += len(batch)
        if len(kept) < SAMPLE:
            kept += batch
    spent = time.perf_counter() - began
    reader.close()
    table = pa.table(
        {
            "value": pa.array([message.value() for message in kept], pa.binary()),
            "partition": pa.array([message.partition() for message in kept], pa.int32()),
            "offset": pa.array([message.offset() for message in kept], pa.int64()),
            "t": pa.array([message.timestamp()[1] for message in kept], pa.int64()),
        }
    )
    return seen / spent, table


def in_memory(config: PipelineConfig, records: pa.Table, model_file: Path) -> dict[str, float]:
    """Rows a second of decoding, grouping and predicting, one process, no input or output."""
    schema = fastavro.parse_schema(json.loads(config.avro_schema))
    values: list[bytes] = records["value"].to_pylist()  # type: ignore[assignment]
    decoder = Decoder.of(config.spec, config.avro_schema)
    decoded = decoder.decode(records)
    frame = pl.from_arrow(
        windows.to_arrow(windows.aggregate(decoded, config.spec, include_late=True), config.spec)
    )
    assert isinstance(frame, pl.DataFrame)
    booster = lightgbm.Booster(model_file=str(model_file))
    rows = np.random.default_rng(1).normal(size=(100_000, booster.num_feature()))

    def one_by_one() -> None:
        for value in values[:50_000]:
            fastavro.schemaless_reader(io.BytesIO(value), schema, None)

    return {
        "fastavro, one record at a time": rate(50_000, one_by_one, 1),
        "decode to columns (ours, judged)": rate(len(values), lambda: decoder.decode(records)),
        "group by window and key (ours)": rate(
            len(values), lambda: windows.aggregate(decoded, config.spec, include_late=True)
        ),
        "LightGBM predict, one batch": rate(len(rows), lambda: booster.predict(rows)),
    }
