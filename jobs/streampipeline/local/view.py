"""What a run shows: a live view on a terminal, plain lines elsewhere, JSON lines with `--json`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streampipeline import colours
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.decide import Observed, State
from streampipeline.decide.events import Event
from streampipeline.jobconfig import EngineName
from streampipeline.local.status import PhaseChange
from streampipeline.probes.pipeline import PipelineLook

PLAIN_SECONDS = 5.0
"""Between two lines of status where there is no terminal."""
EVENTS_SHOWN = 6


@dataclass(frozen=True)
class Frame:
    """All that one picture is made of. `elapsed`: seconds since the stream began."""

    now: int
    headline: str
    state: State
    observed: Observed
    look: PipelineLook
    spec: StreamPipelineSpec
    phases: Sequence[PhaseChange]
    elapsed: float | None


class View(Protocol):
    """A way to show a run."""

    def say(self, text: str) -> None:
        """Tell what the run is doing outside its phases: starting, a fault, stopping."""
        ...

    def event(self, now: int, event: Event) -> None:
        """Tell of a transition at `now` (ms, UTC)."""
        ...

    def show(self, frame: Frame) -> None:
        """Take in the newest picture; called at every tick, shown as often as fits."""
        ...

    def close(self) -> None:
        """Give the output back; may be called again."""
        ...


def clock(ms: int) -> str:
    """HH:MM:SS, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")


class Rate:
    """Windows a second, over the last ten seconds."""

    SECONDS = 10.0

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def add(self, total: int) -> float:
        """Take in a total; returns the rate."""
        now = time.monotonic()
        self._seen.append((now, total))
        while len(self._seen) > 1 and now - self._seen[1][0] > self.SECONDS:
            self._seen.pop(0)
        then, before = self._seen[0]
        length = now - then
        return (total - before) / length if length > 0 else 0.0


def summary(frame: Frame, rate: float) -> dict[str, object]:
    """One picture as data: durations in seconds."""
    look, latency = frame.look, frame.observed.latency_ms
    return {
        "at": frame.now,
        "headline": frame.headline,
        "phase": frame.state.phase.value,
        "active": frame.state.active.value if frame.state.active else None,
        "latency_seconds": None if latency is None else round(latency / 1000, 1),
        "lag": {engine.value: lag for engine, lag in look.lag.items()},
        "windows": {engine.value: count for engine, count in look.written.items()},
        "windows_per_second": round(rate, 1),
        "workers": frame.observed.dask_workers,
        "dead_letters": look.dead_letters,
        "repairs_pending": look.repairs_pending,
    }


class JsonView:
    """One JSON object a line; a status at most once a second."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._last = 0.0

    def say(self, text: str) -> None:
        """`{"message": ...}`."""
        print(json.dumps({"message": text}), flush=True)

    def event(self, now: int, event: Event) -> None:
        """`{"at": ..., "event": ..., "message": ...}`."""
        print(json.dumps({"at": now, "event": event.reason, "message": event.message}), flush=True)

    def show(self, frame: Frame) -> None:
        """`summary`, when a second has passed since the last."""
        rate = self._rate.add(sum(frame.look.written.values()))
        if time.monotonic() - self._last >= 1:
            self._last = time.monotonic()
            print(json.dumps(summary(frame, rate)), flush=True)

    def close(self) -> None:
        """Nothing is kept."""


class PlainView:
    """Lines for a log: each event as it comes, the status every few seconds."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._last = 0.0
        self._began = time.monotonic()

    def _line(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f}s  {text}", flush=True)

    def say(self, text: str) -> None:
        """A line at once."""
        self._line(text)

    def event(self, now: int, event: Event) -> None:
        """A line at once, with its reason."""
        self._line(f"{event.reason}: {event.message}")

    def show(self, frame: Frame) -> None:
        """A line, when `PLAIN_SECONDS` have passed since the last."""
        rate = self._rate.add(sum(frame.look.written.values()))
        if time.monotonic() - self._last < PLAIN_SECONDS:
            return
        self._last = time.monotonic()
        data = summary(frame, rate)
        latency = "-" if data["latency_seconds"] is None else f"{data['latency_seconds']} s"
        windows = " ".join(f"{engine} {count}" for engine, count in frame.look.written.items())
        self._line(
            f"{frame.state.phase.value:10} {frame.headline} | latency {latency} | windows: {windows or 0}"
        )

    def close(self) -> None:
        """Nothing is kept."""


