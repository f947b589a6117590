"""The tree of the resource's fields, read from the typed model: which names exist, of which type, where."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from streampipeline.api.spec import StreamPipeline

Path = tuple[str | int, ...]


def yaml_name(name: str, info: FieldInfo) -> str:
    """Name of a field in the YAML file."""
    return info.alias or name


def children(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields of a model by their YAML names."""
    return {yaml_name(name, info): info for name, info in model.model_fields.items()}


def _members(annotation: Any) -> Iterator[Any]:
    """The types behind Optional and Annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _members(argument)
    elif annotation is not type(None):
        yield annotation


def element_type(annotation: Any) -> Any | None:
    """Type of a list's elements, without Annotated; None when it is not a list."""
    for member in _members(annotation):
        if get_origin(member) is list:
            return next(_members(get_args(member)[0]))
    return None


def plain_type(annotation: Any) -> Any:
    """The type without Optional and Annotated."""
    return next(_members(annotation))


def submodel(annotation: Any) -> type[BaseModel] | None:
    """The model that a field, or each element of a list field, holds."""
    target = element_type(annotation) or plain_type(annotation)
    return target if isinstance(target, type) and issubclass(target, BaseModel) else None


def model_at(parts: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that stands at a path; None where there is none."""
    model: type[BaseModel] | None = StreamPipeline
    for part in parts:
        if isinstance(part, int):
            continue
        info = children(model).get(part) if model else None
        model = submodel(info.annotation) if info else None
    return model


def info_at(parts: Sequence[str | int]) -> FieldInfo | None:
    """The declaration of the field at a path; None where there is none."""
    model = model_at(parts[:-1]) if parts else None
    return children(model).get(str(parts[-1])) if model else None


def leaves(model: type[BaseModel] = StreamPipeline, base: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields that hold a value or a list of values; not those inside lists of objects."""
    for name, info in children(model).items():
        inner = submodel(info.annotation)
        if inner is None:
            yield (*base, name)
        elif element_type(info.annotation) is None:
            yield from leaves(inner, (*base, name))


def all_paths(
    model: type[BaseModel] = StreamPipeline, base: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Paths of all fields; fields of listed objects stand under the list's own path."""
    for name, info in children(model).items():
        yield (*base, name)
        inner = submodel(info.annotation)
        if inner is not None:
            yield from all_paths(inner, (*base, name))


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most like `name`, whatever its case and underscores; None when none is like it."""
    folded = {candidate.lower().replace("_", ""): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower().replace("_", ""), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def with_defaults(raw: Mapping[str, object], model: type[BaseModel] = StreamPipeline) -> dict[str, object]:
    """A copy in which each absent field that has a default holds it; what is wrong stays as it is."""
    filled: dict[str, object] = dict(raw)
    for name, info in children(model).items():
        if name not in filled:
            if info.is_required():
                continue
            default = info.get_default(call_default_factory=True, validated_data={})
            if isinstance(default, BaseModel):
                default = default.model_dump(by_alias=True, mode="json")
            if default is not None:
                filled[name] = default
            continue
        inner, value = submodel(info.annotation), filled[name]
        if inner is None:
            continue
        if isinstance(value, Mapping):
            filled[name] = with_defaults(value, inner)
        elif isinstance(value, list):
            filled[name] = [
                with_defaults(item, inner) if isinstance(item, Mapping) else item for item in value
            ]
    return filled


def without_nulls(value: object) -> object:
    """A copy without mapping entries that are null: to the API server they are absent, too."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
