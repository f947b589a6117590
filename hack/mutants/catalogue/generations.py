"""Mutants of docs/generations.md: each window has one definition and one model."""

from __future__ import annotations

from mutants.mutant import Mutant

GENERATIONS_FILE = "jobs/streampipeline/decide/generations.py"
DECIDE = "tests/unit/test_decide_generations.py::"
GROUND = "tests/unit/test_engine_ground.py::"
TOLD = "tests/unit/test_generations.py::"
AUDIT = "tests/unit/test_audit_generations.py::"

MUTANTS = (
    Mutant(
        name="no-fence-for-a-generation",
        rule="10",
        breaks="a generation begins while the engine of the one before may still write into its windows",
        file=GENERATIONS_FILE,
        old="    elif state.wanted is None and not may_write(turn.observed, state):\n",
        new="    elif state.wanted is None:\n",
        tests=(DECIDE + "test_an_edit_stops_the_engine_and_nothing_starts_before_it_is_fenced",),
    ),
    Mutant(
        name="generation-without-its-models-version",
        rule="10",
        breaks="windows of one generation are scored by two models",
        file="jobs/streampipeline/score.py",
        old='        if self._version not in ("", reply.model_version):\n',
        new="        if False:\n",
        tests=("tests/unit/test_score.py::test_an_answer_of_another_version_is_no_answer",),
    ),
    Mutant(
        name="old-points-stay-in-a-new-generation",
        rule="10",
        breaks="points of the generation before stand in the new one's windows, with fields it does not have",
        file="jobs/streampipeline/engine_ground.py",
        old="        if action.clear and isinstance(plan, StartPlan):\n",
        new="        if False:\n",
        tests=(GROUND + "test_what_stands_above_a_new_generations_boundary_is_removed_before_it_begins",),
    ),
    Mutant(
        name="generation-starts-at-the-origin",
        rule="5",
        breaks="an engine of a generation without progress computes the windows of the ones before anew",
        file="jobs/streampipeline/planner.py",
        old="            begin = action.begin or origin\n",
        new="            begin = origin\n",
        tests=(GROUND + "test_a_generation_without_progress_starts_where_it_began",),
    ),
    Mutant(
        name="repair-crosses-generations",
        rule="10",
        breaks="a repair computes windows of the next generation with the definition of the one before",
        file="jobs/streampipeline/repair_plan.py",
        old="        last = min(last, align_down(until - size, slide))\n",
        new="        pass\n",
        tests=("tests/unit/test_repair_plan.py::test_spans_of_generations_divide_a_request",),
    ),
    Mutant(
        name="latency-of-a-change-switches",
        rule="10",
        breaks="the latency that a change of generation leaves is taken for a slow engine",
        file=GENERATIONS_FILE,
        old="        turn.set_timers(settling=turn.now)\n",
        new="        pass\n",
        tests=(DECIDE + "test_latency_of_the_change_triggers_nothing_and_later_latency_does",),
    ),
    Mutant(
        name="refusal-of-a-repair-unsaid",
        rule="10",
        breaks="a late record that only the generation of its window refuses is nowhere",
        file="jobs/streampipeline/refusals.py",
        old="    if span.until is None:\n",
        new="    if True:\n",
        tests=(TOLD + "test_a_record_that_only_its_windows_generation_refuses_gets_its_dead_letter",),
    ),
    Mutant(
        name="audit-overlooks-another-generations-values",
        rule="7",
        breaks="the audit does not see a value of another generation beside a window's own",
        file="audit/streampipeline_audit/windows.py",
        old="        for name in sorted(self.foreign):\n",
        new="        for name in ():\n",
        tests=(AUDIT + "test_what_is_not_the_generations_own_differs",),
    ),
)
