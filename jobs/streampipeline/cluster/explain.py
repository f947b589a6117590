"""`explain`: what the last decisions saw, which rule fired, and what would make it switch now."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streampipeline.cluster.client import Cluster, Object
from streampipeline.cluster.exits import FINE, ClusterError
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit, now_ms, utc
from streampipeline.cluster.resource import (
    Memory,
    name_of,
    required_memory,
    sentence,
    staleness,
    typed_spec,
    typed_status,
)
from streampipeline.cluster.status import describe
from streampipeline.decide.events import duration
from streampipeline.decide.explain import Rule, explain
from streampipeline.decide.observed import Observed


def show(cluster: Cluster, name: str, output: Output) -> int:
    """Print the rules of the present phase as they stood at the last stored look. Returns 0."""
    body, now = cluster.pipeline(name), now_ms()
    found = required_memory(body)
    if found.untouched:
        raise ClusterError(f"{name}: nothing was decided yet. {sentence(body, found, now)}")
    rules = explain(found.observed, found.state, found.at, typed_spec(body))
    emit(_as_data(body, found, rules, now), _picture(body, found, rules, now), output)
    return FINE


def _as_data(body: Object, found: Memory, rules: list[Rule], now: int) -> dict[str, Any]:
    namespace, name = name_of(body)
    return {
        "namespace": namespace,
        "name": name,
        "headline": sentence(body, found, now),
        "phase": found.state.phase.value,
        "seen": utc(found.at),
        "observed": found.observed.model_dump(mode="json", by_alias=True),
        "rules": [rule.model_dump(mode="json", by_alias=True) for rule in rules],
        "handOvers": (body.get("status") or {}).get("handOvers", []),
    }


def _picture(body: Object, found: Memory, rules: list[Rule], now: int) -> RenderableType:
    parts: list[RenderableType] = [
        Text(f"{name_of(body)[1]}: {sentence(body, found, now)}", style="bold"),
        Text(f"Rules of phase {found.state.phase.value}, by the look of {duration(now - found.at)} ago:"),
        rules_table(rules),
        Text(f"Seen: {seen(found.observed)}"),
    ]
    hand_overs = typed_status(body).hand_overs
    if hand_overs:
        parts.append(Text("Rules that fired, the newest first:"))
        parts += [Text(f"  {describe(hand_over)}") for hand_over in reversed(hand_overs)]
    else:
        parts.append(Text("No rule has fired yet."))
    stale = staleness(found, now)
    if stale:
        parts.append(Text(stale, style="bold red"))
    return Group(*parts)


def rules_table(rules: list[Rule]) -> Table:
    """One line a rule: what it sees, whether it fires, what would make it."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in ("RULE", "FIRES", "SEES", "WOULD FIRE ON"):
        table.add_column(column, overflow="fold")
    for rule in rules:
        fires = Text("yes", style="bold red") if rule.fires else Text("no")
        table.add_row(rule.name, fires, Text(rule.inputs), Text(rule.would))
    return table


def seen(observed: Observed) -> str:
    """The probes and jobs of a look in one line."""
    probes = {
        "Kubernetes": observed.ground,
        "Kafka": observed.kafka,
        "sink": observed.sink,
        "model": observed.model,
        "Flink": observed.flink,
        "Dask": observed.dask,
    }
    parts = [
        f"{name} {probe.health.value}" + (f" ({probe.message})" if probe.message else "")
        for name, probe in probes.items()
    ]
    parts += [f"{job.engine.value} job of epoch {job.epoch} {job.state.value}" for job in observed.jobs]
    controls = observed.controls
    if controls.pin is not None:
        parts.append(f"pinned to {controls.pin.value}")
    return ", ".join(parts)
