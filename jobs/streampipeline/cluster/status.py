"""`status`: where a pipeline stands, as the operator's last look has it."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streampipeline import colours
from streampipeline.api.status import (
    StatusCondition,
    StatusConditionStatus,
    StatusHandOver,
    StreamPipelineStatus,
)
from streampipeline.cluster.client import PIPELINE, Cluster, Object
from streampipeline.cluster.exits import FINE, PROBLEM, ClusterError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit, now_ms, utc
from streampipeline.cluster.resource import (
    Memory,
    memory,
    name_of,
    sentence,
    staleness,
    typed_spec,
    typed_status,
)
from streampipeline.decide.events import duration
from streampipeline.decide.explain import NAMES

WATCH_SECONDS = 2.0
HAND_OVERS_SHOWN = 3
RESTING = {"FallbackActive"}
"""Conditions that are False when all is well."""


def show(cluster: Cluster, name: str | None, output: Output) -> int:
    """Print one pipeline, or a table of all. Returns 0 when what was asked for is Ready, else 1."""
    now = now_ms()
    if name is not None:
        body = cluster.pipeline(name)
        emit(as_data(body, now), picture(body, now), output)
        return FINE if ready(body) else PROBLEM
    bodies = cluster.find(PIPELINE)
    text = overview(bodies, now) if bodies else f"No StreamPipelines in namespace {cluster.namespace}"
    emit([as_data(body, now) for body in bodies], text, output)
    return FINE if all(ready(body) for body in bodies) else PROBLEM


def watch(cluster: Cluster, name: str, output: Output) -> int:
    """Show one pipeline until Ctrl-C, asking every 2 s: redrawn on a terminal, else printed at each change.

    Returns 0 when it was Ready at last, else 1.
    """
    seen: object = None
    body = cluster.pipeline(name)
    live = Live(refresh_per_second=4) if output is Output.TEXT and sys.stdout.isatty() else None
    try:
        if live is not None:
            live.start()
        while True:
            if live is not None:
                live.update(picture(body, now_ms()))
            elif seen != (seen := body.get("status")):
                emit(as_data(body, now_ms()), picture(body, now_ms()), output)
            time.sleep(WATCH_SECONDS)
            body = cluster.pipeline(name)
    except KeyboardInterrupt:
        return FINE if ready(body) else PROBLEM
    finally:
        if live is not None:
            live.stop()


def ready(body: Object) -> bool:
    """Whether results are fresh, as the condition Ready says."""
    found = (c for c in (body.get("status") or {}).get("conditions") or [] if c["type"] == "Ready")
    return any(condition["status"] == "True" for condition in found)


def as_data(body: Object, now: int) -> dict[str, Any]:
    """`.status` without what is internal, the headline before it. Times are RFC 3339."""
    found = memory(body)
    namespace, name = name_of(body)
    told = {key: value for key, value in (body.get("status") or {}).items() if key != "state"}
    return {
        "namespace": namespace,
        "name": name,
        "headline": sentence(body, found, now),
        "ready": ready(body),
        "seen": utc(found.at) if found else None,
        "phaseSince": utc(found.state.since) if found else None,
        "activeSince": utc(found.state.active_since) if found and found.state.active_since else None,
        **told,
    }


def overview(bodies: list[Object], now: int) -> Table:
    """A line for each pipeline."""
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "READY", "PHASE", "ACTIVE", "LATENCY", "HEADLINE"):
        table.add_column(column, overflow="fold")
    for body in bodies:
        status = typed_status(body)
        phase, latency = status.phase, status.latency_seconds
        table.add_row(
            name_of(body)[1],
            str(ready(body)),
            Text(phase.value if phase else "", style=colours.PHASES.get(phase.value, "") if phase else ""),
            status.active_engine.value if status.active_engine else "none",
            "unknown" if latency is None else f"{latency} s",
            Text(sentence(body, memory(body), now)),
        )
    return table


def picture(body: Object, now: int) -> RenderableType:
    """One sentence, then phase, engines, latency, results, what is not as it should be, and hand-overs."""
    found, status = memory(body), typed_status(body)
    phase = status.phase.value if status.phase else ""
    head = Text(
        f"{name_of(body)[1]}: {sentence(body, found, now)}", style=f"bold {colours.PHASES.get(phase, '')}"
    )
    if found is None:
        return head
    odd = wrong(status)
    if found.untouched:
        odd = [each for each in odd if each.status is not StatusConditionStatus.UNKNOWN]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("phase", f"{phase} since {utc(found.state.since)}")
    table.add_row("active", _active(found, now))
    table.add_row("latency", _latency(body, status))
    table.add_row("frontier", _frontier(status, now))
    table.add_row("behind", _lag(status))
    table.add_row("workers", f"{status.workers or 0} of Dask")
    table.add_row(
        "aside", f"{status.dead_letters or 0} dead letters, {status.repairs_pending or 0} repairs waiting"
    )
    for condition in odd:
        table.add_row("condition", Text(_condition(condition), style="yellow"))
    if not odd:
        table.add_row("conditions", "all as they should be")
    for hand_over in reversed(status.hand_overs[-HAND_OVERS_SHOWN:]):
        table.add_row("hand-over", Text(describe(hand_over)))
    stale = staleness(found, now)
    table.add_row("seen", Text(stale or f"{duration(now - found.at)} ago", style="bold red" if stale else ""))
    return Group(head, table)


def wrong(status: StreamPipelineStatus) -> list[StatusCondition]:
    """Conditions that are not as they should be, and a Ready that has something to say."""
    return [
        condition
        for condition in status.conditions
        if condition.status
        is not (StatusConditionStatus.FALSE if condition.type in RESTING else StatusConditionStatus.TRUE)
        or (condition.type == "Ready" and condition.reason != "ResultsFresh")
    ]


def describe(hand_over: StatusHandOver) -> str:
    """A hand-over in one line, with the seconds that it took."""
    decided = hand_over.decided
    parts = [
        f"{decided:%H:%M:%S} {hand_over.source.value} to {hand_over.target.value}",
        f"({hand_over.trigger.value}): {hand_over.reason}",
    ]
    taken = {
        "first result": hand_over.first_result,
        "completed": hand_over.completed,
        "abandoned": hand_over.abandoned,
    }
    told = [f"{what} after {(when - decided).total_seconds():.1f} s" for what, when in taken.items() if when]
    return " ".join(parts) + "".join(f", {text}" for text in told or ["under way"])


def _active(found: Memory, now: int) -> str:
    active, since = found.state.active, found.state.active_since
    if active is None or since is None:
        return "no engine"
    return f"{NAMES[active]} since {utc(since)} ({duration(now - since)})"


def _latency(body: Object, status: StreamPipelineStatus) -> str:
    value = "unknown" if status.latency_seconds is None else f"{status.latency_seconds} s"
    try:
        failover = typed_spec(body).failover
    except ClusterError:
        return value
    limits = (
        f"hand over above {failover.latency_seconds} s, hand back below {failover.resume_latency_seconds} s"
    )
    return f"{value} ({limits})"


def _frontier(status: StreamPipelineStatus, now: int) -> str:
    if status.frontier is None:
        return "no result yet"
    return f"{utc(status.frontier)} (newest result {duration(now - status.frontier)} old)"


def _lag(status: StreamPipelineStatus) -> str:
    lag = status.lag
    known = {"Flink": lag.flink, "Dask": lag.dask} if lag else {}
    told = [f"{engine} {count:,} records" for engine, count in known.items() if count is not None]
    return ", ".join(told) or "unknown"


def _condition(condition: StatusCondition) -> str:
    said = f"{condition.type}={condition.status.value} {condition.reason}"
    return f"{said}: {condition.message}" if condition.message else said
