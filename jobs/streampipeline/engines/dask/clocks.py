"""Partition clocks: how far Kafka timestamps have come, and which partitions need not be waited for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class PartitionClocks:
    """A partition's clock is its newest Kafka timestamp T (ms) less the disorder.

    A partition is idle when it was read to its very end, as looked up after all records taken in so far were
    appended, and its T is `idle_ms` or more behind the newest. On a LogAppendTime topic whatever it brings
    later has been appended after that look-up, so its T is not below what was taken in. On a CreateTime topic
    T says nothing about when it was appended: there a partition must also have stood still for `idle_ms` of
    wall clock.
    """

    newest: dict[int, int]
    """At first a lower bound for each partition."""
    disorder_ms: int
    idle_ms: int
    by_wall_clock: bool
    _quiet: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Partition at its end -> (position, when the first look-up found it there, monotonic seconds)."""
    _looked_at: float = 0.0

    def advance(self, newest: Mapping[int, int]) -> None:
        """Take in the newest T of what was read of some partitions."""
        for partition, t in newest.items():
            self.newest[partition] = max(t, self.newest[partition])

    def looked(self, positions: Mapping[int, int], ends: Mapping[int, int], looked_at: float) -> None:
        """All below `positions` is taken in; `ends` were looked up at `looked_at` (monotonic seconds).

        `ends` include records of open transactions: those have a T already.
        """
        self._looked_at = looked_at
        for partition, position in positions.items():
            if position < ends[partition]:
                self._quiet.pop(partition, None)
            elif partition not in self._quiet or self._quiet[partition][0] != position:
                self._quiet[partition] = (position, looked_at)

    def idle(self) -> set[int]:
        """Partitions that are not waited for. Never all of them: the one with the newest T is not."""
        horizon = max(self.newest.values()) - self.idle_ms
        return {
            partition
            for partition, (_, since) in self._quiet.items()
            if self.newest[partition] <= horizon
            and (not self.by_wall_clock or (self._looked_at - since) * 1000 >= self.idle_ms)
        }

    def clock(self) -> int:
        """No record with a smaller T is to be waited for (ms)."""
        idle = self.idle()
        return min(t for partition, t in self.newest.items() if partition not in idle) - self.disorder_ms


def closable(clock: int, *, allowed_delay_ms: int, slide_ms: int) -> int:
    """The boundary (a multiple of the slide) below which no window gets an on-time record any more.

    Its T would be below window end + allowed delay.
    """
    return (clock - allowed_delay_ms) // slide_ms * slide_ms
