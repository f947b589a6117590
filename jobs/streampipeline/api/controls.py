"""Annotations of a StreamPipeline by which a user controls it at run time: GitOps does not revert them."""

from __future__ import annotations

from streampipeline.api.spec import GROUP

PIN_ENGINE = f"{GROUP}/pin-engine"
"""`flink` or `dask`: this engine is to have the work as long as the annotation is there."""
DRILL = f"{GROUP}/drill"
"""Any text; one not seen before starts a planned failover and hand-back."""
ACCEPT_LOSS = f"{GROUP}/accept-loss"
"""Any text; one not used before accepts the loss that the pipeline stands at."""
AUDIT = f"{GROUP}/audit"
"""1 to 20 lower-case letters and digits; one not seen before starts an audit, in a pod with a label of the
same name and value, which prints its report as JSON."""
DLQ = f"{GROUP}/dlq"
"""JSON (`api.oneoff.Dlq`); one with an `id` not seen before lists or replays dead letters, in such a pod."""
BACKFILL = f"{GROUP}/backfill"
"""JSON (`api.oneoff.Backfill`); one with an `id` not seen before asks for a backfill, in such a pod."""
