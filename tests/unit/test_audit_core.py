"""Clean streams are found clean, and each planted defect is found for what it is."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.support.audit_world import SLIDING, START, World, encode, mix, spec

from streampipeline_audit.errors import AuditError
from streampipeline_audit.plan import PendingLate
from streampipeline_audit.report import AuditReport


def stream(world: World, seconds: int = 100, seed: int = 1, late_every: int = 0) -> World:
    """Four records a second of three keys, up to 1.5 s out of order in event time."""
    rng = random.Random(seed)
    for i in range(seconds * 4):
        t = i / 4
        back = 20.0 if late_every and i % late_every == late_every - 1 and t > 40 else rng.uniform(0, 1.5)
        world.add(rng.randrange(world.partitions), t, rng.choice("abc"), max(0, t - back), rng.uniform(-5, 5))
    return world


def outcome(report: AuditReport) -> tuple[int, int, int]:
    return report.lost, report.doubled, report.differing


def assert_clean(report: AuditReport) -> None:
    assert outcome(report) == (0, 0, 0), report.examples
    assert report.balanced
    assert report.clean


def test_a_clean_stream_is_clean() -> None:
    world = stream(World()).publish()
    report = world.audit()
    assert_clean(report)
    assert report.produced == report.counted == 400
    assert report.windows_expected == len(world.points) == report.predictions_checked
    assert report.by_source == {"flink": len(world.points)}


def test_windows_beyond_the_frontier_are_pending() -> None:
    world = stream(World(frontier_s=50)).publish()
    report = world.audit()
    assert_clean(report)
    assert 0 < report.pending < 400
    assert report.counted + report.pending == 400


def test_windows_before_the_boundary_are_not_the_pipelines() -> None:
    world = stream(World(boundary=START + 30_000)).publish()
    report = world.audit()
    assert_clean(report)
    assert report.produced == sum(1 for r in world.records if r.e >= START + 30_000)


def test_a_missing_window_is_lost() -> None:
    world = stream(World()).publish()
    gone = world.points.pop(7)
    report = world.audit()
    assert outcome(report) == (gone.n, 0, 0)
    assert not report.balanced
    [example] = report.examples["lost"]
    assert example["key"] == gone.key
    assert (example["expected"], example["found"]) == (f"n={gone.n}", "no point")


@pytest.mark.parametrize("name", ["mean", "low", "high", "sum"])
def test_a_value_changed_in_its_last_bit_differs(name: str) -> None:
    world = stream(World(predictor=None)).publish()
    value = world.points[3].fields[name]
    assert isinstance(value, float)
    world.change(3, **{name: value * (1 + 2**-52) or 5e-324})
    report = world.audit()
    assert outcome(report) == (0, 0, 1)
    assert name in str(report.examples["differing"][0]["expected"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 1000),
        ("count", 1.0),
        ("level", 7),
        ("level", None),
        ("datetime", 0),
        ("generation", 2),
        ("source", "spark"),
        ("modelVersion", ""),
        ("scored", None),
        ("mean", None),
        ("hash", 1),
    ],
)
def test_any_other_field_changed_differs(name: str, value: float | str | None) -> None:
    world = stream(World()).publish()
    world.change(3, **{name: value})
    assert outcome(world.audit()) == (0, 0, 1)


def test_a_prediction_of_another_model_version_is_not_made_again() -> None:
    world = stream(World()).publish()
    world.change(3, modelVersion="m-0", level=7)
    report = world.audit()
    assert_clean(report)
    assert report.predictions_checked == len(world.points) - 1


def test_a_record_counted_twice_is_doubled() -> None:
    world = stream(World()).publish()
    point = world.points[3]
    record = next(r for r in world.records if r.key == point.key and r.e // 5000 * 5000 == point.start)
    held = [r for r in world.records if r.key == point.key and r.e // 5000 * 5000 == point.start]
    world.points[3] = world.point(point.key, point.start, [*held, record])
    report = world.audit()
    assert outcome(report) == (0, 1, 0)
    assert report.balanced


def test_a_hash_that_is_twice_as_large_is_doubled() -> None:
    world = stream(World()).publish()
    hash_ = world.points[3].fields["hash"]
    assert isinstance(hash_, int)
    world.change(3, hash=hash_ * 2)
    assert outcome(world.audit()) == (0, 1, 0)


def test_a_record_skipped_is_lost() -> None:
    world = stream(World()).publish()
    index = next(i for i, p in enumerate(world.points) if p.n > 1)
    point = world.points[index]
    held = [r for r in world.records if r.key == point.key and r.e // 5000 * 5000 == point.start]
    world.points[index] = world.point(point.key, point.start, held[1:])
    report = world.audit()
    assert outcome(report) == (1, 0, 0)
    assert report.produced - report.counted == 1


def test_a_record_swapped_for_another_differs() -> None:
    world = stream(World()).publish()
    point = world.points[3]
    held = [r for r in world.records if r.key == point.key and r.e // 5000 * 5000 == point.start]
    other = replace(held[0], offset=10_000)
    world.points[3] = world.point(point.key, point.start, [other, *held[1:]])
    report = world.audit()
    assert outcome(report) == (0, 0, 1)
    assert "hash" in str(report.examples["differing"][0]["expected"])


@pytest.mark.parametrize(("key", "offset_ms"), [("a", 500_000), ("nobody", 5_000), ("a", 1)])
def test_a_point_without_records_differs(key: str, offset_ms: int) -> None:
    world = stream(World()).publish()
    world.points.append(replace(world.points[0], key=key, start=START + offset_ms))
    report = world.audit()
    assert outcome(report) == (0, 0, 1)
    assert "no record" in str(report.examples["differing"][0]["expected"])


def test_two_points_at_one_address_are_doubled() -> None:
    world = stream(World()).publish()
    twin = world.points[3]
    world.points.append(replace(twin, fields={**twin.fields, "source": "dask-fallback"}))
    report = world.audit()
    assert outcome(report) == (0, twin.n, 0)
    assert report.windows_expected == len(world.points) - 1


def test_poison_is_dead_lettered() -> None:
    world = stream(World())
    good = encode("a", 1.0, START + 200_000)
    world.add_raw(0, 200, good + b"\0")
    world.add_raw(0, 200, good[:-1])
    world.add_raw(1, 200, None)
    world.add_raw(1, 200, encode("", 1.0, START + 200_000))
    world.add_raw(1, 200, encode("a", float("nan"), START + 200_000))
    world.add_raw(1, 200, encode("a", float("inf"), START + 200_000))
    world.add_raw(1, 200, encode("a", 1.0, START + 139_999))
    world.add_raw(1, 200, encode("a", 1.0, START + 210_001))
    world.publish()
    report = world.audit()
    assert_clean(report)
    assert report.dead_lettered == 8
    assert report.produced == 408


def test_at_the_limits_of_lateness_and_future_records_are_good() -> None:
    world = stream(World())
    world.add(1, 200, "a", 140, 1.0)
    world.add(1, 200, "a", 210, 1.0)
    assert_clean(world.publish().audit())


def test_a_dead_letter_missing_is_lost_once_the_frontier_has_passed() -> None:
    world = stream(World(frontier_s=100))
    world.add_raw(0, 50, b"")
    world.add_raw(0, 120, b"")
    world.publish()
    world.dead.clear()
    report = world.audit()
    assert outcome(report) == (1, 0, 0)
    assert "Undecodable" in str(report.examples["lost"][0]["expected"])
    assert report.pending >= 1


def test_a_dead_letter_of_a_good_record_differs() -> None:
    world = stream(World()).publish()
    world.dead.append((0, 3))
    assert outcome(world.audit()) == (0, 0, 1)


def test_dead_letters_are_counted_once() -> None:
    world = stream(World())
    world.add_raw(0, 200, b"")
    world.dead *= 3
    report = world.publish().audit()
    assert_clean(report)
    assert report.dead_lettered == 1


def test_unscored_points_are_counted_and_must_hold_the_default() -> None:
    world = stream(World()).publish()
    world.change(3, scored=False, level=1, modelVersion="")
    report = world.audit()
    assert_clean(report)
    assert report.unscored == 1
    assert len(report.examples["unscored"]) == 1
    world.change(3, level=2)
    assert outcome(world.audit()) == (0, 0, 1)
    world.change(3, level=1, modelVersion="m-1")
    assert outcome(world.audit()) == (0, 0, 1)


def test_where_scoring_waits_an_unscored_point_differs() -> None:
    document = spec().model_dump(by_alias=True)["model"]
    waits = spec(model={**document, "onUnavailable": {"policy": "Wait"}})
    world = stream(World(spec=waits)).publish()
    world.change(3, scored=False, level=1, modelVersion="")
    assert outcome(world.audit()) == (0, 0, 1)


def test_late_records_that_were_repaired_are_counted() -> None:
    world = stream(World(), late_every=10).publish()
    assert_clean(world.audit())


def test_late_records_not_repaired_are_lost_without_a_request() -> None:
    world = stream(World(), late_every=10).publish(late=False)
    late = sum(1 for r in world.records if r.timestamp - r.e > 2000)
    report = world.audit()
    assert outcome(report) == (late, 0, 0)
    assert report.counted == 400 - late


def test_late_records_whose_repair_is_asked_for_are_pending() -> None:
    world = stream(World(), late_every=10).publish(late=False)
    late = [r for r in world.records if r.timestamp - r.e > 2000]
    ask = [{"reason": "Late", "key": r.key, "from": r.e, "to": r.e + 1} for r in late]
    world.requests = list(ask)
    report = world.audit()
    assert_clean(report)
    assert report.pending == len(late)
    window = late[0].e // 5000
    world.requests = [
        r for r, of in zip(ask, late, strict=True) if (of.key, of.e // 5000) != (late[0].key, window)
    ]
    assert world.audit().lost == sum(1 for r in late if (r.key, r.e // 5000) == (late[0].key, window))


def test_a_request_for_every_key_covers_a_span() -> None:
    world = stream(World(), late_every=10).publish(late=False)
    world.requests = [{"reason": "Backfill", "key": None, "from": START, "to": START + 200_000}]
    assert_clean(world.audit())


def test_late_records_that_the_engine_has_not_read_are_pending() -> None:
    world = stream(World(frontier_s=60))
    world.add(0, 110, "a", 51, 1.0)
    report = world.publish(late=False).audit()
    assert_clean(report)


@pytest.mark.parametrize(
    ("mode", "lost"),
    [(PendingLate.ALWAYS, False), (PendingLate.NEVER, True), (PendingLate.OUTSTANDING, False)],
)
def test_pending_late_says_which_late_records_may_be_lacking(mode: PendingLate, lost: bool) -> None:
    world = stream(World(frontier_s=60, pending_late=mode))
    world.add(0, 110, "a", 51, 1.0)
    assert bool(world.publish(late=False).audit().lost) is lost


def test_a_window_repaired_before_the_newest_late_record_is_pending_and_its_value_is_checked() -> None:
    world = stream(World(frontier_s=60))
    before = list(world.records)
    first = world.add(0, 110, "a", 51, 1.0)
    world.add(1, 111, "a", 52, 1.0)
    world.publish([*before, first])
    report = world.audit()
    assert_clean(report)
    index = next(i for i, p in enumerate(world.points) if p.key == "a" and p.start == START + 50_000)
    world.change(index, high=99.0)
    assert outcome(world.audit()) == (0, 0, 1)


def test_an_on_time_record_lacking_is_lost_although_late_ones_are_pending() -> None:
    world = stream(World(frontier_s=60))
    on_time = list(world.records)
    world.add(0, 110, "a", 51, 1.0)
    victim = next(r for r in on_time if r.key == "a" and r.e // 5000 * 5000 == START + 50_000)
    world.publish([r for r in on_time if r is not victim])
    assert world.audit().lost == 1


def test_a_window_of_late_records_only_may_wait_as_a_whole() -> None:
    world = stream(World(frontier_s=60))
    world.add(0, 110, "new", 51, 1.0)
    report = world.publish(late=False).audit()
    assert_clean(report)
    assert report.examples["pending"]


def test_records_that_an_engine_dropped_are_pending_while_their_repair_is_asked_for() -> None:
    world = stream(World()).publish()
    gone = world.points.pop(5)
    world.requests = [{"reason": "Dropped", "key": gone.key, "from": gone.start, "to": gone.start + 1}]
    report = world.audit()
    assert_clean(report)
    assert report.pending == gone.n


def test_a_late_record_written_and_repaired_during_the_audit_is_no_defect() -> None:
    world = stream(World())
    newer = [world.add(0, 110, "a", 61, 1.0, tail=True), world.add(1, 111, "new", 62, 1.0, tail=True)]
    world.publish([*world.records, *newer])
    report = world.audit()
    assert_clean(report)
    # Only that record explains it: another one, or the same twice, does not.
    world.tail = world.tail[:1]
    assert outcome(world.audit()) == (0, 0, 1)


def test_out_of_order_records_and_an_idle_partition_that_wakes() -> None:
    world = World(partitions=3)
    rng = random.Random(3)
    for i in range(600):
        t = i / 2
        world.add(i % 2, t, rng.choice("ab"), t + rng.uniform(-1.9, 5), rng.uniform(-5, 5))
    world.add(2, 1, "idle", 1, 1.0)
    world.add(2, 299, "idle", 250, 1.0)
    assert_clean(world.publish().audit())


def test_an_empty_partition_and_an_empty_topic() -> None:
    world = stream(World())
    world.partitions = 3
    assert_clean(world.publish().audit())
    empty = World()
    report = empty.publish().audit()
    assert_clean(report)
    assert report.produced == 0
    assert "Nothing to judge" in report.verdict()


@pytest.mark.parametrize(("size", "slide"), [(10, 5), (10, 4), (7, 3), (5, 5), (3, 7)])
def test_sliding_windows(size: int, slide: int) -> None:
    sliding = spec(window={"sliding": {"sizeSeconds": size, "slideSeconds": slide}})
    world = stream(World(spec=sliding, frontier_s=61, boundary=START + 20_000), late_every=10).publish()
    report = world.audit()
    assert_clean(report)
    assert report.windows_expected == len(world.points)
    held = {r.offset + 10_000 * r.partition for r in world.records for _ in _due(world, r.e)}
    assert report.counted == len(held)


def _due(world: World, e: int) -> list[int]:
    size = world.spec.window.size_ms
    frontier = START + round(world.frontier_s * 1000)
    return [s for s in world.window_starts(e) if world.boundary < s + size <= frontier]


def test_a_record_missing_in_one_of_two_sliding_windows_is_not_counted() -> None:
    world = stream(World(spec=spec(window=SLIDING))).publish()
    index = next(i for i, p in enumerate(world.points) if p.n > 1 and p.start > START)
    point = world.points[index]
    held = [r for r in world.records if r.key == point.key and point.start in world.window_starts(r.e)]
    world.points[index] = world.point(point.key, point.start, held[1:])
    report = world.audit()
    assert outcome(report) == (1, 0, 0)
    assert not report.balanced


def test_timestamps_that_run_backwards_are_taken_within_the_disorder_and_refused_beyond() -> None:
    world = World(partitions=1, disorder=5_000, batch=50)
    for i in range(4000):
        t = i / 2
        world.add(0, t - (4 if i % 3 == 0 and i > 10 else 0), "a", max(0, t - 4), 1.0)
    world.publish()
    report = world.audit()
    assert_clean(report)
    world.add(0, 100, "a", 99, 1.0)
    with pytest.raises(AuditError, match="run backwards"):
        world.audit()


def test_with_an_end_chosen_by_the_user_only_windows_below_its_clock_are_judged() -> None:
    world = stream(World(frontier_s=200), seconds=200)
    world.publish()
    cut = [r for r in world.records if r.timestamp < START + 100_000]
    world.tail = [r for r in world.records if r.timestamp >= START + 100_000]
    world.records = cut
    world.going_on = frozenset({0, 1})
    report = world.audit()
    assert_clean(report)
    assert report.frontier is not None
    assert START + 90_000 < report.frontier < START + 100_000


def test_memory_does_not_grow_with_the_topic() -> None:
    largest = []
    for seconds in (2_000, 8_000):
        world = World(batch=200)
        for i in range(seconds):
            world.add(i % 2, i, "abc"[i % 3], i - i % 2, 1.0)
        world.frontier_s = seconds
        assert_clean(world.publish().audit())
        largest.append(world.largest)
    assert largest[1] <= largest[0] * 1.1
    # 3 keys, a window each 5 s: 60 s of lateness, 300 s of a slice, 200 s of a batch.
    assert largest[1] <= 3 * (60 + 300 + 200 + 10) / 5


def test_a_gap_of_years_in_event_time_takes_few_looks_at_the_sink() -> None:
    world = World(boundary=0, partitions=1, frontier_s=400_000_000)
    for t in (0.0, 300_000_000.0):
        world.add(0, t, "a", t, 1.0)
    assert_clean(world.publish().audit())


def test_examples_are_the_first_five_and_hold_no_contents() -> None:
    world = stream(World()).publish()
    world.points = []
    report = world.audit()
    assert len(report.examples["lost"]) == 5
    assert set(report.examples["lost"][0]) == {"key", "window", "expected", "found"}
    assert report.examples["lost"][0]["window"] == "2023-11-14T22:13:20.000Z"


def test_hash_of_a_record() -> None:
    import numpy as np

    from streampipeline_audit.hashing import record_hashes

    places = [(0, 0), (0, 1), (3, 12345), (11, 2**40)]
    partitions, offsets = (np.array(column, np.int64) for column in zip(*places, strict=True))
    assert record_hashes(partitions, offsets).tolist() == [mix(*place) for place in places]
