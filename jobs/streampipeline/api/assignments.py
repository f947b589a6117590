"""The topmost layer: single fields of the spec, set as `failover.latencySeconds=10` on a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streampipeline.api.environment import VARIABLES, Override, typed_value, with_overrides
from streampipeline.api.fields import nearest
from streampipeline.api.problems import InvalidPipelineError, Problem, path_of

_PATHS = {path_of(path[1:]): path for path in VARIABLES.values()}
"""Fields by their paths below `spec`."""


def assigned(texts: Sequence[str]) -> list[Override]:
    """Fields that `PATH=VALUE` texts set, in their order; PATH is that of the field below `spec`, or with it.

    Raises InvalidPipelineError when a text is none, its field is not known, or its value not of its type.
    """
    found: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        name, equals, value = text.partition("=")
        path = _PATHS.get(name.removeprefix("spec."))
        if not equals:
            problems.append(Problem(text, "is no assignment", "write PATH=VALUE"))
        elif path is None:
            near = nearest(name, list(_PATHS))
            remedy = f"did you mean {near}?" if near else "use the path of a field below spec"
            problems.append(Problem(name, "is no field that can be set", remedy))
        else:
            try:
                found.append(Override(text, path_of(path), typed_value(path, value)))
            except ValueError as error:
                problems.append(Problem(name, f'{error}, is "{value}"', "correct it"))
    if problems:
        raise InvalidPipelineError(problems)
    return found


def apply_assignments(document: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """A copy of the document with the fields that `texts` set. Raises as `assigned` does."""
    return with_overrides(document, assigned(texts))
