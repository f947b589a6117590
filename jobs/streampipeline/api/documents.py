"""YAML text to documents, as strict as kubectl: a key that is there twice is an error, not a surprise."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from streampipeline.api.problems import InvalidPipelineError, Problem


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'"{key.value}" is there twice', key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text, empty ones left out. Raises InvalidPipelineError with line and column."""
    try:
        found = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        context = f" {error.context}" if error.context else ""
        raise _unreadable(place, f"{error.problem}{context}") from error
    except yaml.YAMLError as error:
        raise _unreadable("", str(error)) from error
    problems = [
        Problem(f"document {number}", "is not a mapping of fields", "begin it with apiVersion and kind")
        for number, document in enumerate(found, start=1)
        if not isinstance(document, dict)
    ]
    if problems:
        raise InvalidPipelineError(problems)
    return found


def _unreadable(place: str, message: str) -> InvalidPipelineError:
    return InvalidPipelineError(
        [Problem(place, f"is not YAML: {message}", "correct the indentation, quotes or keys there")]
    )
