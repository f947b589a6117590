"""What a user asks of a pipeline at run time: pins, accepted losses, suspension."""

from __future__ import annotations

from streampipeline.api import controls
from streampipeline.cluster.client import Cluster
from streampipeline.cluster.exits import FINE, ClusterError
from streampipeline.cluster.options import Output, Pin
from streampipeline.cluster.output import emit, now_ms, utc
from streampipeline.cluster.resource import required_memory


def pin(cluster: Cluster, name: str, engine: Pin, output: Output) -> int:
    """Give the work to one engine for as long as it is pinned, or leave it to the rules again. Returns 0."""
    cluster.pipeline(name)
    cluster.annotate(name, controls.PIN_ENGINE, None if engine is Pin.NONE else engine.value)
    said = "is no longer pinned" if engine is Pin.NONE else f"is pinned to {engine.value}"
    return _done(cluster, name, f"{name} {said}", {"pin": engine.value}, output)


def suspend(cluster: Cluster, name: str, suspended: bool, output: Output) -> int:
    """Set `spec.suspend`. Returns 0."""
    cluster.pipeline(name)
    cluster.merge(name, {"spec": {"suspend": suspended}})
    said = "is suspended: its engines stop" if suspended else "goes on from its frontier"
    return _done(cluster, name, f"{name} {said}", {"suspend": suspended}, output)


def accept_loss(cluster: Cluster, name: str, reason: str, yes: bool, output: Output) -> int:
    """Let a pipeline go on without the records that retention has deleted before they were read. Returns 0.

    Raises ClusterError when it does not stand at a loss, and, having said how many records are gone, without
    `yes`.
    """
    if not reason.strip():
        raise ClusterError("--reason must say why: it is kept with the resource")
    halt = required_memory(cluster.pipeline(name)).state.halt
    if halt is None:
        raise ClusterError(f"{name} does not stand at a loss: there is nothing to accept")
    gone = f"{halt.records_gone:,} records are gone from the topic since {utc(halt.since)}"
    if not yes:
        raise ClusterError(
            f"{gone}: results will lack them for good. Repeat with --yes to go on without them"
        )
    cluster.annotate(name, controls.ACCEPT_LOSS, f"{utc(now_ms())} {reason.strip()}")
    data = {"recordsGone": halt.records_gone, "reason": reason.strip()}
    return _done(cluster, name, f"{name} goes on: {gone}, accepted: {reason.strip()}", data, output)


def _done(cluster: Cluster, name: str, text: str, data: dict[str, object], output: Output) -> int:
    emit({"namespace": cluster.namespace, "name": name, **data}, text, output)
    return FINE
