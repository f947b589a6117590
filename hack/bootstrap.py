#!/usr/bin/env python3
"""Install all that the project needs: into a cache outside the checkout, with links to it in `build/runtime`.

    python3 hack/bootstrap.py [--with dev] [--with influxd] [--with kubernetes] [--with helm] [--with kind]

Only a Python interpreter is needed to run this. What is there already is not touched: a second run takes no
time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON = (3, 11)
EXTRAS = ("dev", "helm", "influxd", "kind", "kubernetes")

if sys.version_info[:2] != PYTHON:
    wanted = "python{}.{}".format(*PYTHON)
    if shutil.which(wanted) is None:
        sys.exit(
            f"bootstrap: {wanted} is needed (PyFlink does not run on every version); this is {sys.version}"
        )
    os.execvp(wanted, [wanted, *sys.argv])  # noqa: S606 - there is no shell to start

from toolchain import influxd, java_parts, kubernetes, prerequisites, python_envs  # noqa: E402
from toolchain.console import Console  # noqa: E402
from toolchain.store import BuildError, Piece, Store  # noqa: E402


def main() -> None:
    """Install, link, and say how long it took."""
    parser = argparse.ArgumentParser(description="Install all that the project needs.")
    parser.add_argument("--with", dest="extras", action="append", default=[], choices=EXTRAS)
    extras = set(parser.parse_args().extras) | ({"dev"} if os.environ.get("CI") else set())
    console = Console()
    store = Store(cache_root(), console)
    try:
        links = install(store, extras)
    except (BuildError, prerequisites.MissingPrerequisiteError) as error:
        sys.exit(f"bootstrap: {error}")
    except KeyboardInterrupt:
        sys.exit("bootstrap: interrupted; what was complete is kept")
    link(CHECKOUT / "build/runtime", links)
    console.say("bootstrap", f"build/runtime has {', '.join(sorted(links))}")


def cache_root() -> Path:
    """The cache folder, shared by all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streampipeline"


def install(store: Store, extras: Collection[str]) -> dict[str, Path]:
    """Build what is missing; return the folder or program for each name in `build/runtime`."""
    hack, requirements = CHECKOUT / "hack", CHECKOUT / "requirements"
    installer = python_envs.uv(requirements)
    main_venv = python_envs.environment("venv-dev", requirements / "dev.txt", installer)
    if "dev" not in extras and not store.has(
        main_venv
    ):  # the larger one serves as well, at the same versions
        main_venv = python_envs.environment("venv", requirements / "local.txt", installer)
    flink_venv = python_envs.environment("flink-venv", requirements / "flink.txt", installer)
    kafka = java_parts.kafka(hack)
    flink = java_parts.flink_home(flink_venv, java_parts.flink_jars(hack), java_parts.flink_decoder(CHECKOUT))
    pieces = {"venv": main_venv, "flink-venv": flink_venv, "kafka": kafka, "flink": flink}

    wanted: list[Piece] = list(pieces.values())
    programs: dict[str, Path] = {}
    server = influxd.influxd(hack)
    if store.has(server):
        programs["influxd"] = store.path(server) / "influxd"
    elif (found := influxd.on_path()) is not None:
        programs["influxd"] = found
    elif "influxd" in extras:
        wanted.append(server)
        programs["influxd"] = store.path(server) / "influxd"

    programs |= _go_programs(store, hack, extras, wanted)
    missing = store.missing(wanted)
    # Java is needed to run what is installed, so that its absence is worth a word even when all is there.
    no_java = [] if shutil.which("java") else ["java"]
    prerequisites.require([*no_java, *(tool for piece in missing for tool in piece.tools)], store.console)
    store.install(wanted)
    return {name: store.path(piece) for name, piece in pieces.items()} | programs


def _go_programs(store: Store, hack: Path, extras: Collection[str], wanted: list[Piece]) -> dict[str, Path]:
    """The links to what is there already or asked for; the pieces asked for are added to `wanted`."""
    links: dict[str, Path] = {}
    for name, piece, program in (
        ("kubernetes", kubernetes.kubernetes(hack), ""),
        ("kind", kubernetes.kind(hack), "kind"),
        ("helm", kubernetes.helm(), "helm"),
    ):
        if name in extras:
            wanted.append(piece)
        if name in extras or store.has(piece):
            links[name] = store.path(piece) / program
    return links


def link(folder: Path, links: dict[str, Path]) -> None:
    """Point `folder`/name at each target; a link is replaced in one step, so that nobody finds it absent."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in links.items():
        place = folder / name
        if place.is_symlink() and place.readlink() == target:
            continue
        fresh = folder / f".{name}.{os.getpid()}"
        fresh.symlink_to(target)
        fresh.replace(place)


if __name__ == "__main__":
    main()
