"""Fields that are set as PATH=VALUE."""

from __future__ import annotations

import pytest

from streampipeline.api.assignments import apply_assignments
from streampipeline.api.problems import InvalidPipelineError


def test_fields_are_set_by_their_paths_the_last_one_counting() -> None:
    document = {"spec": {"failover": {"latencySeconds": 15}}}
    changed = apply_assignments(
        document, ["failover.latencySeconds=9", "spec.suspend=true", "failover.latencySeconds=10"]
    )
    assert changed == {"spec": {"failover": {"latencySeconds": 10}, "suspend": True}}
    assert document == {"spec": {"failover": {"latencySeconds": 15}}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("failover.latencySeconds", "write PATH=VALUE"),
        ("failover.latencySecond=3", "did you mean failover.latencySeconds?"),
        ("failover=3", "is no field that can be set"),
        ("failover.violations=many", "must be a whole number"),
    ],
)
def test_what_cannot_be_set_is_said_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(InvalidPipelineError) as caught:
        apply_assignments({}, [text])
    assert said in str(caught.value.problems[0])
