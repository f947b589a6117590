"""`make faults`, `make soak`: every fault on one stack, then the audit. Exit code 1: not all is right."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from faults.driver import Driver
from faults.report import Report, figures, show, too_little, verdict
from faults.scenario import Scenario
from faults.stack import SAMPLE, Stack
from faults.table import RETENTION, SCENARIOS
from streampipeline.local.runtime import ROOT
from streampipeline.local.settings import RunSettings

LATE_EVERY, BAD_EVERY = 1500, 3000
"""Among so many records one is late, one is bad."""


def main() -> int:
    """Returns the exit code."""
    options = _parser().parse_args()
    named = {scenario.name: scenario for scenario in (*SCENARIOS, RETENTION)}
    chosen: list[Scenario] = [named[name] for name in options.only] if options.only else list(SCENARIOS)
    console = Console(width=160)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f}s  {text}", highlight=False, markup=False)

    driver = Driver(itertools.cycle(chosen) if options.again else chosen, options.seconds, say)
    with Stack(_settings(options), driver) as stack:
        stack.start()
        driver.play_on(stack)
        stack.loop()
        outcome = stack.outcome()
        stack.ground.close()
    sent = (outcome.report["producer"] or {}).get("records", 0) + stack.extra_records
    report: Report = {
        "figures": figures(driver.played),
        "records": sent,
        "seconds": round(time.monotonic() - began),
        "wrong": verdict(outcome.audit, None if stack.history_begins else sent, driver.played),
        "scenarios": [one.as_dict() for one in driver.played],
        "run": outcome.report,
    }
    if not options.only:
        report["wrong"] += too_little({**report["figures"], "records": sent})
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=1) + "\n")
    show(driver.played, console)
    console.print_json(data=report["figures"])
    audit = {key: report["run"].get(key) for key in ("produced", "lost", "doubled", "differing", "unscored")}
    say(f"audit: {audit}; report: {options.report}")
    for wrong in report["wrong"]:
        say(f"NOT RIGHT: {wrong}")
    return 1 if report["wrong"] else 0


def _settings(options: argparse.Namespace) -> RunSettings:
    records = int(options.rate * (options.seconds + 600))
    return RunSettings(
        file=SAMPLE,
        workdir=options.workdir,
        rate=str(options.rate),
        duration=options.seconds + 600,
        producer_options=(
            f"--late={records // LATE_EVERY}", "--late-seconds=6", f"--poison={records // BAD_EVERY}",
        ),
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=1400, help="no fault begins later than this into the stream")
    add("--again", action="store_true", help="begin again when all were played, until the time is over")
    add(
        "--only",
        nargs="*",
        default=[],
        choices=[one.name for one in (*SCENARIOS, RETENTION)],
        help="these, in this order",
    )
    add("--rate", type=float, default=400, help="records a second")
    add("--workdir", type=Path, default=ROOT / "build/faults")
    add("--report", type=Path, default=ROOT / "build/faults.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
