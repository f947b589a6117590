"""Run schedules: `python -m tests.simulator [--schedules N]`; or one, with its trace: `--seed SEED`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulator.world import Verdict, run


def replay(seed: int) -> str:
    """The command that runs a schedule again."""
    return f"PYTHONPATH=.:jobs:audit:operator build/runtime/venv/bin/python -m tests.simulator --seed {seed}"


def told(verdict: Verdict, *, trace: bool) -> str:
    """A schedule's verdict for people."""
    lines = [*verdict.trace] if trace else []
    lines += [f"seed {verdict.seed}: {problem}" for problem in verdict.problems]
    if not verdict.fine:
        lines.append(f"run again: {replay(verdict.seed)}")
    return "\n".join(lines)


def main() -> int:
    """The command line. Returns the exit code: 0, all are fine."""
    parser = argparse.ArgumentParser(description="Run schedules of the simulator.")
    parser.add_argument("--schedules", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one only, with its trace")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        verdict = run(arguments.seed)
        print(told(verdict, trace=True))
        return 0 if verdict.fine else 1
    began, failed, switches, windows, virtual = time.process_time(), 0, 0, 0, 0.0
    for seed in range(arguments.first, arguments.first + arguments.schedules):
        verdict = run(seed)
        switches += verdict.switches
        virtual += verdict.virtual_seconds
        windows += verdict.report.windows_expected if verdict.report else 0
        if not verdict.fine:
            failed += 1
            print(told(verdict, trace=False), flush=True)
    print(
        f"{arguments.schedules} schedules, {failed} failed: {switches} takeovers, {windows} windows judged, "
        f"{virtual / 3600:.1f} h of virtual time in {time.process_time() - began:.0f} s of processor time"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
