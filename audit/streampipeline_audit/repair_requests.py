"""Repairs that were asked for and are not made yet."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable


class _Spans:
    """Spans [begin, end) of time, ms."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in sorted(spans):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def meet(self, begin: int, end: int) -> bool:
        """Whether one of them has an instant in common with [begin, end)."""
        at = bisect_right(self._begins, end - 1) - 1
        return at >= 0 and self._ends[at] > begin


class OutstandingRequests:
    """The rows of the repairs topic that the repair has not committed past."""

    def __init__(self, rows: Iterable[bytes | None]) -> None:
        spans: defaultdict[str | None, list[tuple[int, int]]] = defaultdict(list)
        dropped: defaultdict[str | None, list[tuple[int, int]]] = defaultdict(list)
        for row in rows:
            if row is None:
                continue
            request = json.loads(row)
            span = (int(request["from"]), int(request["to"]))
            spans[request["key"]].append(span)
            if request["reason"] == "Dropped":
                dropped[request["key"]].append(span)
        self._all = {key: _Spans(listed) for key, listed in spans.items()}
        self._dropped = {key: _Spans(listed) for key, listed in dropped.items()}

    def cover(self, key: str, begin: int, end: int) -> bool:
        """Whether windows of a key that hold an instant of [begin, end) will be recomputed."""
        return _meet(self._all, key, begin, end)

    def meet(self, time: int) -> bool:
        """Whether windows of any key that hold the instant will be recomputed."""
        return any(spans.meet(time, time + 1) for spans in self._all.values())

    def cover_dropped(self, key: str, begin: int, end: int) -> bool:
        """The same, where an engine said that it dropped on-time records."""
        return _meet(self._dropped, key, begin, end)


def _meet(spans: dict[str | None, _Spans], key: str, begin: int, end: int) -> bool:
    return any(which in spans and spans[which].meet(begin, end) for which in (key, None))
