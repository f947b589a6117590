"""Rules between the resource and the Avro schema of its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streampipeline.api.fields import nearest
from streampipeline.api.problems import Problem
from streampipeline.api.schema import EVENT_TIMES, KEYS, NUMBERS, FieldType, SchemaError, record_fields
from streampipeline.api.view import View

FORMAT = "spec.source.format"
REF = f"{FORMAT}.schemaConfigMapRef"


def check(view: View, config_maps: Mapping[str, Mapping[str, str]] | None) -> Iterator[Problem]:
    """Problems of the schema itself and of the fields that are asked of it."""
    name, key, inline = view.text(f"{REF}.name"), view.text(f"{REF}.key"), view.text(f"{FORMAT}.schema")
    if inline is not None:
        yield from _check(view, f"{FORMAT}.schema", inline)
    elif config_maps is not None and name is not None and key is not None:
        if name not in config_maps:
            near = nearest(name, list(config_maps))
            remedy = (
                f"did you mean {near}?"
                if near
                else "add the ConfigMap to the file, or give the schema inline"
            )
            yield Problem(f"{REF}.name", f'no ConfigMap "{name}" is in the file', remedy)
        elif key not in config_maps[name]:
            near = nearest(key, list(config_maps[name]))
            remedy = (
                f"did you mean {near}?" if near else f"its keys: {', '.join(config_maps[name]) or 'none'}"
            )
            yield Problem(f"{REF}.key", f'ConfigMap "{name}" has no key "{key}"', remedy)
        else:
            yield from _check(view, REF, config_maps[name][key])


def _check(view: View, place: str, text: str) -> Iterator[Problem]:
    try:
        known = record_fields(text)
    except SchemaError as error:
        yield Problem(place, f"is {error}", "give it the Avro schema of a record, as JSON")
        return
    yield from _event_time(view, known)
    yield from _key(view, known)
    for path in view.elements("spec.aggregates"):
        yield from _aggregate(view, f"{path}.field", known)


def _find(view: View, path: str, known: Mapping[str, FieldType]) -> Iterator[FieldType | Problem]:
    name = view.text(path)
    if name is None:
        return
    if name in known:
        yield known[name]
        return
    near = nearest(name, list(known))
    remedy = f"did you mean {near}?" if near else "use one of " + ", ".join(known)
    yield Problem(path, f'is no field of the schema: "{name}"', remedy)


def _event_time(view: View, known: Mapping[str, FieldType]) -> Iterator[Problem]:
    path = "spec.source.eventTime.field"
    for found in _find(view, path, known):
        if isinstance(found, Problem):
            yield found
        elif (found.type, found.logical) not in EVENT_TIMES:
            yield Problem(
                path,
                f'is no time: "{view.text(path)}" is {found}',
                "use a long (timestamp-millis, timestamp-micros, plain milliseconds) or a string in RFC 3339",
            )


def _key(view: View, known: Mapping[str, FieldType]) -> Iterator[Problem]:
    path = "spec.source.keyField"
    for found in _find(view, path, known):
        if isinstance(found, Problem):
            yield found
        elif found.type not in KEYS:
            yield Problem(
                path, f'cannot be a key: "{view.text(path)}" is {found}', "use a string, int or long"
            )
        elif found.logical is not None:
            yield Problem(path, f'cannot be a key: "{view.text(path)}" is {found}', _PLAIN)


def _aggregate(view: View, path: str, known: Mapping[str, FieldType]) -> Iterator[Problem]:
    for found in _find(view, path, known):
        if isinstance(found, Problem):
            yield found
        elif found.type not in NUMBERS:
            numbers = ", ".join(
                name for name, field in known.items() if field.type in NUMBERS and not field.logical
            )
            yield Problem(
                path, f'is not a number: "{view.text(path)}" is {found}', f"use one of {numbers or 'none'}"
            )
        elif found.logical is not None:
            yield Problem(path, f'is not a plain number: "{view.text(path)}" is {found}', _PLAIN)


_PLAIN = "remove logicalType from the schema: the bytes of the records are the same"
