"""Batches to Avro, many records at a time."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyruhvro  # type: ignore[import-untyped]

from streampipeline.producer.batch import Batch, Ints
from streampipeline.producer.settings import NURSE_SCHEMA, SIGNALS

_SCHEMA = json.dumps(NURSE_SCHEMA)


def encode(keys: list[str], batch: Batch, event_times: Ints) -> list[bytes]:
    """The Avro value of each record; `event_times` in ms UTC."""
    columns: dict[str, pa.Array[Any]] = {
        "id": pa.array(keys).take(batch.key),
        "datetime": pa.array(event_times, pa.timestamp("ms", tz="UTC")),
        **{signal: pa.array(batch.values[:, index]) for index, signal in enumerate(SIGNALS)},
    }
    values: list[bytes] = pyruhvro.serialize_record_batch(pa.record_batch(columns), _SCHEMA, 1)[0].to_pylist()
    return values
