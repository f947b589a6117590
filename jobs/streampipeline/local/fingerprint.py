"""What a working directory is bound to: a run goes on only from results of the same."""

from __future__ import annotations

import hashlib

from streampipeline.api.spec import InfluxDbSink, ParquetSink, StreamPipeline


def fingerprint(pipeline: StreamPipeline, schema: str, sink: InfluxDbSink | ParquetSink) -> str:
    """Of source, window, schema and sink, on which results rest."""
    spec = pipeline.spec
    parts = (spec.source, spec.window, schema, sink)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
