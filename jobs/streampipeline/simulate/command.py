"""`streampipeline simulate`: a recorded run, as it was, under the file's rules, and under others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streampipeline import colours
from streampipeline.api.assignments import assigned
from streampipeline.api.load import load
from streampipeline.api.problems import InvalidPipelineError, Problem
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.cluster.options import Output
from streampipeline.cluster.output import emit, utc
from streampipeline.decide import Phase
from streampipeline.decide.events import duration, seconds
from streampipeline.simulate.engines import Engines, engines_of
from streampipeline.simulate.replay import begun, replay
from streampipeline.simulate.summary import EXHAUSTED, Timeline, difference, recorded
from streampipeline.simulate.trace import Trace, TraceError

FOLLOWED = ("spec.failover.", "spec.fallback.dask.workers.", "spec.model.onUnavailable.policy")
"""Fields that a simulation follows; of others it cannot tell what they would have changed."""


@dataclass(frozen=True)
class Settings:
    """What the command line says. Seconds and records a second; None: as the trace shows, or the default."""

    file: Path
    trace: Path
    name: str | None = None
    assignments: tuple[str, ...] = ()
    flink_start: float | None = None
    dask_start: float | None = None
    flink_rate: float | None = None
    dask_rate: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Runs over the same time, by their names; the first is the recorded one."""

    trace: Trace
    began: int
    objective_ms: int
    engines: Engines
    runs: Mapping[str, Timeline]

    def differences(self) -> dict[str, str]:
        """How each simulated run differs from the one before it."""
        names = list(self.runs)
        return {
            f"{name} and {before}": difference({before: self.runs[before], name: self.runs[name]}, self.began)
            for before, name in pairwise(names)
        }


def compare(settings: Settings, environ: Mapping[str, str]) -> Comparison:
    """Simulate. Raises OSError, InvalidPipelineError, TraceError."""
    refused = [each for each in assigned(settings.assignments) if not each.field.startswith(FOLLOWED)]
    if refused:
        followed = ", ".join(FOLLOWED)
        why = "has no effect on a simulation"
        raise InvalidPipelineError([Problem(each.field, why, f"it follows {followed}") for each in refused])
    manifest = load(settings.file)
    specs: dict[str, StreamPipelineSpec] = {
        "as the file says": manifest.pipeline(settings.name, environ).spec
    }
    if settings.assignments:
        changed = manifest.pipeline(settings.name, environ, settings.assignments).spec
        specs["with " + ", ".join(settings.assignments)] = changed
    trace = Trace.read(settings.trace)
    rows = begun(trace.rows)
    if len(rows) < 2:
        raise TraceError(f"{settings.trace}: nothing to begin at: no look in Startup, Normal or Fallback")
    engines = engines_of(
        trace,
        flink_start=settings.flink_start,
        dask_start=settings.dask_start,
        flink_rate=settings.flink_rate,
        dask_rate=settings.dask_rate,
    )
    objective = specs["as the file says"].failover.latency_seconds * 1000
    runs = {"recorded": recorded(rows, objective)}
    runs |= {name: replay(rows, spec, engines, objective) for name, spec in specs.items()}
    return Comparison(trace, rows[0].at, objective, engines, runs)


def show(comparison: Comparison, output: Output) -> None:
    """Print it."""
    emit(as_data(comparison), picture(comparison), output)


def as_data(comparison: Comparison) -> dict[str, Any]:
    """For programs: times RFC 3339, lengths in seconds."""
    assumed = comparison.engines.sources
    return {
        "pipeline": comparison.trace.header.pipeline,
        "began": utc(comparison.began),
        "objectiveSeconds": comparison.objective_ms / 1000,
        "recordedFailover": comparison.trace.header.failover.model_dump(mode="json", by_alias=True),
        "assumptions": [{"what": what, "from": source} for what, source in assumed.items()],
        "runs": [{"run": name, **_run_data(run, comparison.began)} for name, run in comparison.runs.items()],
        "differences": [{"between": names, "is": text} for names, text in comparison.differences().items()],
    }


