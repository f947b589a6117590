"""Names in a point: no two values may share one."""

from __future__ import annotations

from collections.abc import Iterator

from streampipeline.api.problems import Problem
from streampipeline.api.view import View

POINT_FIELDS = frozenset({"source", "n", "scored", "modelVersion", "generation", "datetime", "hash"})
"""What each point carries beside its values."""
POINT_ADDRESS = frozenset({"pipeline", "window_start", "window_end", "epoch", "written_ns", "time"})
"""What says which point it is, in one sink or the other."""
RESERVED = POINT_FIELDS | POINT_ADDRESS


def check(view: View) -> Iterator[Problem]:
    """Names of aggregates, output and key that collide with each other or with those of every point."""
    key = view.text("spec.source.keyField")
    if key in RESERVED:
        yield Problem(
            "spec.source.keyField",
            f'cannot be "{key}": it becomes a tag of each point, which has a value of this name',
            "rename the field in the schema and the records",
        )
    elif key is not None and key.startswith("_"):
        yield Problem(
            "spec.source.keyField",
            f'cannot begin with "_": it becomes a tag of each point, and InfluxDB keeps such names ("{key}")',
            "rename the field in the schema and the records",
        )
    taken = dict.fromkeys(RESERVED, "a field of each point")
    if key is not None and key not in RESERVED:
        taken[key] = "the key field"
    for path in view.elements("spec.aggregates"):
        yield from _claim(f"{path}.name", view, taken, "the name of another aggregate")
    yield from _claim("spec.model.output", view, taken, "the model's output")


def _claim(path: str, view: View, taken: dict[str, str], meaning: str) -> Iterator[Problem]:
    name = view.text(path)
    if name is None:
        return
    if name in taken:
        yield Problem(path, f'is already {taken[name]}: "{name}"', "choose another name")
    taken.setdefault(name, meaning)
