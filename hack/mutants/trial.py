"""Trials: a copy of the checkout, a selection of tests run there, and what became of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mutants.mutant import MAVEN

CHECKOUT = Path(__file__).resolve().parents[2]
ROOTS = ("jobs", "audit", "operator", "hack")
TIMEOUT_SECONDS = 1_800
COLLECTION = "collection failure"
"""pytest's word for a file that cannot be imported: no test of it has judged anything."""


@dataclass(frozen=True)
class Verdict:
    """Of one selection of tests in one copy."""

    ran: int
    """Tests that came to an end."""
    failed: tuple[str, ...]
    """Names of those that failed."""
    seconds: float
    said: str
    """The last lines, for people."""


def copy_to(target: Path) -> None:
    """What git knows of, as it stands in the working tree, and the installed pieces by a link."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).exists():  # removed, but not yet so committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name)
    (target / "build").mkdir()
    (target / "build/runtime").symlink_to(CHECKOUT / "build/runtime", target_is_directory=True)


def run(copy: Path, tests: Sequence[str], *, to_the_end: bool = False) -> Verdict:
    """Run tests in a copy, up to the first failure unless `to_the_end`; Java's first."""
    classes = [test.removeprefix(MAVEN) for test in tests if test.startswith(MAVEN)]
    others = [test for test in tests if not test.startswith(MAVEN)]
    verdicts = []
    if classes:
        verdicts.append(_maven(copy, classes))
    if others and not (verdicts and verdicts[0].failed):
        verdicts.append(_pytest(copy, others, to_the_end))
    return Verdict(
        ran=sum(verdict.ran for verdict in verdicts),
        failed=tuple(name for verdict in verdicts for name in verdict.failed),
        seconds=sum(verdict.seconds for verdict in verdicts),
        said="\n".join(verdict.said for verdict in verdicts),
    )


def _pytest(copy: Path, tests: Sequence[str], to_the_end: bool) -> Verdict:
    report = copy / "build/report.xml"
    stop = [] if to_the_end else ["--exitfirst"]
    # Examples that Hypothesis draws are the same in each run: a mutant is caught always or never.
    options = ["-q", "--hypothesis-seed=0", f"--junit-xml={report}", *stop]
    return _judged(copy, [sys.executable, "-m", "pytest", *options, *tests], [report])


def _maven(copy: Path, classes: Sequence[str]) -> Verdict:
    options = ["-B", "-o", "-q", "-Dstyle.color=never", "-f", "flink-decoder/pom.xml"]
    reports = copy / "flink-decoder/target/surefire-reports"
    return _judged(copy, ["mvn", *options, f"-Dtest={','.join(classes)}", "test"], [reports])


def _judged(copy: Path, command: Sequence[str], reports: Sequence[Path]) -> Verdict:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(copy / root) for root in ROOTS),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / "build/hypothesis"),
    }
    began = time.monotonic()
    try:
        done = subprocess.run(
            list(command),
            cwd=copy,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        said = done.stdout
    except subprocess.TimeoutExpired:
        return Verdict(0, (), time.monotonic() - began, f"no end within {TIMEOUT_SECONDS} s")
    ran, failed = _read(reports)
    return Verdict(ran, failed, time.monotonic() - began, "\n".join(said.splitlines()[-25:]))


def _read(reports: Sequence[Path]) -> tuple[int, tuple[str, ...]]:
    """Tests that ran, and the names of those that failed, of reports in JUnit's format."""
    ran, failed = 0, []
    files = [file for path in reports for file in (path.glob("*.xml") if path.is_dir() else [path])]
    for file in filter(Path.exists, files):
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314  # written by our own tests
            bad = [child for child in case if child.tag in ("failure", "error")]
            if any(child.get("message") == COLLECTION for child in bad):
                continue
            ran += case.find("skipped") is None
            if bad:
                failed.append(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}")
    return ran, tuple(failed)
