#!/usr/bin/env python3
"""Build the container images, list them, or write them into an archive.

    python3 hack/images.py build [NAME...]     what is up to date is skipped
    python3 hack/images.py list                references, and what serves instead where images can be pulled
    python3 hack/images.py save DIR            an archive for machines without a network

Docker must answer, or be installable: see docs/cluster.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bootstrap import CHECKOUT, cache_root
from toolchain import docker_engine, images
from toolchain.console import Console
from toolchain.docker import DockerError
from toolchain.prerequisites import MissingPrerequisiteError
from toolchain.store import BuildError, Store


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description="Build, list or save the container images.")
    commands = parser.add_subparsers(dest="command", required=True)
    names = [image.name for image in images.IMAGES]
    build = commands.add_parser("build", help="build what is not up to date")
    build.add_argument("names", nargs="*", metavar="NAME", help=f"default all: {', '.join(names)}")
    commands.add_parser("list", help="print name, reference, upstream image")
    save = commands.add_parser("save", help="build, then write all into DIR/streampipeline-images.tar")
    save.add_argument("folder", type=Path, metavar="DIR")
    options = parser.parse_args()
    if unknown := sorted(set(getattr(options, "names", [])) - set(names)):
        parser.error(f"no image is called {', '.join(unknown)}: there are {', '.join(names)}")
    if options.command == "list":
        for image in images.IMAGES:
            print(f"{image.name:14} {images.reference(CHECKOUT, image.name):44} {image.upstream or '-'}")
        return
    console = Console()
    store = Store(cache_root(), console)
    try:
        docker = docker_engine.find_or_start(cache_root(), CHECKOUT / "hack/cluster/runc.py", console)
        references = images.build_all(docker, store, CHECKOUT, getattr(options, "names", []))
        if options.command == "save":
            archive = images.save(docker, references, options.folder)
            console.say("images", f"{archive} has {archive.stat().st_size / 1e6:.0f} MB")
    except (BuildError, DockerError, docker_engine.EngineError, MissingPrerequisiteError) as error:
        sys.exit(f"images: {error}")
    except KeyboardInterrupt:
        sys.exit("images: interrupted; what was complete is kept")
    for name, reference in references.items():
        console.say(name, reference)


if __name__ == "__main__":
    main()
