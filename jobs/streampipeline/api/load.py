"""A YAML file as kubectl takes it: StreamPipelines, and the ConfigMaps and Secrets that they refer to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streampipeline.api.assignments import apply_assignments
from streampipeline.api.documents import documents
from streampipeline.api.environment import apply_environment
from streampipeline.api.fields import nearest
from streampipeline.api.problems import InvalidPipelineError, Problem
from streampipeline.api.spec import KIND, StreamPipeline
from streampipeline.api.validate import parse, validate


@dataclass(frozen=True)
class Manifest:
    """What a file holds. Documents of other kinds are left out."""

    pipelines: tuple[dict[str, Any], ...]
    config_maps: Mapping[str, Mapping[str, str]]
    _secrets: Mapping[str, Mapping[str, str]] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """Names of the pipelines, in the order of the file."""
        return [_name(document) or "" for document in self.pipelines]

    def document(self, name: str | None = None) -> dict[str, Any]:
        """The document of one pipeline as the file has it; `name` may be left out when there is one only.

        Raises InvalidPipelineError when there is none of this name, or several and no name.
        """
        if name is None and len(self.pipelines) == 1:
            return self.pipelines[0]
        listed = ", ".join(self.names)
        if not self.pipelines:
            raise _invalid("", f"holds no {KIND}", f"add a document with kind: {KIND}")
        if name is None:
            raise _invalid("metadata.name", f"holds several pipelines: {listed}", "say which by its name")
        if name not in self.names:
            near = nearest(name, self.names)
            remedy = f"did you mean {near}?" if near else f"use one of {listed}"
            raise _invalid("metadata.name", f'no {KIND} is called "{name}"', remedy)
        return self.pipelines[self.names.index(name)]

    def problems(self, name: str | None = None, environ: Mapping[str, str] | None = None) -> list[Problem]:
        """Everything that is wrong with one pipeline, `environ` applied to it when given."""
        try:
            return validate(apply_environment(self.document(name), environ or {}), self.config_maps)
        except InvalidPipelineError as error:
            return list(error.problems)

    def pipeline(
        self,
        name: str | None = None,
        environ: Mapping[str, str] | None = None,
        assignments: Sequence[str] = (),
    ) -> StreamPipeline:
        """One pipeline, typed: defaults, then the file, then `environ`, then `assignments` (PATH=VALUE).

        Raises InvalidPipelineError.
        """
        document = apply_environment(self.document(name), environ or {})
        return parse(apply_assignments(document, assignments), self.config_maps)

    def resolve_schema(self, pipeline: StreamPipeline) -> str:
        """Text of the pipeline's Avro schema. Raises InvalidPipelineError when it is not to be found."""
        source = pipeline.spec.source.format
        if source.inline_schema is not None:
            return source.inline_schema
        place, ref = "spec.source.format.schemaConfigMapRef", source.schema_config_map_ref
        if ref is None:
            raise _invalid("spec.source.format", "has no schema", "add schema or schemaConfigMapRef")
        return _look_up(self.config_maps, "ConfigMap", ref.name, ref.key, place)

    def secret(self, name: str, key: str) -> str:
        """Value of a key of a Secret of the file. Raises InvalidPipelineError when it is not there."""
        return _look_up(self._secrets, "Secret", name, key, "")


def load(source: Path | str) -> Manifest:
    """Read a file (Path) or a text (str).

    Raises OSError when the file cannot be read, InvalidPipelineError when it is no YAML, holds no
    StreamPipeline, or has two documents of the same kind and name. Pipelines are not yet validated.
    """
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    pipelines: dict[str, dict[str, Any]] = {}
    config_maps: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {KIND: pipelines, "ConfigMap": config_maps, "Secret": secrets}
    problems: list[Problem] = []
    for number, document in enumerate(documents(text), start=1):
        kind, name = document.get("kind"), _name(document)
        into = sections.get(str(kind))
        if into is None:
            near = nearest(str(kind), [KIND]) or str(document.get("apiVersion", "")).startswith(
                "streampipeline"
            )
            if near:
                problems.append(Problem("kind", f'must be {KIND}, is "{kind}"', f"write {KIND}"))
            continue
        key = name or f"document {number}"
        if key in into:
            problems.append(
                Problem("metadata.name", f'two documents are {kind} "{key}"', "rename or remove one")
            )
        elif into is pipelines:
            into[key] = document
        else:
            into[key], wrong = _data(document, key)
            problems += wrong
    if not pipelines and not problems:
        problems.append(Problem("", f"the file holds no {KIND}", f"add a document with kind: {KIND}"))
    if problems:
        raise InvalidPipelineError(problems)
    return Manifest(tuple(pipelines.values()), config_maps, secrets)


def _data(document: Mapping[str, Any], name: str) -> tuple[dict[str, str], list[Problem]]:
    """Texts of a ConfigMap or Secret; of a Secret: `data` decoded, `stringData` over it."""
    kind, texts, problems = document["kind"], {}, []
    for section in ("data", "stringData") if kind == "Secret" else ("data",):
        found = document.get(section) or {}
        for key, value in (found if isinstance(found, Mapping) else {}).items():
            place = f"{kind} {name}: {section}.{key}"
            if not isinstance(value, str):
                problems.append(Problem(place, "must be a text", "put it in quotes"))
            elif kind == "Secret" and section == "data":
                try:
                    texts[str(key)] = base64.b64decode(value, validate=True).decode()
                except (binascii.Error, UnicodeDecodeError):
                    problems.append(Problem(place, "is not Base64 of a text", "encode it, or use stringData"))
            else:
                texts[str(key)] = value
    return texts, problems


def _name(document: Mapping[str, Any]) -> str | None:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else None


def _look_up(known: Mapping[str, Mapping[str, str]], kind: str, name: str, key: str, place: str) -> str:
    if name not in known:
        raise _invalid(place, f'no {kind} "{name}" is in the file', f"add the {kind} to the file")
    if key not in known[name]:
        raise _invalid(
            place, f'{kind} "{name}" has no key "{key}"', f"its keys: {', '.join(known[name]) or 'none'}"
        )
    return known[name][key]


def _invalid(place: str, message: str, remedy: str) -> InvalidPipelineError:
    return InvalidPipelineError([Problem(place, message, remedy)])