class LiveView:
    """A picture that is redrawn in place."""

    def __init__(self, console: Console | None = None) -> None:
        self._rate = Rate()
        self._events: list[tuple[int, Event]] = []
        self._said = ""
        self._live = Live(console=console or Console(), refresh_per_second=4, transient=False)
        self._live.start()

    def say(self, text: str) -> None:
        """A panel with only this, until the next picture; below that picture afterwards."""
        self._said = text
        self._live.update(Panel(Text(text), title="streampipeline"))

    def event(self, now: int, event: Event) -> None:
        """Kept for the next pictures, the newest `EVENTS_SHOWN`."""
        self._events = [*self._events, (now, event)][-EVENTS_SHOWN:]

    def show(self, frame: Frame) -> None:
        """Redraw."""
        rate = self._rate.add(sum(frame.look.written.values()))
        self._live.update(render(frame, rate, self._events, self._said))

    def close(self) -> None:
        """Stop redrawing; the last picture stays."""
        self._live.stop()


def render(frame: Frame, rate: float, events: Sequence[tuple[int, Event]], said: str) -> Panel:
    """The picture: one sentence first, then phases, latency, engines, hand-over, events."""
    colour = colours.PHASES.get(frame.state.phase.value, "white")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("phases", _timeline(frame))
    table.add_row("latency", _latency(frame))
    for engine in (EngineName.FLINK, EngineName.DASK):
        table.add_row(engine.value, _engine(frame, engine))
    table.add_row("results", f"{rate:.1f} windows/s, {sum(frame.look.written.values())} in all")
    table.add_row("last hand-over", _hand_over(frame))
    table.add_row(
        "aside", f"{frame.look.dead_letters} dead letters, {frame.look.repairs_pending} repairs waiting"
    )
    table.add_row("conditions", _conditions(frame))
    for now, event in events:
        table.add_row(clock(now), f"{event.reason}: {event.message}")
    elapsed = "" if frame.elapsed is None else f"  {frame.elapsed:.0f} s of stream"
    return Panel(
        Group(Text(frame.headline, style=f"bold {colour}"), Text(""), table),
        title=f"{frame.state.phase.value}{elapsed}",
        subtitle=said,
        border_style=colour,
    )


def _timeline(frame: Frame) -> Text:
    text = Text()
    for change in frame.phases[-8:]:
        text.append(f"{change.phase} ", style=colours.PHASES.get(change.phase, "white"))
        text.append(f"{clock(change.at)}  ", style="dim")
    return text


def _latency(frame: Frame) -> str:
    failover, latency = frame.spec.failover, frame.observed.latency_ms
    value = "unknown" if latency is None else f"{latency / 1000:.1f} s"
    limits = (
        f"hand over above {failover.latency_seconds} s, hand back below {failover.resume_latency_seconds} s"
    )
    newest = frame.look.newest_t
    age = "" if newest is None else f"; newest record {max(0, frame.now - newest) / 1000:.1f} s old"
    return f"{value} ({limits}{age})"


def _engine(frame: Frame, engine: EngineName) -> str:
    live, lag = frame.state.live(engine), frame.look.lag.get(engine)
    job = frame.observed.job(engine, live.assignment.epoch) if live else None
    parts = [f"epoch {live.assignment.epoch} {job.state.value}" if live and job else "at rest"]
    if lag is not None and live is not None:
        parts.append(f"lag {lag} records")
    if engine is EngineName.DASK:
        parts.append(f"{frame.observed.dask_workers} workers")
    parts.append(f"{frame.look.written.get(engine, 0)} windows")
    return ", ".join(parts)


def _hand_over(frame: Frame) -> str:
    if not frame.state.hand_overs:
        return "none yet"
    last = frame.state.hand_overs[-1]
    first = (
        ""
        if last.first_result is None
        else f", first result after {(last.first_result - last.decided) / 1000:.1f} s"
    )
    return f"{clock(last.decided)} {last.source.value} to {last.target.value}: {last.reason}{first}"


def _conditions(frame: Frame) -> str:
    return "  ".join(f"{c.type}={c.status.value}" for c in frame.state.conditions)


def open_view(*, json_output: bool) -> View:
    """The view that fits where the output goes."""
    if json_output:
        return JsonView()
    return LiveView() if sys.stdout.isatty() else PlainView()
