"""Random streams are clean; with any one random defect they never are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.support.audit_world import SLIDING, START, World, spec

from streampipeline_audit.plan import PendingLate

KEYS = st.sampled_from(["a", "b", "é"])
VALUES = st.floats(-1e6, 1e6)
DEFECTS = ["window", "value", "prediction", "twice", "skipped", "swapped", "extra", "series", "letter"]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    window = draw(
        st.sampled_from([{"tumbling": {"sizeSeconds": 5}}, SLIDING, {"tumbling": {"sizeSeconds": 1}}])
    )
    partitions = draw(st.integers(1, 3))
    world = World(spec=spec(window=window), partitions=partitions, batch=draw(st.integers(1, 30)))
    t = 0.0
    for _ in range(draw(st.integers(1, 40))):
        t += draw(st.sampled_from([0.0, 0.1, 1.0, 7.0, 90.0]))
        back = draw(st.sampled_from([0.0, 0.5, 2.0, 3.0, 59.0, -9.0]))
        partition = draw(st.integers(0, partitions - 1))
        if draw(st.integers(0, 9)) == 0:
            world.add_raw(partition, t, draw(st.sampled_from([None, b"", b"\xff" * 12])))
        else:
            world.add(partition, t, draw(KEYS), max(0.0, t - back), draw(VALUES))
    world.frontier_s = draw(st.sampled_from([t / 2, t, t + 100]))
    world.boundary = START + draw(st.sampled_from([0, 10_000]))
    return world.publish()


@given(worlds())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_faultless_pipeline_is_found_exact(world: World) -> None:
    report = world.audit()
    assert report.clean, report.examples
    assert report.balanced
    assert report.windows_expected == len(world.points)


@given(worlds(), st.sampled_from(DEFECTS), st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
def test_any_single_defect_is_found(world: World, defect: str, data: st.DataObject) -> None:
    # A late record may wait for its repair: here all that is missing is a defect.
    world.pending_late = PendingLate.NEVER
    plant(world, defect, data)
    report = world.audit()
    assert not report.clean
    assert any(report.examples[kind] for kind in ("lost", "doubled", "differing"))


def plant(world: World, defect: str, data: st.DataObject) -> None:
    if defect == "letter":
        due = [d for d in world.dead if _timestamp(world, d) < START + round(world.frontier_s * 1000)]
        assume(due)
        world.dead.remove(data.draw(st.sampled_from(due)))
        return
    assume(world.points)
    index = data.draw(st.integers(0, len(world.points) - 1))
    point = world.points[index]
    held = [
        r for r in world.records if r.key == point.key and point.start in world.window_starts(r.e) and r.good
    ]
    match defect:
        case "window":
            world.points.pop(index)
        case "value":
            name = data.draw(
                st.sampled_from(["mean", "low", "high", "sum", "datetime", "n", "hash", "count"])
            )
            value = point.fields[name]
            assert isinstance(value, int | float)
            world.change(index, **{name: value + 1})
        case "prediction":
            world.change(index, level=1)
        case "twice":
            world.points[index] = world.point(
                point.key, point.start, [*held, data.draw(st.sampled_from(held))]
            )
        case "skipped":
            left = [r for r in held if r is not data.draw(st.just(held[0]))]
            assume(left)
            world.points[index] = world.point(point.key, point.start, left)
        case "swapped":
            other = replace(held[0], offset=held[0].offset + 1_000)
            world.points[index] = world.point(point.key, point.start, [other, *held[1:]])
        case "extra":
            world.points.append(replace(point, key="nobody"))
        case "series":
            world.points.append(replace(point, fields={**point.fields, "source": "dask-fallback"}))


def _timestamp(world: World, place: tuple[int, int]) -> int:
    return next(r.timestamp for r in world.records if (r.partition, r.offset) == place)
