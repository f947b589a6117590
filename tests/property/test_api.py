"""Whatever a file holds, the answer is a list of problems, and never a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streampipeline.api.environment import apply_environment, variable_of
from streampipeline.api.fields import leaves
from streampipeline.api.load import load
from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.api.validate import validate

SAMPLES = Path(__file__).parents[2] / "samples"
MANIFEST = load(SAMPLES / "nurse-stress.yaml")
VITALS = load(SAMPLES / "hospital-vitals.yaml")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield (*at, key)
        yield from _places(inner, (*at, key))


@given(st.data())
def test_one_wrong_value_anywhere_never_breaks_validation(data: st.DataObject) -> None:
    manifest = data.draw(st.sampled_from([MANIFEST, VITALS]))
    document = copy.deepcopy(manifest.document())
    *parents, last = data.draw(st.sampled_from(list(_places(document))))
    place: Any = document
    for parent in parents:
        place = place[parent]
    place[last] = data.draw(anything)
    for problem in validate(document, manifest.config_maps):
        assert problem.message
        assert problem.remedy


@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec", "x"]), anything))
def test_any_mapping_has_problems(document: dict[str, Any]) -> None:
    assert validate(document, {})


@given(st.text())
def test_any_schema_text_is_judged(text: str) -> None:
    document = copy.deepcopy(VITALS.document())
    document["spec"]["source"]["format"]["schema"] = text
    assert "spec.source.format.schema" in {problem.field for problem in validate(document)}


@given(st.sampled_from(list(leaves(StreamPipelineSpec, ("spec",)))), st.integers(1, 9))
def test_every_variable_reaches_its_field(path: tuple[str, ...], value: int) -> None:
    text = "true" if path[-1] == "suspend" else str(value)
    found: Any = apply_environment({}, {variable_of(path): text})
    for part in path:
        found = found[part]
    assert str(found[0] if isinstance(found, list) else found).lower() == text
