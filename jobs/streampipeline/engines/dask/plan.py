"""Which offsets are read next, in which shares. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streampipeline.reading import Range, towards

SMALLEST_SPLIT = 20_000
"""A range is not split for parallelism below this many offsets: repositioning a reader costs more."""

CATCH_UP_FACTOR = 4
"""How much bigger a task's share is while a backlog of that many waves stands before it."""


@dataclass(frozen=True)
class Share:
    """What one task reads: at most one range of a partition."""

    ranges: tuple[Range, ...]

    @property
    def offsets(self) -> int:
        """How many offsets it covers."""
        return sum(len(each) for each in self.ranges)


def plan(
    positions: Mapping[int, int], ends: Mapping[int, int], *, workers: int, batch_records: int
) -> list[Share]:
    """The next wave: from `positions` towards `ends`, at most about `batch_records` offsets a worker.

    Behind, a share grows.
    """
    workers = max(1, workers)
    wave = workers * batch_records
    if sum(max(0, ends[partition] - at) for partition, at in positions.items()) > CATCH_UP_FACTOR * wave:
        wave *= CATCH_UP_FACTOR
    ranges = towards(positions, ends, wave)
    if not ranges:
        return []
    if len(ranges) < workers:
        return _split(ranges, workers)
    order = {partition: index for index, partition in enumerate(sorted(positions))}
    slots: dict[int, list[Range]] = {}
    for each in ranges:
        slots.setdefault(order[each.partition] % workers, []).append(each)
    return [Share(tuple(mine)) for _, mine in sorted(slots.items())]


def _split(ranges: Sequence[Range], workers: int) -> list[Share]:
    """Fewer partitions than workers: big ranges become several tasks."""
    pieces: list[Range] = []
    for each in ranges:
        parts = max(1, min(-(-workers // len(ranges)), len(each) // SMALLEST_SPLIT))
        cuts = [each.start + len(each) * index // parts for index in range(parts + 1)]
        pieces += [Range(each.partition, start, end) for start, end in pairwise(cuts)]
    return [Share((piece,)) for piece in pieces]


def positions_after(positions: Mapping[int, int], shares: Sequence[Share]) -> dict[int, int]:
    """Where each partition stands once `shares` are read."""
    after = dict(positions)
    for share in shares:
        for each in share.ranges:
            after[each.partition] = max(after[each.partition], each.end)
    return after
