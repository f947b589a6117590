"""A pipeline's windows divided by generation: each span has its own verdicts, sums and values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline_audit.panes import Grid, Panes
from streampipeline_audit.plan import Plan
from streampipeline_audit.verdict import Judge, RecordBatch, Verdicts
from streampipeline_audit.windows import WindowJudge

Mask = NDArray[np.bool_]


@dataclass
class Span:
    """Windows that end after `after` and by `until` (ms; None: without an end), of one generation."""

    after: int
    until: int | None
    spec: StreamPipelineSpec
    judge: Judge
    panes: Panes
    windows: WindowJudge
    grid: Grid = field(init=False)

    def __post_init__(self) -> None:
        self.grid = self.panes.grid

    def has(self, window: int) -> bool:
        """Whether the window that starts at `window` is one of them."""
        end = window + self.grid.size
        return end > self.after and (self.until is None or end <= self.until)

    def touched(self, times: NDArray[np.int64]) -> Mask:
        """Of event times (m,): whether one of its windows is one of them."""
        last = times // self.grid.slide * self.grid.slide
        first = (times - self.grid.size) // self.grid.slide * self.grid.slide + self.grid.slide
        hit = last + self.grid.size > self.after
        return hit if self.until is None else hit & (first + self.grid.size <= self.until)

    def owned(self, times: NDArray[np.int64]) -> Mask:
        """Of event times (m,): whether the last of its windows is one: a record is accounted for there."""
        end = times // self.grid.slide * self.grid.slide + self.grid.size
        hit = end > self.after
        return hit if self.until is None else hit & (end <= self.until)

    def home(self, timestamps: NDArray[np.int64]) -> Mask:
        """Of Kafka timestamps (n,): whether an engine of this generation had to read it."""
        hit = timestamps >= self.after
        return hit if self.until is None else hit & (timestamps < self.until)

    def concerned(self, batch: RecordBatch, reach: tuple[int, int]) -> bool:
        """Whether records of the batch can be in these windows; `reach`: of T before and after one, ms."""
        if not batch.values:
            return False
        before, behind = reach
        early = int(batch.timestamps.max()) < self.after - self.grid.size - before
        past = self.until is not None and int(batch.timestamps.min()) > self.until + behind
        return not early and not past


def spans_of(plan: Plan) -> list[Span]:
    """In order of time."""
    ends = [*(generation.boundary for generation in plan.generations[1:]), None]
    names = {name for each in plan.generations for name in _value_names(each.spec)}
    spans = []
    for each, end in zip(plan.generations, ends, strict=True):
        panes = Panes(Grid.of(each.spec.window), each.spec.aggregates)
        foreign = frozenset(names - _value_names(each.spec))
        windows = WindowJudge(panes.adder, each.spec.model, each.number, each.model_version, foreign)
        judge = Judge(each.spec, plan.avro_schema)
        spans.append(Span(max(each.boundary, plan.boundary), end, each.spec, judge, panes, windows))
    return spans


def _value_names(spec: StreamPipelineSpec) -> set[str]:
    return {*(aggregate.name for aggregate in spec.aggregates), spec.model.output}


@dataclass(frozen=True)
class Accounts:
    """What a batch of n records is to the dead letters; each (n,)."""

    refused: Mask
    """By the generation that accounts for it."""
    may_be_lettered: Mask
    """Refused by any generation that may have read it."""
    repaired: Mask
    """Refused by the generation of its window, which a later one's repair finds out."""
    reasons: NDArray[np.int8]


def accounts(judged: list[tuple[Span, Verdicts]], batch: RecordBatch) -> Accounts:
    """Who has to refuse each record: the generation of its last window, or the one that read it."""
    count = len(batch.values)
    held, any_refused = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    responsible, repaired = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    reasons = np.zeros(count, np.int8)
    for span, verdicts in judged:
        held[verdicts.rows[span.owned(verdicts.event_times)]] = True
        refused = verdicts.reasons != 0
        any_refused |= refused
        # The first generation also has what was there before its boundary.
        home = span.home(batch.timestamps) | ((batch.timestamps < span.after) & (span is judged[0][0]))
        owned = (verdicts.times >= 0) & span.owned(verdicts.times)
        responsible |= refused & (home | owned)
        repaired |= refused & owned & ~home
        reasons = np.where((reasons == 0) & refused & (home | owned), verdicts.reasons, reasons)
    return Accounts(responsible & ~held, any_refused, repaired, reasons)
