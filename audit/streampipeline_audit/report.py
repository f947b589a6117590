"""What an audit found."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

EXAMPLES = 5
"""Of each kind, the first that were found."""

KINDS = ("lost", "doubled", "differing", "unscored", "pending")


def iso(ms: int) -> str:
    """A time in ms since 1970 as ISO 8601, UTC."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class AuditReport:
    """Counts of records, except where it says windows."""

    produced: int = 0
    """Records from the origin on: refused ones, and good ones that lie in a window which ends after it."""
    counted: int = 0
    """Held by all their windows that end by the frontier."""
    dead_lettered: int = 0
    """Refused, and in the dead-letter topic."""
    pending: int = 0
    """Not due yet: beyond the frontier, or late with a repair that is asked for and not made."""
    windows_expected: int = 0
    """Windows that end by the frontier and have a record."""
    lost: int = 0
    """Missing in windows (in each of them, where windows slide), or refused without a dead letter."""
    doubled: int = 0
    """Contributions of records beyond the first."""
    differing: int = 0
    """Windows with another value, points without a window, dead letters of good records."""
    unscored: int = 0
    """Windows whose prediction is the default, the model having been away."""
    predictions_checked: int = 0
    """Windows whose prediction was made again from the model file."""
    examples: dict[str, list[dict[str, str | None]]] = field(
        default_factory=lambda: {kind: [] for kind in KINDS}
    )
    by_source: dict[str, int] = field(default_factory=dict)
    """Windows by the engine that wrote them last."""
    by_generation: dict[int, int] = field(default_factory=dict)
    """Windows with a point, by the generation that they belong to."""
    frontier: int | None = None
    """Windows that end by it (ms, UTC) were judged; None: nothing was published yet."""
    origin: dict[str, Any] = field(default_factory=dict)
    ended_at_offsets: dict[int, int] = field(default_factory=dict)
    records_per_second: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every record that was produced is accounted for."""
        return self.produced == self.counted + self.dead_lettered + self.pending

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled or differing."""
        return not (self.lost or self.doubled or self.differing)

    def example(self, kind: str, key: str | None, window: int | None, expected: str, found: str) -> None:
        """Keep an example while there are few of its kind. `window` is its start, ms."""
        if len(self.examples[kind]) < EXAMPLES:
            start = None if window is None else iso(window)
            self.examples[kind].append({"key": key, "window": start, "expected": expected, "found": found})

    def count_source(self, source: str) -> None:
        """Count a window that `source` wrote last."""
        self.by_source = dict(Counter(self.by_source) + Counter({source: 1}))

    def as_dict(self) -> dict[str, Any]:
        """All counts, `examples` and `balanced`, by the names of the attributes."""
        return {**asdict(self), "balanced": self.balanced}

    def as_json(self) -> str:
        """The same as JSON."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False)

    def verdict(self) -> str:
        """One sentence."""
        if not self.clean:
            found = [
                f"{getattr(self, kind)} {kind}"
                for kind in ("lost", "doubled", "differing")
                if getattr(self, kind)
            ]
            where = f"{self.windows_expected} windows of {self.produced} records"
            return f"Not exact: {', '.join(found)} in {where}."
        if not self.windows_expected:
            return f"Nothing to judge yet: none of {self.produced} records is in a window that is due."
        open_part = f", {self.pending} are not due yet" if self.pending else ""
        return (
            f"Exact: {self.windows_expected} windows hold each of {self.counted} records once"
            f"{open_part}, {self.dead_lettered} were refused and dead-lettered."
        )
