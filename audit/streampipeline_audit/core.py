"""The audit itself, without any input or output: records and points in, a report out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from streampipeline_audit.dead_letters import DeadLetters
from streampipeline_audit.errors import AuditError
from streampipeline_audit.panes import OpenLate, Pane
from streampipeline_audit.plan import PendingLate, Plan
from streampipeline_audit.points import Point, PointSource
from streampipeline_audit.prediction import Predictor
from streampipeline_audit.report import AuditReport, iso
from streampipeline_audit.spans import Span, accounts, spans_of
from streampipeline_audit.suspects import Suspect, Suspects, Tail
from streampipeline_audit.verdict import Reason, RecordBatch, Verdicts
from streampipeline_audit.windows import Kind, Outcome

_SLICE_MS = 300_000
_POINTS_AT_ONCE = 10_000


class Auditor:
    """Takes the topic's records, in the order of each partition; judges windows when nothing can join them.

    Memory holds the windows that are open in event time (maxLateness, and how far the partitions are apart),
    late records that wait for a repair, offsets of dead letters, and the points that hold too much.
    """

    def __init__(
        self, plan: Plan, points: PointSource, dead_letters: DeadLetters, predictor: Predictor | None = None
    ) -> None:
        self.report = AuditReport()
        self.records_read = 0
        self._plan = plan
        self._points = points
        self._dead_letters = dead_letters
        self._predictor = predictor
        self._spans = spans_of(plan)
        self._grid = self._spans[-1].grid
        event_time = plan.spec.source.event_time
        self._horizon = (
            max(event_time.max_lateness_seconds, event_time.allowed_delay_seconds) * 1000 + plan.disorder
        )
        self._future = event_time.max_future_seconds * 1000 + plan.disorder
        self._delay = event_time.allowed_delay_seconds * 1000 + plan.disorder
        self._frontier = plan.frontier
        self._clocks: dict[int, float] = dict.fromkeys(plan.partitions, -math.inf)
        self._newest: dict[int, int] = {}
        self._first = (
            plan.boundary - self._grid.size
        ) // self._grid.slide * self._grid.slide + self._grid.slide
        self._judged = self._first
        """Windows that start before it are judged."""
        self._suspects = Suspects(self.report)

    @property
    def largest(self) -> int:
        """The most panes (windows, when they tumble) that were held at once."""
        return sum(span.panes.largest for span in self._spans)

    def feed(self, batch: RecordBatch) -> None:
        """Take the next records. Raises AuditError."""
        self.records_read += len(batch.values)
        reach = (self._future, self._horizon)
        concerned = [span for span in self._spans if span.concerned(batch, reach)] or self._spans[:1]
        judged = [(span, span.judge.judge(batch)) for span in concerned]
        self._account_dead_letters(batch, judged)
        for span, verdicts in judged:
            self._add(batch, span, verdicts)
        for partition in np.unique(batch.partitions).tolist():
            newest = int(batch.timestamps[batch.partitions == partition].max())
            self._newest[partition] = max(self._newest.get(partition, newest), newest)
            self._clocks[partition] = self._newest[partition]
        for partition in batch.finished:
            self._clocks[partition] = math.inf
        clock = min(self._clocks.values())
        if math.isfinite(clock):
            slide = self._grid.slide
            closed = (int(clock) - self._horizon - self._grid.size) // slide * slide + slide
            if closed >= self._judged + _SLICE_MS:
                self._judge_until(closed)

    def finish(self, tail: Tail) -> AuditReport:
        """Judge what is left."""
        for partition in self._plan.going_on:
            # On-time records behind the end may belong to windows that end after this partition's clock.
            clock = self._newest.get(partition, self._plan.boundary) - self._delay
            self._frontier = max(self._plan.boundary, min(self._frontier, clock))
        starts = self._starts()
        last = max(self._frontier - self._grid.size, starts[-1] if starts else self._judged)
        self._judge_until(last // self._grid.slide * self._grid.slide + self._grid.slide)
        self._suspects.settle(self._spans[-1].judge, self._grid, tail)
        self.report.frontier = self._frontier
        return self.report

    def _account_dead_letters(self, batch: RecordBatch, judged: list[tuple[Span, Verdicts]]) -> None:
        report = self.report
        lettered = self._dead_letters.contain(batch.partitions, batch.offsets)
        account = accounts(judged, batch)
        refused = account.refused
        report.produced += int(refused.sum())
        report.dead_lettered += int((refused & lettered).sum())
        # What lies before the frontier in Kafka's time was read: its dead letter was flushed before that.
        due = refused & ~lettered & (batch.timestamps < self._frontier)
        for row in np.flatnonzero(due & account.repaired).tolist():
            times = [int(verdicts.times[row]) for _, verdicts in judged]
            due[row] = not any(self._plan.requests.meet(time) for time in times if time >= 0)
        report.pending += int((refused & ~lettered & ~due).sum())
        report.lost += int(due.sum())
        for row in np.flatnonzero(due)[:5].tolist():
            reason = Reason(int(account.reasons[row])).text
            report.example("lost", None, None, f"a dead letter of {_place(batch, row)} ({reason})", "none")
        wrong = lettered & ~account.may_be_lettered
        report.differing += int(wrong.sum())
        for row in np.flatnonzero(wrong)[:5].tolist():
            found = f"a dead letter of {_place(batch, row)}, which is good"
            report.example("differing", None, None, "none", found)

    def _add(self, batch: RecordBatch, span: Span, verdicts: Verdicts) -> None:
        if len(self._spans) > 1:
            verdicts = verdicts.only(span.touched(verdicts.event_times))
        if not len(verdicts.rows):
            return
        size, slide = self._grid.size, self._grid.slide
        times = verdicts.event_times
        first_window = np.maximum((times - size) // slide * slide + slide, self._first)
        stray = first_window < np.minimum(times // slide * slide + 1, self._judged)
        if stray.any():
            row = int(verdicts.rows[np.flatnonzero(stray)[0]])
            raise AuditError(
                f"Kafka timestamps run backwards at {_place(batch, row)} by more than the "
                f"{self._plan.disorder} ms that were expected: raise timestampDisorderSeconds, "
                "or --disorder-seconds of this audit"
            )
        starts = self._grid.pane_starts(times)
        due = np.ones(len(times), np.bool_)
        for row in np.flatnonzero(verdicts.late).tolist():
            start, key = int(starts[row]), str(verdicts.keys[row])
            if self._may_wait(int(batch.timestamps[verdicts.rows[row]]), int(first_window[row]), start, key):
                due[row] = False
                late = OpenLate(
                    int(batch.partitions[verdicts.rows[row]]), span.panes.record_tally(verdicts, row)
                )
                span.panes.add_open_late(start, key, late)
        if due.any():
            span.panes.add_due(verdicts, starts, due)

    def _may_wait(self, timestamp: int, first_window: int, pane: int, key: str) -> bool:
        """Whether a late record may be lacking in a window that ends by the frontier."""
        if first_window + self._grid.size > self._frontier or self._plan.pending_late is PendingLate.NEVER:
            return False
        return (
            self._plan.pending_late is PendingLate.ALWAYS
            or timestamp >= self._frontier
            or self._plan.requests.cover(key, pane, self._grid.pane_end(pane))
        )

    def _judge_until(self, limit: int) -> None:
        """Judge the windows that start before `limit`, slice by slice."""
        while self._judged < limit:
            end = self._judged + max(_SLICE_MS // self._grid.slide, 1) * self._grid.slide
            starts = self._starts()
            # Where nothing is expected for long, one look is enough.
            nothing_before = min(self._grid.windows(starts[0]), default=limit) if starts else limit
            end = min(limit, max(end, nothing_before))
            self._judge_slice(self._judged, end)
            self._judged = end

    def _starts(self) -> list[int]:
        """Of all panes, ascending."""
        return sorted({start for span in self._spans for start in span.panes.starts()})

    def _span_of(self, window: int) -> Span:
        """The span that a window belongs to; the first also has what lies before the origin."""
        return next((span for span in self._spans if span.has(window)), self._spans[0])

    def _judge_slice(self, begin: int, end: int) -> None:
        size = self._grid.size
        due_end = min(end, self._frontier - size + 1)
        expected: defaultdict[tuple[str, int], list[Pane]] = defaultdict(list)
        for span in self._spans:
            for start in span.panes.starts():
                for window in self._grid.windows(start):
                    if begin <= window < due_end and span.has(window):
                        for key, pane in span.panes.of(start).items():
                            expected[key, window].append(pane)
        self.report.windows_expected += len(expected)
        if begin < due_end:
            self._compare(expected, self._points.points(begin, due_end))
        for (key, window), panes in expected.items():
            self._settle(key, window, panes, self._span_of(window).windows.judge(panes, None, None))
        for span in self._spans:
            for start in span.panes.starts():
                if start // self._grid.slide * self._grid.slide < end:
                    self._close(span, start)

    def _compare(self, expected: dict[tuple[str, int], list[Pane]], points: Iterable[Point]) -> None:
        """Judge each point; what remains in `expected` has none."""
        seen: set[tuple[str, int]] = set()
        for chunk in _chunks(points):
            for point, prediction in zip(chunk, self._predict(chunk), strict=True):
                address = (point.key, point.start)
                if address in seen:
                    self.report.doubled += max(1, point.n)
                    found = f"another point, n={point.n}, source={point.source}"
                    self.report.example("doubled", point.key, point.start, "one point", found)
                    continue
                seen.add(address)
                panes = expected.pop(address, None)
                if panes is None:
                    outcome = Outcome(Kind.SURPLUS, "no point: no record lies in the window", f"n={point.n}")
                    self._suspects.add(Suspect(outcome, point))
                    continue
                self._note(point)
                span = self._span_of(point.start)
                self._note_generation(span)
                outcome = span.windows.judge(panes, point, prediction)
                if outcome.kind is Kind.SURPLUS:
                    n, hash_ = sum(pane.n for pane in panes), sum(pane.hash for pane in panes)
                    self._suspects.add(Suspect(outcome, point, n, hash_))
                self._settle(point.key, point.start, panes, outcome)

    def _note(self, point: Point) -> None:
        self.report.count_source(point.source)
        if point.fields.get("scored") is False:
            self.report.unscored += 1
            self.report.example("unscored", point.key, point.start, "scored", "the default of the spec")

    def _note_generation(self, span: Span) -> None:
        number = span.windows.generation
        self.report.by_generation[number] = self.report.by_generation.get(number, 0) + 1

    def _predict(self, points: list[Point]) -> list[float | None]:
        """For each point the prediction made again from its own inputs, where that is possible."""
        result: list[float | None] = [None] * len(points)
        if self._predictor is None:
            return result
        places: list[int] = []
        rows: list[list[float]] = []
        for place, point in enumerate(points):
            names = self._span_of(point.start).spec.model.inputs
            if names != self._plan.spec.model.inputs:
                continue  # the model file is the newest generation's
            inputs = [point.fields.get(name) for name in names]
            numbers = [float(value) for value in inputs if isinstance(value, int | float)]
            known = self._predictor.knows(str(point.fields.get("modelVersion")))
            if point.fields.get("scored") is True and known and len(numbers) == len(inputs):
                places.append(place)
                rows.append(numbers)
        if rows:
            for place, prediction in zip(places, self._predictor.predict(rows), strict=True):
                result[place] = prediction
        self.report.predictions_checked += len(rows)
        return result

    def _settle(self, key: str, window: int, panes: list[Pane], outcome: Outcome) -> None:
        missing = outcome.missing
        if missing and self._plan.requests.cover_dropped(key, window, window + self._grid.size):
            self.report.example("pending", key, window, outcome.expected, outcome.found)
            for pane in panes:
                pane.pending = max(pane.pending, min(pane.n, missing + len(pane.open_late)))
            return
        for pane, waiting in zip(panes, outcome.waiting or (0,) * len(panes), strict=True):
            pane.missing = max(pane.missing, min(pane.n, missing))
            pane.pending = max(pane.pending, waiting)
        match outcome.kind:
            case Kind.LOST:
                self.report.lost += missing
                self.report.example("lost", key, window, outcome.expected, outcome.found)
            case Kind.DIFFERING:
                self.report.differing += 1
                self.report.example("differing", key, window, outcome.expected, outcome.found)
            case Kind.PENDING:
                self.report.example("pending", key, window, outcome.expected, outcome.found)

    def _close(self, span: Span, start: int) -> None:
        """Account for the records of panes whose windows are all judged, in the span of the last window."""
        windows = [
            window for window in self._grid.windows(start) if window >= self._first and span.has(window)
        ]
        if windows and windows[0] != start // self._grid.slide * self._grid.slide:
            windows = []
        due = any(window + self._grid.size <= self._frontier for window in windows)
        for key, pane in span.panes.drop(start).items():
            if not windows:
                continue
            self.report.produced += pane.n
            if not due:
                self.report.pending += pane.n
                reason = f"nothing: the window ends after the frontier {iso(self._frontier)}"
                self.report.example("pending", key, windows[-1], reason, "not judged")
                continue
            missing = min(pane.n, pane.missing)
            pending = min(pane.n - missing, pane.pending)
            self.report.pending += pending
            self.report.counted += pane.n - missing - pending


def _place(batch: RecordBatch, row: int) -> str:
    return f"partition {batch.partitions[row]}, offset {batch.offsets[row]}"


def _chunks(points: Iterable[Point]) -> Iterator[list[Point]]:
    iterator = iter(points)
    while chunk := list(islice(iterator, _POINTS_AT_ONCE)):
        yield chunk
