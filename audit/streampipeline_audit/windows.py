"""The judgement of one window: what stands in the sink against what the topic says."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate, product

from streampipeline.api.spec import ModelRef, OutputType, UnavailablePolicy
from streampipeline.jobconfig import EngineName
from streampipeline_audit.hashing import wrap_int64
from streampipeline_audit.panes import OpenLate, Pane
from streampipeline_audit.points import FieldValue, Point
from streampipeline_audit.prediction import same_prediction
from streampipeline_audit.tally import Adder, Tally

_MAX_CHOICES = 10_000
_SOURCES = {engine.value for engine in EngineName}


class Kind(Enum):
    """What a window is found to be."""

    EXACT = auto()
    PENDING = auto()
    LOST = auto()
    SURPLUS = auto()
    """Holds more than the topic had: doubled, unless records behind the audit's end offsets explain it."""
    DIFFERING = auto()


@dataclass(frozen=True)
class Outcome:
    """`missing`: records lacking for no good reason. `waiting`: of each pane, late records not in yet."""

    kind: Kind
    expected: str = ""
    found: str = ""
    missing: int = 0
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True)
class WindowJudge:
    """Judges the windows of one pipeline."""

    adder: Adder
    model: ModelRef
    generation: int
    model_version: str = ""
    """What scored points must name; empty: anything."""
    foreign: frozenset[str] = frozenset()
    """Values that other generations have and this one has not."""

    def judge(self, panes: list[Pane], point: Point | None, prediction: float | None) -> Outcome:
        """Judge the window that consists of `panes`, at least one of which holds a record.

        `prediction` is the one made again from the point's inputs; None when that was not possible.
        """
        due = self.adder.total(pane.due for pane in panes)
        open_late = [late for pane in panes for late in pane.open_late]
        due_n = due.n if due else 0
        all_open = tuple(len(pane.open_late) for pane in panes)
        if point is None:
            expected = f"n={due_n + len(open_late)}"
            kind = Kind.LOST if due_n else Kind.PENDING
            return Outcome(kind, expected, "no point", missing=due_n, waiting=all_open)
        final = self.adder.total([due, *(late.tally for late in open_late)])
        assert final is not None
        if point.n > final.n:
            return Outcome(Kind.SURPLUS, _told(final.n, final.hash), _told(point.n, point.fields.get("hash")))
        if point.n == final.n:
            return self._compare(final, point, prediction, Kind.EXACT, ())
        if point.n < due_n:
            return Outcome(
                Kind.LOST, f"n={final.n}", f"n={point.n}", missing=due_n - point.n, waiting=all_open
            )
        included = _choice(open_late, point.n - due_n, point.fields.get("hash"), due.hash if due else 0)
        if included is None:
            return Outcome(Kind.LOST, f"n={final.n}", f"n={point.n}", missing=final.n - point.n)
        waiting = tuple(sum(1 for late in pane.open_late if id(late) not in included) for pane in panes)
        partial = self.adder.total([due, *(late.tally for late in open_late if id(late) in included)])
        if partial is None:
            # A point that says it holds no record: no engine writes one.
            return Outcome(Kind.DIFFERING, f"n={final.n}", "n=0", waiting=waiting)
        return self._compare(partial, point, prediction, Kind.PENDING, waiting, late=sum(waiting))

    def _compare(
        self,
        tally: Tally,
        point: Point,
        prediction: float | None,
        same: Kind,
        waiting: tuple[int, ...],
        late: int = 0,
    ) -> Outcome:
        differences = list(self._differences(tally, point, prediction))
        if not differences:
            return Outcome(same, f"n={tally.n + late}", f"n={point.n}", waiting=waiting)
        expected = ", ".join(f"{name}={wanted!r}" for name, wanted, _ in differences)
        found = ", ".join(f"{name}={value!r}" for name, _, value in differences)
        hash_ = point.fields.get("hash")
        if tally.hash and isinstance(hash_, int) and hash_ > tally.hash and hash_ % tally.hash == 0:
            return Outcome(Kind.SURPLUS, expected, found, waiting=waiting)
        return Outcome(Kind.DIFFERING, expected, found, waiting=waiting)

    def _differences(
        self, tally: Tally, point: Point, prediction: float | None
    ) -> Iterator[tuple[str, FieldValue, FieldValue]]:
        wanted: dict[str, FieldValue] = {
            "n": tally.n,
            "hash": wrap_int64(tally.hash),
            "datetime": tally.newest,
            "generation": self.generation,
            **self.adder.values(tally),
        }
        for name, value in wanted.items():
            if not _same_bits(point.fields.get(name), value):
                yield name, value, point.fields.get(name)
        for name in sorted(self.foreign):
            if point.fields.get(name) is not None:
                yield name, "no value: another generation has it", point.fields[name]
        if point.source not in _SOURCES:
            yield "source", "the name of an engine", point.source
        yield from self._score_differences(point, prediction)

    def _score_differences(
        self, point: Point, prediction: float | None
    ) -> Iterator[tuple[str, FieldValue, FieldValue]]:
        integer = self.model.output_type is OutputType.INTEGER
        scored, output = point.fields.get("scored"), point.fields.get(self.model.output)
        version = point.fields.get("modelVersion")
        unavailable = self.model.on_unavailable
        if not isinstance(scored, bool) or (not scored and unavailable.policy is UnavailablePolicy.WAIT):
            yield "scored", True, scored
        elif not scored:
            default = (
                unavailable.default if integer or unavailable.default is None else float(unavailable.default)
            )
            if not _same_bits(output, default):
                yield self.model.output, default, output
            if version != "":
                yield "modelVersion", "", version
        else:
            if not isinstance(version, str) or not version:
                yield "modelVersion", "the version of the model", version
            elif self.model_version not in ("", version):
                yield "modelVersion", self.model_version, version
            if prediction is not None and not same_prediction(output, prediction, integer=integer):
                yield self.model.output, prediction, output
            elif type(output) is not (int if integer else float):
                yield self.model.output, "an integer" if integer else "a float", output


