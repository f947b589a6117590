"""What windows add up: counts, hashes and scaled integers, in Python's unbounded integers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streampipeline.api.spec import Aggregate, Function

Value = float | int
"""Of one aggregate; an int only for Count."""

_MERGE: dict[Function, Callable[[int, int], int]] = {
    Function.MEAN: int.__add__,
    Function.SUM: int.__add__,
    Function.MIN: min,
    Function.MAX: max,
    Function.COUNT: int.__add__,
}


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one record or more. `parts`: for each aggregate the sum, least or greatest scaled value."""

    n: int
    hash: int
    newest: int
    """Newest event time, ms."""
    parts: tuple[int, ...]


class Adder:
    """Merges tallies of one spec's aggregates, and turns them into the values that a sink shows."""

    def __init__(self, aggregates: list[Aggregate]) -> None:
        self._aggregates = aggregates
        self._merges = [_MERGE[aggregate.function] for aggregate in aggregates]

    def add(self, a: Tally | None, b: Tally | None) -> Tally | None:
        """The tally of all records of both; None is the tally of no record."""
        if a is None or b is None:
            return a or b
        parts = tuple(merge(x, y) for merge, x, y in zip(self._merges, a.parts, b.parts, strict=True))
        return Tally(a.n + b.n, a.hash + b.hash, max(a.newest, b.newest), parts)

    def total(self, tallies: Iterable[Tally | None]) -> Tally | None:
        """The tally of all records of all."""
        result: Tally | None = None
        for tally in tallies:
            result = self.add(result, tally)
        return result

    def values(self, tally: Tally) -> dict[str, Value]:
        """Value of each aggregate by its name: one division of two float64."""
        values: dict[str, Value] = {}
        for aggregate, part in zip(self._aggregates, tally.parts, strict=True):
            if aggregate.function is Function.COUNT:
                values[aggregate.name] = tally.n
                continue
            scale: int = 10**aggregate.decimals
            denominator = tally.n * scale if aggregate.function is Function.MEAN else scale
            values[aggregate.name] = float(part) / float(denominator)
        return values
