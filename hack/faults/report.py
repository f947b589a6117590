"""What a play came to: figures, a table, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from faults.driver import Played
from faults.scenario import Right
from streampipeline.decide.state import TriggerKind
from streampipeline.jobconfig import EngineName
from streampipeline.local.outcome import WRONG

LEAST = {"faults": 12, "switches": 20, "records": 200_000}
"""What a whole play holds, or it is not one."""
UNPLANNED = (TriggerKind.LATENCY, TriggerKind.DEATH)
Report = dict[str, Any]
"""Figures by name."""


def spread(values: Sequence[float]) -> Report:
    """How many, and how large (to a tenth)."""
    if not values:
        return {"count": 0}
    p50, p95 = np.percentile(values, [50, 95])
    return {
        "count": len(values),
        "p50": round(float(p50), 1),
        "p95": round(float(p95), 1),
        "most": round(max(values), 1),
    }


def figures(played: Sequence[Played]) -> Report:
    """Over all scenarios. A hand-over is one switch of engines."""
    hand_overs = [(o, one) for one in played for o in one.hand_overs if o["completed"] is not None]
    to_dask = [
        ((o["first_result"] - o["decided"]) / 1000, one.warm)
        for o, one in hand_overs
        if o["target"] == EngineName.DASK and o["trigger"] in UNPLANNED and o["first_result"] is not None
    ]
    usual = [one.worst_late_seconds for one in played if one.name == "quiet"]
    drills = [one.worst_late_seconds for one in played if one.name == "drill"]
    return {
        "faults": len({one.name.removesuffix("-warm") for one in played} - {"quiet", "drill"}),
        "played": len(played),
        "switches": len(hand_overs),
        "seconds_until_healthy": spread([_healthy(one) for one in played if one.name != "quiet"]),
        "seconds_until_healthy_after_a_switch": spread(
            [_healthy(one) for one in played if one.right is Right.SWITCH]
        ),
        "seconds_to_first_fallback_result": spread([seconds for seconds, warm in to_dask if not warm]),
        "seconds_to_first_fallback_result_warm": spread([seconds for seconds, warm in to_dask if warm]),
        "usual_late_seconds": max(usual, default=None),
        "drill_late_seconds": max(drills, default=None),
        "written_by_both": sum(one.twice for one in played),
    }


def _healthy(played: Played) -> float:
    """Seconds until windows came on time again and the pipeline called itself Ready."""
    return max(played.seconds_until_fresh, played.seconds_until_ready)


def verdict(audit: Report | None, sent: int | None, played: Sequence[Played]) -> list[str]:
    """All that is not right; empty: nothing. `sent` None: not all that was sent is there to be audited."""
    wrong = [f"{one.name}: {complaint}" for one in played for complaint in one.complaints]
    if audit is None:
        return [*wrong, "no audit was made"]
    wrong += [f"audit: {audit[key]} {key}: {audit['examples'][key]}" for key in WRONG if audit[key]]
    if audit["unscored"]:
        wrong.append(f"audit: {audit['unscored']} windows are not scored")
    if sent is not None and audit["produced"] != sent:
        wrong.append(f"{sent} records were sent, {audit['produced']} audited")
    return wrong


def too_little(counts: Mapping[str, int]) -> list[str]:
    """What a whole play lacks of `LEAST`."""
    return [
        f"{counts[name]} {name} are less than {least}"
        for name, least in LEAST.items()
        if counts[name] < least
    ]


def show(played: Sequence[Played], console: Console) -> None:
    """A row for each scenario."""
    table = Table(
        "fault", "right", "seen after", "fresh after", "ready after", "latest window", "twice", "verdict"
    )
    for one in played:
        seen = "-" if one.seconds_until_seen is None else f"{one.seconds_until_seen} s"
        table.add_row(
            one.name,
            one.right.value,
            seen,
            f"{one.seconds_until_fresh} s",
            f"{one.seconds_until_ready} s",
            f"{one.worst_late_seconds} s",
            str(one.twice),
            "; ".join(one.complaints) or "right",
        )
    console.print(table)
