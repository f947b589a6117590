"""Each window is judged by its own generation: values, number, model, and nothing of another beside it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.support.audit_world import SLIDING, START, Record, World, spec
from tests.unit.test_audit_core import assert_clean, outcome, stream

from streampipeline_audit.plan import Generation
from streampipeline_audit.points import Point

BOUNDARY = START + 50_000
BIG = 20_000.0
"""More than the second generation's `top` can hold at nine decimals."""


def later(**changed: object) -> Generation:
    """Generation 2: other aggregates, one that refuses large values, another model."""
    aggregates = [
        {"name": "mean", "field": "x", "function": "Mean"},
        {"name": "top", "field": "x", "function": "Max", "decimals": 9},
        {"name": "count", "function": "Count"},
    ]
    return Generation(2, BOUNDARY, spec(aggregates=aggregates, **changed), "m-2")


def changed_world(**changed: object) -> World:
    window = {"window": SLIDING} if changed.get("sliding") else {}
    return World(spec=spec(**window), later=(later(**window),))


def publish(world: World) -> World:
    """As a faultless pipeline: each window with what its generation computes."""
    records = world.records
    size = world.spec.window.size_ms
    world.publish(r for r in records if not is_big(r))
    new = [point for point in world.points if point.start + size > BOUNDARY]
    world.publish(records)
    old = [point for point in world.points if point.start + size <= BOUNDARY]
    world.points = [*old, *(second(world, point) for point in new)]
    return world


def is_big(record: Record) -> bool:
    return abs(record.x) >= BIG


def second(world: World, point: Point) -> Point:
    """The point as generation 2 has it."""
    held = [
        record
        for record in world.records
        if point.start in world.window_starts(record.e) and record.key == point.key and not is_big(record)
    ]
    fields = {name: value for name, value in point.fields.items() if name not in ("low", "high", "sum")}
    fields["top"] = max(math.floor(record.x * 1e9 + 0.5) for record in held) / 1e9
    return replace(point, fields={**fields, "generation": 2, "modelVersion": "m-2"})


@pytest.mark.parametrize("sliding", [False, True])
def test_a_clean_change_is_clean(sliding: bool) -> None:
    world = publish(stream(changed_world(sliding=sliding)))
    report = world.audit()
    assert_clean(report)
    assert report.produced == report.counted == 400
    size = world.spec.window.size_ms
    old = sum(point.start + size <= BOUNDARY for point in world.points)
    assert report.by_generation == {1: old, 2: len(world.points) - old}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("generation", 1),
        ("modelVersion", "m-1"),
        ("high", 1.0),
        ("top", 1.0),
        ("top", None),
    ],
)
def test_what_is_not_the_generations_own_differs(field: str, value: float | str | None) -> None:
    world = publish(stream(changed_world()))
    index = next(i for i, point in enumerate(world.points) if point.fields["generation"] == 2)
    world.change(index, **{field: value})
    assert outcome(world.audit()) == (0, 0, 1)


def test_a_window_before_the_boundary_that_the_new_generation_wrote_differs() -> None:
    world = publish(stream(changed_world()))
    index = next(i for i, point in enumerate(world.points) if point.fields["generation"] == 1)
    world.points[index] = second(world, world.points[index])
    assert outcome(world.audit()) == (0, 0, 1)


def test_a_record_is_refused_by_the_generation_of_its_window() -> None:
    world = stream(changed_world())
    before = world.add(0, 100.1, "a", 49.5, BIG)
    behind = world.add(0, 100.2, "a", 50.5, BIG)
    # A late one was read by the second generation's engine, and belongs to the first's windows.
    world = publish(world)
    missing = world.audit()
    assert outcome(missing) == (1, 0, 0)
    world.dead.append((0, behind.offset))
    report = world.audit()
    assert_clean(report)
    assert (report.dead_lettered, report.counted) == (1, 401)
    world.dead.append((0, before.offset))
    # The engine that read it may have refused it; the repair counted it.
    assert_clean(world.audit())


def test_a_dead_letter_that_the_repair_is_still_to_write_is_pending() -> None:
    """The first generation refuses what the second takes: its repair finds that out."""
    first, second_spec = later().spec, spec()
    world = World(spec=first, later=(Generation(2, BOUNDARY, second_spec),))
    record = world.add(0, 70.0, "a", 20.0, BIG)
    world.frontier_s = 60
    assert world.audit().pending == 1, "beyond the frontier in Kafka's time"
    world.frontier_s = 100
    assert outcome(world.audit()) == (1, 0, 0)
    world.requests.append({"reason": "Late", "key": "a", "from": record.e, "to": record.e + 1})
    report = world.audit()
    assert_clean(report)
    assert report.pending == 1
    world.dead.append((0, record.offset))
    assert world.audit().dead_lettered == 1
