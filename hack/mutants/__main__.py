"""`python -m mutants [--only NAME ...] [--all-tests] [--jobs N] [--list]`.

First the selected tests run without any change: all must pass. Then each mutant gets a copy of its own.
Prints a Markdown table. Exit codes: 0 all caught, 1 one survived, 2 no verdict (a stale mutant, tests that
fail without it, or that cannot run with it).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import trial
from mutants.catalogue import MUTANTS
from mutants.mutant import Mutant, StaleMutantError
from mutants.trial import Verdict

ALL_TESTS = ("tests/unit", "tests/property", "tests/integration")
CAUGHT, SURVIVED, NO_VERDICT = 0, 1, 2


def tried(mutant: Mutant, tests: Sequence[str]) -> Verdict:
    """The verdict of tests on one mutant. Raises StaleMutantError."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        trial.copy_to(copy)
        mutant.apply(copy)
        verdict = trial.run(copy, tests)
    word = "caught" if verdict.failed else "SURVIVED" if verdict.ran else "NO VERDICT"
    print(f"{word:10}  {mutant.name}  {verdict.seconds:.1f} s", file=sys.stderr, flush=True)
    return verdict


def unchanged(tests: Sequence[str]) -> Verdict:
    """The verdict of tests on the code as it is."""
    with tempfile.TemporaryDirectory(prefix="mutant-none-") as folder:
        copy = Path(folder)
        trial.copy_to(copy)
        return trial.run(copy, tests, to_the_end=True)


def row(mutant: Mutant, verdict: Verdict) -> str:
    """One row of the table."""
    by = f"`{verdict.failed[0]}`" if verdict.failed else "**nothing**" if verdict.ran else "**no verdict**"
    cells = (f"`{mutant.name}`", mutant.rule, mutant.breaks, by, f"{verdict.seconds:.1f}")
    return f"| {' | '.join(cells)} |"


def outcome(verdicts: Sequence[Verdict]) -> int:
    """The exit code."""
    if any(not verdict.ran for verdict in verdicts):
        return NO_VERDICT
    return CAUGHT if all(verdict.failed for verdict in verdicts) else SURVIVED


def main() -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description="Are mutants caught by the tests?")
    parser.add_argument("--only", action="append", metavar="NAME", help="this mutant; may be given again")
    parser.add_argument("--all-tests", action="store_true", help="the whole suite, not the selected tests")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (2)")
    parser.add_argument("--list", action="store_true", help="only list them")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not arguments.only or mutant.name in arguments.only]
    if unknown := set(arguments.only or ()) - {mutant.name for mutant in chosen}:
        parser.error(f"no mutant {', '.join(sorted(unknown))}")
    if arguments.list:
        print("\n".join(f"{mutant.name:32} {mutant.rule:10} {mutant.breaks}" for mutant in chosen))
        return CAUGHT
    try:
        for mutant in chosen:
            mutant.mutated(trial.CHECKOUT)
    except StaleMutantError as stale:
        print(stale, file=sys.stderr)
        return NO_VERDICT
    began = time.monotonic()
    selections = [ALL_TESTS if arguments.all_tests else mutant.tests for mutant in chosen]
    before = unchanged(sorted({test for tests in selections for test in tests}))
    print(f"{before.ran} tests without a mutant: {before.seconds:.0f} s", file=sys.stderr, flush=True)
    if before.failed or not before.ran:
        print(before.said, file=sys.stderr)
        return NO_VERDICT
    with ThreadPoolExecutor(arguments.jobs) as pool:
        verdicts = list(pool.map(tried, chosen, selections))
    print("| mutant | rule | what it breaks | caught by | s |\n|---|---|---|---|---|")
    print("\n".join(map(row, chosen, verdicts)))
    caught = sum(bool(verdict.failed) for verdict in verdicts)
    print(f"\n{caught} of {len(chosen)} caught, {time.monotonic() - began:.0f} s in all")
    for mutant, verdict in zip(chosen, verdicts, strict=True):
        if not verdict.failed:
            print(f"\n{mutant.name}: {mutant.breaks}\n{verdict.said}", file=sys.stderr)
    return outcome(verdicts)


if __name__ == "__main__":
    sys.exit(main())
