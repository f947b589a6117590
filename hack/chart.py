#!/usr/bin/env python3
"""Keep the chart's copies of CustomResourceDefinitions, and write values that name images built here.

build/runtime/venv/bin/python hack/chart.py copy [--check]   ours from crds/, Dask's from its wheel
build/runtime/venv/bin/python hack/chart.py images           values for `helm -f`: the images built here
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
FILES = CHECKOUT / "charts/streampipeline/files"
DASK = "dask-kubernetes"
DASK_CRDS = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds"
VALUE_OF_IMAGE = {
    "operator": "operator",
    "flink": "flink",
    "dask": "dask",
    "model-server": "modelServer",
    "influxdb": "influxdb",
    "dask-operator": "daskOperator",
}
"""Key under `images` in the chart's values, by the image's name."""


def copies() -> dict[Path, bytes]:
    """What the chart's `files` are to hold.

    Raises:
        ValueError: a definition has labels or annotations, for which the chart's template has no place.
        importlib.metadata.PackageNotFoundError: dask-kubernetes is not installed.
    """
    found = {FILES / "crds" / path.name: path.read_bytes() for path in sorted(CHECKOUT.glob("crds/*.yaml"))}
    wheel = metadata.distribution(DASK)
    for path in wheel.files or []:
        if path.as_posix().startswith(f"{DASK_CRDS}/"):
            found[FILES / "dask-crds" / path.name] = Path(str(wheel.locate_file(path))).read_bytes()
        elif path.name == "LICENSE":
            found[FILES / "dask-crds/LICENSE"] = Path(str(wheel.locate_file(path))).read_bytes()
    for target, content in found.items():
        if target.suffix == ".yaml" and set(yaml.safe_load(content)["metadata"]) != {"name"}:
            raise ValueError(f"{target.name}: its metadata has more than a name")
    return found


def stale(wanted: Mapping[Path, bytes]) -> list[Path]:
    """Files that differ, are missing, or are there and should not be."""
    there = {path for path in FILES.rglob("*") if path.is_file()}
    differing = {
        path for path, content in wanted.items() if path not in there or path.read_bytes() != content
    }
    return sorted(differing | (there - wanted.keys()))


def image_values(references: Mapping[str, str], registry: str = "") -> dict[str, dict[str, str]]:
    """Values with which the chart runs these images, given by name, from a registry; others are left out."""
    place = f"{registry.rstrip('/')}/" if registry else ""
    names = references.keys() & VALUE_OF_IMAGE.keys()
    return {"images": {VALUE_OF_IMAGE[name]: place + references[name] for name in sorted(names)}}


def main() -> None:
    """Copy, check, or print values."""
    parser = argparse.ArgumentParser(description="Keep the chart's copies; print values.")
    commands = parser.add_subparsers(dest="command", required=True)
    copy = commands.add_parser("copy", help="copy the CustomResourceDefinitions into the chart")
    copy.add_argument("--check", action="store_true", help="change nothing; exit 1 when a copy is stale")
    values = commands.add_parser("images", help="print values with the references of the images built here")
    values.add_argument("--registry", default="", help="host and path that they were pushed to")
    options = parser.parse_args()
    if options.command == "images":
        from toolchain import images

        references = {image.name: images.reference(CHECKOUT, image.name) for image in images.IMAGES}
        print(json.dumps(image_values(references, options.registry), indent=2))
        return
    wanted = copies()
    changed = stale(wanted)
    if options.check and changed:
        sys.exit(f"chart: stale, run hack/chart.py copy: {', '.join(path.name for path in changed)}")
    for path in changed:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
        else:
            path.unlink()
        print(f"chart: {path.relative_to(CHECKOUT)}")


if __name__ == "__main__":
    main()