def _run_data(run: Timeline, began: int) -> dict[str, Any]:
    figures = run.figures
    return {
        "seconds": figures.lasted / 1000,
        "takeovers": {trigger.value: count for trigger, count in sorted(run.takeovers.items())},
        "handBacks": run.count("ResumeCompleted"),
        "abandoned": run.count("FallbackAbandoned") + run.count("ResumeAbandoned"),
        "switchesRefused": run.count(EXHAUSTED),
        "phaseSeconds": {phase.value: ms / 1000 for phase, ms in figures.phases.items()},
        "aboveObjectiveSeconds": figures.above / 1000,
        "highestLatencySeconds": figures.highest / 1000,
        "workerSeconds": figures.workers / 1000,
        "transitions": [
            {
                "at": utc(each.at),
                "afterSeconds": (each.at - began) / 1000,
                "phase": each.phase.value,
                "trigger": each.trigger.value if each.trigger else None,
                "reason": each.reason,
                "message": each.message,
            }
            for each in run.transitions
        ],
    }


def picture(comparison: Comparison) -> RenderableType:
    """For people: transitions of each simulated run, then all runs side by side."""
    figures = next(iter(comparison.runs.values())).figures
    parts: list[RenderableType] = [
        Text(
            f"{comparison.trace.header.pipeline}: {duration(figures.lasted)} from {utc(comparison.began)}",
            style="bold",
        ),
        Text(
            "Assumed: "
            + "; ".join(f"{what} ({source})" for what, source in comparison.engines.sources.items())
        ),
    ]
    for name, run in list(comparison.runs.items())[1:]:
        parts += [Text(""), Text(f"Transitions {name}:", style="bold")]
        parts.append(_transitions(run, comparison.began) if run.transitions else Text("  none"))
    parts += [Text(""), _side_by_side(comparison), Text("")]
    parts += [Text(f"{names}: {text}") for names, text in comparison.differences().items()]
    return Group(*parts)


def _transitions(run: Timeline, began: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), show_edge=False, show_header=False)
    for each in run.transitions:
        table.add_row(
            f"+{duration(each.at - began)}",
            utc(each.at),
            Text(each.phase.value, style=colours.PHASES[each.phase.value]),
            Text(each.message),
        )
    return table


def _side_by_side(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), show_edge=False)
    table.add_column("")
    for name in comparison.runs:
        table.add_column(name.upper() if name == "recorded" else name, justify="right", overflow="fold")
    runs = list(comparison.runs.values())
    for label, values in _figures(runs, comparison.objective_ms):
        table.add_row(label, *values)
    return table


def _figures(runs: Sequence[Timeline], objective_ms: int) -> list[tuple[str, list[str]]]:
    """Label and a value for each run."""
    triggers = sorted({trigger for run in runs for trigger in run.takeovers})
    phases = [phase for phase in Phase if any(phase in run.figures.phases for run in runs)]
    lines = [("takeovers by Dask", [str(run.takeovers.total()) for run in runs])]
    lines += [(f"  {trigger.value}", [str(run.takeovers[trigger]) for run in runs]) for trigger in triggers]
    for label, reason in (
        ("handed back", "ResumeCompleted"),
        ("takeovers abandoned", "FallbackAbandoned"),
        ("hand-backs abandoned", "ResumeAbandoned"),
        ("refused by the limit an hour", EXHAUSTED),
    ):
        lines.append((label, [str(run.count(reason)) for run in runs]))
    lines += [
        (f"in {phase.value}", [duration(run.figures.phases.get(phase, 0)) for run in runs])
        for phase in phases
    ]
    above = f"latency above {seconds(objective_ms)}"
    return [
        *lines,
        (above, [duration(run.figures.above) for run in runs]),
        ("highest latency", [seconds(run.figures.highest) for run in runs]),
        ("Dask workers x time", [duration(run.figures.workers) for run in runs]),
    ]
