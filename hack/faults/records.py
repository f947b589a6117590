"""Records of the nurse schema, made one at a time."""

from __future__ import annotations

import io
from typing import Any

import fastavro

from streampipeline.producer.settings import NURSE_SCHEMA, SIGNALS

_SCHEMA: Any = fastavro.parse_schema(NURSE_SCHEMA)


def reading(key: str, event_time: int, **signals: float) -> bytes:
    """A record as Avro; `event_time` in ms UTC, signals of a calm nurse where not given."""
    out = io.BytesIO()
    values = dict.fromkeys(SIGNALS, 1.0) | signals
    fastavro.schemaless_writer(out, _SCHEMA, {"id": key, "datetime": event_time, **values})
    return out.getvalue()
