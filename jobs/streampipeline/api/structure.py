"""Types, bounds and names of single fields: Pydantic's findings in the words and paths of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from streampipeline.api import fields, spec
from streampipeline.api.problems import Problem, path_of

PATTERNS: dict[str, tuple[str, str]] = {
    spec.DNS_LABEL: (
        "is not a DNS label",
        "use lower-case letters, digits and '-', beginning and ending with a letter or digit",
    ),
    spec.SERVICE_NAME: (
        "is not a DNS label that begins with a letter",
        "use lower-case letters, digits and '-', beginning with a letter and ending with a letter or digit",
    ),
    spec.DNS_SUBDOMAIN: (
        "is not a DNS name",
        "use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
    ),
    spec.HOST_PORT: ("is not host:port", "write it as in kafka:9092"),
    spec.HTTP_URL: ("is not an http(s) URL", "write it as in http://model:3000"),
    spec.QUANTITY: ("is not a quantity", "write it as in 1Gi"),
    spec.TOPIC: ("is not a name of a Kafka topic", "use letters, digits, '.', '_' and '-'"),
    spec.COLUMN: (
        "is not a usable name",
        "begin with a letter; go on with letters, digits, '_', '.' and '-'",
    ),
    spec.AVRO_NAME: (
        "is not a name of a field",
        "begin with a letter or '_'; go on with letters, digits and '_'",
    ),
}
"""What is said of a text that does not match, and the remedy."""

_TYPES = {
    "int_type": ("must be a whole number", "write a whole number, without quotes or a decimal point"),
    "bool_type": ("must be true or false", "write true or false, without quotes"),
    "string_type": ("must be a text", "put it in quotes"),
    "list_type": ("must be a list", "write each element on a line of its own that begins with '-'"),
    "model_type": ("must be a mapping of fields", "write its fields as name: value"),
}


def shown(value: object) -> str:
    """A value as a message shows it: short, texts in quotes, truth values as YAML writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check(document: Mapping[str, object]) -> list[Problem]:
    """Problems of single fields, in the order of the model. Empty: the document is a StreamPipeline."""
    try:
        # Not by Python's names: the API server knows only those of the YAML file.
        spec.StreamPipeline.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        return [_problem(finding) for finding in error.errors(include_url=False)]
    return []


def _problem(finding: Any) -> Problem:
    parts: tuple[str | int, ...] = finding["loc"]
    kind, value, context = finding["type"], finding["input"], finding.get("ctx", {})
    path = path_of(parts)
    if kind == "missing":
        info = fields.info_at(parts)
        meaning = f": {info.description}" if info and info.description else ""
        return Problem(path, "is missing", f"add {parts[-1]}{meaning}")
    if kind == "extra_forbidden":
        return Problem(path, "is not a field of the resource", _rename(parts))
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return _bound(path, kind, value, context)
    if kind == "enum":
        allowed = [text.strip("' ") for text in str(context["expected"]).replace(" or ", ",").split(",")]
        near = fields.nearest(str(value), allowed)
        remedy = f"write {near}" if near else "use one of " + ", ".join(allowed)
        return Problem(path, f"must be one of {', '.join(allowed)}, is {shown(value)}", remedy)
    if kind == "string_pattern_mismatch":
        words, remedy = PATTERNS.get(
            context["pattern"], ("has a form that is not allowed", f"match {context['pattern']}")
        )
        return Problem(path, f"{words}: {shown(value)}", remedy)
    if kind in ("too_short", "string_too_short"):
        info = fields.info_at(parts)
        meaning = f": {info.description}" if info and info.description else ""
        what = "at least one element" if kind == "too_short" else "a value"
        return Problem(path, "is empty", f"give it {what}{meaning}")
    if kind == "string_too_long":
        limit = context["max_length"]
        return Problem(path, f"is longer than {limit} characters", "use a shorter one")
    if kind == "too_long":
        return Problem(path, f"has more than {context['max_length']} elements", "remove some of them")
    words, remedy = _TYPES.get(kind, (finding["msg"], "correct the value"))
    return Problem(path, f"{words}, is {shown(value)}", remedy)


def _bound(path: str, kind: str, value: object, context: Mapping[str, Any]) -> Problem:
    limit = next(iter(context.values()))
    nearest = {"greater_than": limit + 1, "less_than": limit - 1}.get(kind, limit)
    words, side = ("at least", "or more") if kind.startswith("greater") else ("at most", "or less")
    return Problem(path, f"must be {words} {nearest}, is {shown(value)}", f"set it to {nearest} {side}")


def _rename(parts: Sequence[str | int]) -> str:
    """Where the unknown field at `parts` should have stood."""
    name, parent = str(parts[-1]), fields.model_at(parts[:-1])
    known = list(fields.children(parent)) if parent else []
    near = fields.nearest(name, known)
    if near:
        return f"did you mean {near}?"
    elsewhere = [path for path in fields.all_paths(spec.StreamPipelineSpec, ("spec",)) if path[-1] == name]
    if elsewhere:
        return f"move it to {path_of(elsewhere[0])}"
    return "remove it; known here: " + ", ".join(known)