def _told(n: int, hash_: FieldValue) -> str:
    return f"n={n}, hash={hash_}"


def _same_bits(found: FieldValue, wanted: FieldValue) -> bool:
    if isinstance(found, float) and isinstance(wanted, float):
        return struct.pack("<d", found) == struct.pack("<d", wanted)
    return type(found) is type(wanted) and found == wanted


def _choice(late: list[OpenLate], count: int, found_hash: FieldValue, due_hash: int) -> set[int] | None:
    """Which late records (ids) a point of that hash holds: the first of each partition, `count` together.

    None when no choice fits. A repair reads each partition up to where it ended just then.
    """
    by_partition: defaultdict[int, list[OpenLate]] = defaultdict(list)
    for one in late:
        by_partition[one.partition].append(one)
    lists = list(by_partition.values())
    for taken in prefixes_of(
        [[one.tally.hash for one in listed] for listed in lists], count, due_hash, found_hash
    ):
        return {id(one) for listed, n in zip(lists, taken, strict=True) for one in listed[:n]}
    return None


def prefixes_of(
    hashes: list[list[int]], count: int, base: int, wanted: FieldValue
) -> Iterator[tuple[int, ...]]:
    """Lengths of prefixes of the lists, `count` hashes together, that sum with `base` to the wanted hash."""
    sums = [list(accumulate(listed, initial=0)) for listed in hashes]
    ranges = (range(min(count, len(listed)) + 1) for listed in hashes)
    for tried, taken in enumerate(product(*ranges)):
        if tried == _MAX_CHOICES:
            return
        if sum(taken) != count:
            continue
        if wrap_int64(base + sum(s[n] for s, n in zip(sums, taken, strict=True))) == wanted:
            yield taken
