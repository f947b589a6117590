"""The command line: `python -m streampipeline_audit CONFIG.json`."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from streampipeline.jobconfig import JobConfig
from streampipeline_audit.errors import AuditError
from streampipeline_audit.plan import PendingLate
from streampipeline_audit.report import KINDS, AuditReport, iso
from streampipeline_audit.run import AuditRequest, audit

EXIT_EXACT = 0
EXIT_NOT_EXACT = 1
EXIT_NOT_MADE = 2
_COUNTS = (
    "produced",
    "counted",
    "dead_lettered",
    "pending",
    "windows_expected",
    "lost",
    "doubled",
    "differing",
)


def main(arguments: list[str] | None = None) -> int:
    """Make one audit and print it. Returns the exit status; wrong usage raises SystemExit(2)."""
    options = _parser().parse_args(arguments)
    try:
        report = audit(_request(options))
    except AuditError as error:
        return _not_made(str(error))
    except Exception:
        # Python's own status for a crash is 1, which here says that results are wrong.
        traceback.print_exc()
        return _not_made("it failed, see above")
    if options.output == "json":
        sys.stdout.write(report.as_json() + "\n")
    else:
        print_report(report, Console())
    return EXIT_EXACT if report.clean else EXIT_NOT_EXACT


def print_report(report: AuditReport, console: Console) -> None:
    """A sentence, the counts, and the examples of what is wrong."""
    console.print(report.verdict(), style="green" if report.clean else "bold red", highlight=False)
    table = Table(show_header=False)
    for name in _COUNTS:
        table.add_row(name.replace("_", "-"), f"{getattr(report, name):,}")
    table.add_row("unscored", f"{report.unscored:,}")
    table.add_row("predictions checked", f"{report.predictions_checked:,}")
    table.add_row("windows by source", ", ".join(f"{k} {n:,}" for k, n in sorted(report.by_source.items())))
    table.add_row("frontier", "none" if report.frontier is None else iso(report.frontier))
    table.add_row("records/s", f"{report.records_per_second:,}")
    console.print(table)
    for kind in KINDS:
        for example in report.examples[kind]:
            where = " ".join(str(example[part]) for part in ("key", "window") if example[part])
            line = f"{kind}: {where} expected {example['expected']}; found {example['found']}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _not_made(why: str) -> int:
    sys.stderr.write(f"The audit could not be made: {why}\n")
    return EXIT_NOT_MADE


def _request(options: argparse.Namespace) -> AuditRequest:
    try:
        config = JobConfig.load(options.config)
    except OSError as error:
        raise AuditError(f"{options.config} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise AuditError(f"{options.config} is no job configuration: {field}: {first['msg']}") from error
    return AuditRequest(
        config=config,
        model_file=options.model_file,
        frontier=options.frontier,
        until_offsets=options.until_offsets,
        pending_late=options.pending_late,
        token_file=options.token_file,
        disorder_seconds=options.disorder_seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streampipeline_audit",
        description="Recompute every window from the topic and compare it with what is in the sink.",
        epilog="Exit status: 0 exact; 1 something is lost, doubled or differing; 2 no audit could be made.",
    )
    parser.add_argument(
        "config", type=Path, metavar="CONFIG.json", help="the file of any job of the pipeline"
    )
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--model-file", type=Path, metavar="model.txt", help="make the predictions again")
    parser.add_argument(
        "--until-offsets", type=_offsets, metavar="0:OFFSET,1:OFFSET", help="end offset of partitions"
    )
    parser.add_argument("--frontier", type=int, metavar="MS", help="judge windows that end by it (ms, UTC)")
    parser.add_argument(
        "--pending-late",
        type=PendingLate,
        choices=list(PendingLate),
        default=PendingLate.OUTSTANDING,
        help="late records that a window may lack without having lost them (default: %(default)s)",
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="a token that may read InfluxDB")
    parser.add_argument(
        "--disorder-seconds", type=int, metavar="N", help="how far timestamps run backwards in a partition"
    )
    return parser


def _offsets(text: str) -> dict[int, int]:
    try:
        pairs = (pair.split(":") for pair in text.split(","))
        return {int(partition): int(offset) for partition, offset in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError("expected PARTITION:OFFSET,...") from error
