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
GO = (1, 23)
GO_TOOLCHAIN = "v0.0.1-go1.23.9"  # what the module names itself
RUST_BUILDER = "github.com/influxdata/pkg-config@v0.2.14"


def influxd(hack: Path) -> Piece:
    """The server, `influxd`: about seven minutes on two cores, at low priority."""
    wrapper = hack / "influxd/rustc.sh"

    def build(job: Job) -> None:
        work = job.folder / "build"
        work.mkdir()
        job.say(f"building InfluxDB {VERSION} from source: about 7 minutes on 2 cores, once")
        go = _go(job, work)
        job.run([go, "install", RUST_BUILDER], cwd=work, env={"GOBIN": str(work)})
        source = work / "influxdb"
        # The module cache is read-only; in a copy the module's own go.mod (replacements) and go.sum hold.
        module = _download(go, MODULE, VERSION, work, MODULE_SUM)
        shutil.copytree(module, source, copy_function=shutil.copyfile)
        _make_writable(source)
        command = ["nice", "-n", "10", go, "build", "-trimpath", "-buildvcs=false"]
        command += ["-tags", "sqlite_foreign_keys,sqlite_json"]
        command += ["-ldflags", f"-s -w -X main.version={VERSION}"]
        env = {"PKG_CONFIG": str(work / "pkg-config"), "RUSTC_WRAPPER": str(wrapper), **_rust_toolchain()}
        env["PATH"] = f"{Path(go).parent}{os.pathsep}{os.environ['PATH']}"  # the Rust builder asks `go` too
        job.run([*command, "-o", job.folder / "influxd", "./cmd/influxd"], cwd=source, env=env)
        shutil.rmtree(work)

    inputs = (VERSION, MODULE_SUM, RUST_BUILDER, hash_of(wrapper, Path(__file__)))
    return Piece("influxd", inputs, build, tools=("go", "cargo", "cc", "pkg-config"))


def on_path() -> Path | None:
    """An InfluxDB 2 server that is installed on this machine."""
    found = shutil.which("influxd")
    if found is None:
        return None
    answer = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    return Path(found).resolve() if re.search(r"InfluxDB v?2\.", answer) else None


def _go(job: Job, work: Path) -> str:
    """The Go command: the machine's, or a newer one that the machine's fetches as a module."""
    go = shutil.which("go") or "go"
    found = re.search(
        r"go(\d+)\.(\d+)", subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    )
    if found and tuple(map(int, found.groups())) >= GO:
        return go
    machine = subprocess.run([go, "env", "GOOS", "GOARCH"], capture_output=True, text=True, check=True)
    version = f"{GO_TOOLCHAIN}.{'-'.join(machine.stdout.split())}"
    job.say(f"fetching Go {GO_TOOLCHAIN.removeprefix('v0.0.1-go')}")
    root = _download(go, "golang.org/toolchain", version, work)
    for program in [*(root / "bin").iterdir(), *(root / "pkg/tool").rglob("*")]:
        program.chmod(0o755)  # modules carry no modes; the go command does the same when it fetches one
    return str(root / "bin/go")


def _download(go: str, module: str, version: str, work: Path, checksum: str | None = None) -> Path:
    """The folder of a module in Go's cache; without `checksum` only Go's checksum database vouches."""
    command = [go, "mod", "download", "-json", f"{module}@{version}"]
    answer = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise BuildError(f"influxd: {' '.join(command)} failed:\n{answer.stdout}{answer.stderr}")
    found = json.loads(answer.stdout)
    if checksum not in (None, found["Sum"]):
        raise BuildError(f"influxd: the checksum of {module}@{version} is {found['Sum']}, not {checksum}")
    return Path(found["Dir"])


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
