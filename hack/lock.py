#!/usr/bin/env python3
"""Write the locks anew: hashed lists of Python packages, checksums of jars.

    python3 hack/lock.py [--upgrade]

Without `--upgrade` versions that are locked stay, as far as the `.in` files and poms allow.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bootstrap import CHECKOUT, cache_root
from toolchain import java_parts, prerequisites, python_envs
from toolchain.console import Console
from toolchain.store import BuildError, Job, Store

# Each list with the one that it must agree with.
LISTS = {
    "bootstrap": None,
    "build": None,
    "dev": None,
    "local": "dev",
    "core": "dev",
    "operator": "dev",
    "arrow": "dev",
    "numeric": "dev",
    "dask": "dev",
    "dask-operator": "dev",
    "model-server": "dev",
    "flink": None,
}


def main() -> None:
    """Compile all lists, then the checksums."""
    parser = argparse.ArgumentParser(description="Write the locks anew.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade = parser.parse_args().upgrade
    store = Store(cache_root(), Console())
    requirements = CHECKOUT / "requirements"
    installer = python_envs.uv(requirements)
    try:
        prerequisites.require(("venv", "java", "mvn"), store.console)
        store.install([installer])
        for name, agrees_with in LISTS.items():
            compile_list(store, store.path(installer), name, agrees_with, upgrade=upgrade)
        for name in ("kafka", "flink"):
            lock_jars(store, CHECKOUT / "hack" / name)
    except (BuildError, prerequisites.MissingPrerequisiteError) as error:
        sys.exit(f"lock: {error}")


def compile_list(store: Store, installer: Path, name: str, agrees_with: str | None, *, upgrade: bool) -> None:
    """Write requirements/`name`.txt from requirements/`name`.in."""
    store.console.say("lock", f"requirements/{name}.txt")
    command: list[str | Path] = [installer / "bin/uv", "pip", "compile", "--quiet", "--generate-hashes"]
    # The oldest 3.11 counts: Debian 12 has 3.11.2, and some packages need more there than on a newer one.
    command += ["--no-emit-index-url", "--python-version", "3.11", "--custom-compile-command", "make lock"]
    command += ["-o", f"requirements/{name}.txt", f"requirements/{name}.in"]
    command += ["-c", f"requirements/{agrees_with}.txt"] if agrees_with else []
    command += ["--upgrade"] if upgrade else []
    store.run("lock", command, cwd=CHECKOUT, env=python_envs.uv_settings(installer))


def lock_jars(store: Store, source: Path) -> None:
    """Write `source`/jars.sha256 for what `source`/pom.xml fetches."""
    store.console.say("lock", f"hack/{source.name}/jars.sha256")
    libs = Path(tempfile.mkdtemp())
    try:
        java_parts.fetch_jars(Job("lock", libs, {}, store), source, libs)
        (source / "jars.sha256").write_text(java_parts.checksums(libs))
    finally:
        shutil.rmtree(libs)


if __name__ == "__main__":
    main()
