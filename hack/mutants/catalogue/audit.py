"""Mutants of the audit: a defect that it would not see."""

from __future__ import annotations

from mutants.mutant import Mutant

CORE = "tests/unit/test_audit_core.py"
CORE_FILE = "audit/streampipeline_audit/core.py"

MUTANTS = (
    Mutant(
        name="dead-letter-not-counted",
        rule="7",
        breaks="records that were refused and dead-lettered are in no column of the balance",
        file=CORE_FILE,
        old="        report.dead_lettered += int((refused & lettered).sum())\n",
        new="",
        tests=(CORE,),
    ),
    Mutant(
        name="missing-dead-letter-not-lost",
        rule="7",
        breaks="a refused record without a dead letter is nobody's loss",
        file=CORE_FILE,
        old="        report.lost += int(due.sum())\n",
        new="",
        tests=(CORE,),
    ),
    Mutant(
        name="second-point-not-doubled",
        rule="7",
        breaks="a second point of one address is not seen: an engine as a tag",
        file=CORE_FILE,
        old="                    self.report.doubled += max(1, point.n)\n",
        new="",
        tests=(CORE,),
    ),
    Mutant(
        name="hash-not-compared",
        rule="7",
        breaks="one record counted twice in place of another is not seen",
        file="audit/streampipeline_audit/windows.py",
        old='            "hash": wrap_int64(tally.hash),\n',
        new="",
        tests=(CORE,),
    ),
    Mutant(
        name="missing-window-not-lost",
        rule="7",
        breaks="a window that should be in the sink and is not goes unnoticed",
        file=CORE_FILE,
        old="                self.report.lost += missing\n",
        new="                pass\n",
        tests=(CORE,),
    ),
)
