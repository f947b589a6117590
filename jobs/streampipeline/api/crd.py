"""The CustomResourceDefinition, generated from the typed resource.

    python -m streampipeline.api.crd                 print it
    python -m streampipeline.api.crd --write FILE    write it to a file
    python -m streampipeline.api.crd --check FILE    exit with 1 when the file is not what would be written

An API server takes a part of JSON schema only ("structural"): no references, no titles, no alternatives of
null, and one type for each field.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from streampipeline.api.cel_rules import RULES
from streampipeline.api.fields import without_nulls
from streampipeline.api.spec import GROUP, KIND, VERSION, StreamPipeline, StreamPipelineSpec
from streampipeline.api.status import StreamPipelineStatus

PLURAL = "streampipelines"
NAME = f"{PLURAL}.{GROUP}"
HEADER = "# Generated from the typed resource by `python -m streampipeline.api.crd`; edit that.\n"

_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_DROPPED = {"title", "additionalProperties"}

LISTS: Mapping[str, Mapping[str, Any]] = {
    "spec.aggregates": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    "spec.model.inputs": {"x-kubernetes-list-type": "set"},
    "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
}
"""How lists are merged, by path; all others are replaced as a whole."""

_READY = '.status.conditions[?(@.type=="Ready")]'
COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Phase", "string", ".status.phase", "Where the pipeline stands between its two engines."),
    ("Ready", "string", f"{_READY}.status", "Whether results are fresh, from whichever engine."),
    ("Active", "string", ".status.activeEngine", "Engine that results come from."),
    ("Latency", "integer", ".status.latencySeconds", "Latency of the results, in s."),
    ("Workers", "integer", ".status.workers", "Dask workers that are registered."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the pipeline was created."),
)
"""Of `kubectl get`: name, type, path, description."""
WIDE_COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Epoch", "integer", ".status.epoch", "Number of the last assignment of the work to an engine."),
    ("Frontier", "string", ".status.frontierTime", "Every window that ends by then is in the sink."),
    ("Reason", "string", f"{_READY}.reason", "Why the pipeline is ready, or is not."),
    ("FlinkLag", "integer", ".status.lag.flink", "Records that Flink has not read yet."),
    ("DaskLag", "integer", ".status.lag.dask", "Records that Dask has not read yet."),
    ("Repairs", "integer", ".status.repairsPending", "Windows that are to be recomputed."),
    ("DeadLetters", "integer", ".status.deadLetters", "Entries of the dead-letter topic."),
)
"""Of `kubectl get -o wide`, after the others."""


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition as a Kubernetes object."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "description": words, "priority": priority}
        for priority, group in enumerate((COLUMNS, WIDE_COLUMNS))
        for name, kind, path, words in group
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["sp"],
                "categories": ["streaming"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Equal parts are written out each: not every tool reads anchors."""
        return True


def manifest() -> str:
    """The definition as the text of a YAML file."""
    text: str = yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return HEADER + text


def _root() -> dict[str, Any]:
    fields = StreamPipeline.model_fields
    texts = {
        name: {"type": "string", "description": fields[attribute].description}
        for name, attribute in (("apiVersion", "api_version"), ("kind", "kind"))
    }
    return {
        "type": "object",
        "description": StreamPipeline.__doc__,
        "required": ["spec"],
        "properties": {
            **texts,
            "metadata": {"type": "object"},
            "spec": _of_model(StreamPipelineSpec, "spec"),
            "status": _of_model(StreamPipelineStatus, "status"),
        },
        "x-kubernetes-validations": [rule.as_dict() for rule in RULES[""]],
    }


def _of_model(model: type[BaseModel], path: str) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}), path)


def _structural(node: Mapping[str, Any], models: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A node of Pydantic's schema as an API server takes it."""
    node = _inlined(node, models)
    properties, items = node.pop("properties", None), node.pop("items", None)
    if node.get("type") == "integer":
        _as_integer(node)
    if node.get("x-kubernetes-preserve-unknown-fields"):
        node.pop("additionalProperties", None)
    if "default" in node:
        # Whole, although the fields have theirs: a server asks the rules of the default as it stands.
        node["default"] = without_nulls(node["default"])
        if node["default"] is None:
            del node["default"]
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    if properties is not None:
        result["properties"] = {
            name: _structural(child, models, f"{path}.{name}") for name, child in properties.items()
        }
    if items is not None:
        result["items"] = _structural(items, models, f"{path}[]")
    result.update(LISTS.get(path, {}))
    if path in RULES:
        result["x-kubernetes-validations"] = [rule.as_dict() for rule in RULES[path]]
    return result


def _inlined(node: Mapping[str, Any], models: Mapping[str, Any]) -> dict[str, Any]:
    """The node with what it refers to, and with the one alternative that is not null."""
    result = {key: value for key, value in node.items() if key not in ("$ref", "$defs", "anyOf")}
    if "$ref" in node:
        return {**_inlined(models[node["$ref"].rpartition("/")[2]], models), **result}
    if "anyOf" in node:
        (chosen,) = (one for one in node["anyOf"] if one.get("type") != "null")
        return {**_inlined(chosen, models), **result}
    return result


def _as_integer(node: dict[str, Any]) -> None:
    if "exclusiveMinimum" in node:
        node["minimum"] = node.pop("exclusiveMinimum") + 1
    node["format"] = "int32" if node.get("maximum", _INT64) <= _INT32 else "int64"
    # The format says as much, and numbers this large do not survive every reader of YAML.
    if node.get("maximum") == _INT64:
        del node["maximum"], node["minimum"]


def main() -> int:
    """Print, write or check the definition; the exit code."""
    parser = argparse.ArgumentParser(description="Generate the CustomResourceDefinition.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", metavar="FILE", type=Path, help="write it to FILE")
    action.add_argument("--check", metavar="FILE", type=Path, help="exit with 1 when FILE is stale")
    options = parser.parse_args()
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(manifest(), encoding="utf-8")
    elif options.check:
        if not options.check.exists() or options.check.read_text(encoding="utf-8") != manifest():
            print(
                f"{options.check} is stale: run python -m streampipeline.api.crd --write {options.check}",
                file=sys.stderr,
            )
            return 1
    else:
        sys.stdout.write(manifest())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
