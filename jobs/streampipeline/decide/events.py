"""Events: one for each transition, with the numbers that caused it."""

from __future__ import annotations

from streampipeline.api.spec import Model
from streampipeline.decide.state import Phase


class Event(Model):
    """Something that people want to know happened."""

    at: int
    reason: str
    """CamelCase, stable: for machines."""
    message: str
    warning: bool = False
    phase: Phase | None = None
    """The phase entered by it; None: the phase stays."""


def seconds(ms: int) -> str:
    """`8400` -> `8.4 s`, `10000` -> `10 s`."""
    return f"{ms / 1000:.1f}".removesuffix(".0") + " s"


def duration(ms: int) -> str:
    """`192000` -> `3m12s`; whole seconds, at most two units."""
    total = max(0, ms) // 1000
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
