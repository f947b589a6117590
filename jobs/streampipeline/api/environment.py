"""The layer above the file: environment variables that override fields of the spec.

`STREAMPIPELINE_` and the path of a field, in upper case with underscores:
STREAMPIPELINE_FAILOVER_LATENCY_SECONDS is spec.failover.latencySeconds. Lists of values are separated by
commas. Fields inside lists of objects (aggregates, sinks) have no variable.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from streampipeline.api.fields import element_type, info_at, leaves, nearest, plain_type
from streampipeline.api.problems import InvalidPipelineError, Problem, path_of
from streampipeline.api.spec import StreamPipelineSpec

PREFIX = "STREAMPIPELINE_"

ALIASES: Mapping[str, tuple[str, ...]] = {
    "KAFKA_BOOTSTRAP_SERVERS": ("spec", "source", "kafka", "bootstrapServers"),
    "LATENCY_THRESHOLD": ("spec", "failover", "latencySeconds"),
    "BATCH_SIZE": ("spec", "fallback", "dask", "batchRecords"),
}
"""Names from before the product; the STREAMPIPELINE_ name of the same field comes before them."""

RESERVED: Mapping[str, str] = {
    "STREAMPIPELINE_LOG_LEVEL": "least severe log lines that are shown: DEBUG, INFO, WARNING, ERROR",
    "STREAMPIPELINE_RUNTIME": "directory with what was installed: Flink, Kafka, environments",
    "STREAMPIPELINE_RUN_OWNER": "set by `run` for its child processes, to find them again",
    "STREAMPIPELINE_MODEL_DIR": "directory of the model that the model server serves",
    "STREAMPIPELINE_KAFKA": "directory with Kafka's jars, for the tests",
}
"""STREAMPIPELINE_ variables that are no fields of the spec, and what they are for."""

EXEMPT_PREFIX = "STREAMPIPELINE_TEST_"
"""Variables of the product's own tests."""


@dataclass(frozen=True)
class Override:
    """One field that is set from outside the file: by which variable or text, which field, to which value."""

    variable: str
    field: str
    value: object


def variable_of(path: tuple[str, ...]) -> str:
    """Name of the variable of a field: ("spec", "model", "output") -> STREAMPIPELINE_MODEL_OUTPUT."""
    words = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).upper() for part in path[1:]]
    return PREFIX + "_".join(words)


VARIABLES: Mapping[str, tuple[str, ...]] = {
    variable_of(path): path for path in leaves(StreamPipelineSpec, ("spec",))
}
"""Every variable that overrides a field, and the field's path."""


def overrides(environ: Mapping[str, str]) -> list[Override]:
    """Fields that `environ` sets, in the order of their paths.

    Raises InvalidPipelineError when a STREAMPIPELINE_ variable is not known, or its text is not of the
    field's type.
    """
    chosen: dict[tuple[str, ...], str] = {ALIASES[name]: name for name in ALIASES if environ.get(name)}
    problems: list[Problem] = []
    for name in sorted(environ):
        if name in VARIABLES:
            chosen[VARIABLES[name]] = name
        elif name.startswith(PREFIX) and name not in RESERVED and not name.startswith(EXEMPT_PREFIX):
            problems.append(_unknown(name))
    found: list[Override] = []
    for path, name in sorted(chosen.items()):
        try:
            found.append(Override(name, path_of(path), typed_value(path, environ[name])))
        except ValueError as error:
            problems.append(
                Problem(name, f'{error}, is "{environ[name]}"', f"correct or unset it ({path_of(path)})")
            )
    if problems:
        raise InvalidPipelineError(problems)
    return found


def apply_environment(document: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """A copy of the document with the fields that `environ` sets. Raises as `overrides` does."""
    return with_overrides(document, overrides(environ))


def with_overrides(document: Mapping[str, Any], chosen: Sequence[Override]) -> dict[str, Any]:
    """A copy of the document with these fields set, the last of a field counting."""
    result: dict[str, Any] = copy.deepcopy(dict(document))
    for override in chosen:
        *parents, name = override.field.split(".")
        place = result
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        place[name] = override.value
    return result


def _unknown(name: str) -> Problem:
    near = nearest(name, [*VARIABLES, *RESERVED])
    remedy = f"did you mean {near}?" if near else "unset it"
    return Problem(name, "is no variable of the product, nor of a field of the spec", remedy)


def typed_value(path: tuple[str, ...], text: str) -> object:
    """The text as the type of the field at `path`. Raises ValueError, which says what it must be."""
    info = info_at(path)
    assert info is not None
    element = element_type(info.annotation)
    if element is not None:
        return [_scalar(element, item.strip()) for item in text.split(",") if item.strip()]
    return _scalar(plain_type(info.annotation), text.strip())


def _scalar(wanted: type[BaseModel] | type, text: str) -> object:
    if wanted is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("must be true or false")
        return text.lower() == "true"
    if wanted is int:
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise ValueError("must be a whole number")
        return int(text)
    return text
