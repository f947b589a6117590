"""Points that hold more than the topic had up to the audit's end offsets.

On a topic that goes on, a late record written since may have been repaired into its window already. Such a
point is not doubled; whether that explains it, the records behind the end offsets tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from streampipeline_audit.panes import Grid
from streampipeline_audit.points import Point
from streampipeline_audit.report import AuditReport
from streampipeline_audit.verdict import Judge, RecordBatch
from streampipeline_audit.windows import Outcome, prefixes_of

_MAX_SUSPECTS = 100_000

Address = tuple[str, int]
"""(key, window start)"""
Tail = Callable[[], Iterable[RecordBatch]]
"""Gives the records behind the end offsets."""


@dataclass(frozen=True)
class Suspect:
    """`n`, `hash`: of the records that the topic had for the point; 0 when it had none."""

    outcome: Outcome
    point: Point
    n: int = 0
    hash: int = 0


class Suspects:
    """Holds them until the end, or convicts at once when they are too many to be late records."""

    def __init__(self, report: AuditReport) -> None:
        self._report = report
        self._held: dict[Address, Suspect] = {}

    def add(self, suspect: Suspect) -> None:
        """Take one more."""
        if len(self._held) < _MAX_SUSPECTS:
            self._held[suspect.point.key, suspect.point.start] = suspect
        else:
            self._convict(suspect)

    def settle(self, judge: Judge, grid: Grid, tail: Tail) -> None:
        """Acquit or convict all. The tail is read only when there is a suspect."""
        newer = self._hashes(judge, grid, tail) if self._held else {}
        for address, suspect in self._held.items():
            hashes = list(newer.get(address, {}).values())
            surplus = suspect.point.n - suspect.n
            wanted = suspect.point.fields.get("hash")
            if surplus > 0 and any(prefixes_of(hashes, surplus, suspect.hash, wanted)):
                found = f"{suspect.outcome.found}: {surplus} of them written since the audit began"
                self._report.example("pending", *address, suspect.outcome.expected, found)
            else:
                self._convict(suspect)

    def _convict(self, suspect: Suspect) -> None:
        point, outcome = suspect.point, suspect.outcome
        if suspect.n:
            self._report.doubled += max(1, point.n - suspect.n)
        else:
            self._report.differing += 1
        kind = "doubled" if suspect.n else "differing"
        self._report.example(kind, point.key, point.start, outcome.expected, outcome.found)

    def _hashes(self, judge: Judge, grid: Grid, tail: Tail) -> dict[Address, dict[int, list[int]]]:
        """For each suspect, by partition, the hashes of its records behind the end offsets."""
        found: defaultdict[Address, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for batch in tail():
            verdicts = judge.judge(batch)
            times, keys = verdicts.event_times.tolist(), verdicts.keys.to_list()
            for i, (time, key) in enumerate(zip(times, keys, strict=True)):
                for window in grid.windows(time):
                    if (key, window) in self._held:
                        partition = int(batch.partitions[verdicts.rows[i]])
                        found[key, window][partition].append(int(verdicts.hashes[i]))
        return {address: dict(by_partition) for address, by_partition in found.items()}
