"""Windows are built of panes: spans of event time that lie in the same windows as a whole.

A tumbling window is one pane. A record is held once, however many sliding windows hold it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streampipeline.api.spec import Aggregate, Function, Window
from streampipeline_audit.tally import Adder, Tally
from streampipeline_audit.verdict import Verdicts


@dataclass(frozen=True)
class Grid:
    """Where windows and panes begin and end, ms. Windows are aligned to 1970."""

    size: int
    slide: int

    @classmethod
    def of(cls, window: Window) -> Grid:
        """The grid of a spec."""
        return cls(window.size_ms, window.slide_ms)

    def pane_starts(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Starts of the panes that hold the times, (n,) each."""
        base = times // self.slide * self.slide
        cut = self.size % self.slide
        return np.where((times - base >= cut) if cut else False, base + cut, base)

    def pane_end(self, pane: int) -> int:
        """Where a pane ends that begins at `pane`."""
        base = pane // self.slide * self.slide
        cut = self.size % self.slide
        return base + cut if cut and pane == base else base + self.slide

    def windows(self, time: int) -> Iterator[int]:
        """Starts of the windows that hold an instant, latest first."""
        start = time // self.slide * self.slide
        while start + self.size > time:
            yield start
            start -= self.slide


@dataclass(frozen=True, slots=True)
class OpenLate:
    """A late record that a repair, still to be made, may not have put into its windows yet."""

    partition: int
    tally: Tally


@dataclass(slots=True)
class Pane:
    """The records of one key in one pane, and what the judged windows said about them."""

    due: Tally | None = None
    """Of the records that each finished window must hold."""
    open_late: list[OpenLate] = field(default_factory=list)
    missing: int = 0
    """Records that a window lacks: the most that any window lacks."""
    pending: int = 0
    """Late records that a window may yet get."""

    @property
    def n(self) -> int:
        """How many records it holds."""
        return (self.due.n if self.due else 0) + len(self.open_late)

    @property
    def hash(self) -> int:
        """The sum of the hashes of its records."""
        return (self.due.hash if self.due else 0) + sum(late.tally.hash for late in self.open_late)


class Panes:
    """The panes that are still needed, by start and key."""

    def __init__(self, grid: Grid, aggregates: list[Aggregate]) -> None:
        self.grid = grid
        self.adder = Adder(aggregates)
        self._by_start: defaultdict[int, dict[str, Pane]] = defaultdict(dict)
        self._aggregates = aggregates
        self.largest = 0
        """The most panes that were held at once."""

    def __len__(self) -> int:
        return sum(len(keyed) for keyed in self._by_start.values())

    def starts(self) -> list[int]:
        """Of all panes, ascending."""
        return sorted(self._by_start)

    def of(self, start: int) -> dict[str, Pane]:
        """The panes that begin at `start`, by key."""
        return self._by_start[start]

    def drop(self, start: int) -> dict[str, Pane]:
        """Forget the panes that begin at `start`. Returns them."""
        return self._by_start.pop(start)

    def _pane(self, start: int, key: str) -> Pane:
        keyed = self._by_start[start]
        if key not in keyed:
            keyed[key] = Pane()
        return keyed[key]

    def add_due(self, verdicts: Verdicts, starts: NDArray[np.int64], chosen: NDArray[np.bool_]) -> None:
        """Add the chosen ones of a batch's good records, whose panes begin at `starts`."""
        columns: dict[str, pl.Series] = {
            "key": verdicts.keys,
            "pane": pl.Series(starts),
            "hash": pl.Series(verdicts.hashes),
            "newest": pl.Series(verdicts.event_times),
        }
        sums = [pl.len().alias("n"), pl.col("hash").sum(), pl.col("newest").max()]
        for index, aggregate in enumerate(self._aggregates):
            name = f"part_{index}"
            if aggregate.function is Function.COUNT:
                sums.append(pl.len().cast(pl.Int64).alias(name))
                continue
            columns[name] = pl.Series(verdicts.scaled[str(aggregate.field), aggregate.decimals])
            column = pl.col(name)
            match aggregate.function:
                case Function.MIN:
                    sums.append(column.min())
                case Function.MAX:
                    sums.append(column.max())
                case _:
                    sums.append(column.sum())
        frame = pl.DataFrame(columns)
        if not chosen.all():
            frame = frame.filter(pl.Series(chosen))
        for key, start, n, hash_, newest, *parts in frame.group_by("pane", "key").agg(sums).select(
            "key", "pane", "n", "hash", "newest", *(f"part_{i}" for i in range(len(self._aggregates)))
        ).iter_rows():  # fmt: skip
            pane = self._pane(start, key)
            pane.due = self.adder.add(pane.due, Tally(n, hash_, newest, tuple(parts)))
        self.largest = max(self.largest, len(self))

    def add_open_late(self, start: int, key: str, late: OpenLate) -> None:
        """Add a late record that no window need hold yet."""
        self._pane(start, key).open_late.append(late)

    def record_tally(self, verdicts: Verdicts, row: int) -> Tally:
        """The tally of one good record of a batch; `row` counts the good ones."""
        parts = tuple(
            1 if a.function is Function.COUNT else int(verdicts.scaled[str(a.field), a.decimals][row])
            for a in self._aggregates
        )
        return Tally(1, int(verdicts.hashes[row]), int(verdicts.event_times[row]), parts)
