"""InfluxDB 2, built from its Go module: the only place where a plain package registry offers it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from toolchain.store import BuildError, Job, Piece, hash_of

MODULE = "github.com/influxdata/influxdb/v2"
VERSION = "v2.7.12"
MODULE_SUM = "h1:m25dUSO7h6nm3zFC4v/aCNeFFmnN/mlN/uPo1T63bmk="
# Stands in for pkg-config: builds the Rust library that the query engine links to.
RUST_BUILDER = "github.com/influxdata/pkg-config@v0.2.14"


def influxd(hack: Path) -> Piece:
    """The server, `influxd`: about seven minutes on two cores, at low priority."""
    wrapper = hack / "influxd/rustc.sh"

    def build(job: Job) -> None:
        work = job.folder / "build"
        work.mkdir()
        job.say(f"building InfluxDB {VERSION} from source: about 7 minutes on 2 cores, once")
        job.run(["go", "install", RUST_BUILDER], cwd=work, env={"GOBIN": str(work)})
        source = work / "influxdb"
        # The module cache is read-only; in a copy the module's own go.mod (replacements) and go.sum hold.
        shutil.copytree(_download(job, work), source, copy_function=shutil.copyfile)
        _make_writable(source)
        command = ["nice", "-n", "10", "go", "build", "-trimpath", "-buildvcs=false"]
        command += [
            "-tags",
            "sqlite_foreign_keys,sqlite_json",
            "-ldflags",
            f"-s -w -X main.version={VERSION}",
        ]
        env = {"PKG_CONFIG": str(work / "pkg-config"), "RUSTC_WRAPPER": str(wrapper), **_rust_toolchain()}
        job.run([*command, "-o", job.folder / "influxd", "./cmd/influxd"], cwd=source, env=env)
        shutil.rmtree(work)

    inputs = (VERSION, MODULE_SUM, RUST_BUILDER, hash_of(wrapper, Path(__file__)))
    return Piece("influxd", inputs, build, tools=("go", "cargo", "cc"))


def on_path() -> Path | None:
    """An InfluxDB 2 server that is installed on this machine."""
    found = shutil.which("influxd")
    if found is None:
        return None
    answer = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    return Path(found).resolve() if re.search(r"InfluxDB v?2\.", answer) else None


def _download(job: Job, work: Path) -> Path:
    job.say("downloading")
    command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    answer = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise BuildError(f"influxd: go mod download failed:\n{answer.stdout}{answer.stderr}")
    module = json.loads(answer.stdout)
    if module["Sum"] != MODULE_SUM:
        raise BuildError(f"influxd: the checksum of {MODULE}@{VERSION} is {module['Sum']}, not {MODULE_SUM}")
    return Path(module["Dir"])


def _make_writable(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)


def _rust_toolchain() -> dict[str, str]:
    """The Rust part asks rustup for a compiler of its own choice; name the one that is installed instead."""
    if shutil.which("rustup") is None:
        return {}
    command = ["rustup", "show", "active-toolchain"]
    answer = subprocess.run(command, cwd=Path.home(), capture_output=True, text=True, check=False)
    return {"RUSTUP_TOOLCHAIN": answer.stdout.split()[0]} if answer.returncode == 0 else {}
