"""Records in columns, and the sources that give them in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """n records: `key[n]` the nurse's index, `at[n]` ms since the common start, `values[n, 6]` signals."""

    key: Ints
    at: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.at)

    def part(self, start: int, stop: int) -> Batch:
        """Records `start` to `stop` - 1."""
        return Batch(self.key[start:stop], self.at[start:stop], self.values[start:stop])


class Source(Protocol):
    """Records of several nurses, merged by time."""

    @property
    def keys(self) -> list[str]:
        """Names of the nurses, sorted."""
        ...

    @property
    def length(self) -> int | None:
        """Number of records; None: endless."""
        ...

    def span_ms(self, records: int) -> int:
        """Time from the common start to the last of the first `records` records."""
        ...

    def batches(self) -> Iterator[Batch]:
        """All records, from the start."""
        ...


class Feed:
    """Takes any number of records at a time from a source, `limit` in all."""

    def __init__(self, source: Source, limit: int | None) -> None:
        self._batches = source.batches()
        self._left = limit
        self._rest: Batch | None = None

    def take(self, count: int) -> Batch | None:
        """At least one and at most `count` records; None at the end."""
        if self._left is not None:
            count = min(count, self._left)
        if self._rest is None or len(self._rest) == 0:
            self._rest = next(self._batches, None)
        if self._rest is None or count <= 0:
            return None
        taken = self._rest.part(0, count)
        self._rest = self._rest.part(len(taken), len(self._rest))
        if self._left is not None:
            self._left -= len(taken)
        return taken
