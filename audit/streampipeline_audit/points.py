"""Points as a sink shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

FieldValue = float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Point:
    """What stands at (key, window start, ms)."""

    key: str
    start: int
    fields: dict[str, FieldValue]

    @property
    def n(self) -> int:
        """The number of records it says it holds; 0 when it does not say so with an integer."""
        n = self.fields.get("n")
        return n if isinstance(n, int) and not isinstance(n, bool) else 0

    @property
    def source(self) -> str:
        """The engine that wrote it."""
        return str(self.fields.get("source"))


class PointSource(Protocol):
    """A sink, read by spans of time that do not overlap."""

    def points(self, begin: int, end: int) -> Iterable[Point]:
        """The pipeline's points with begin <= window start < end, ms. Raises AuditError."""
        ...
