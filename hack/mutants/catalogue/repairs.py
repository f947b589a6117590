"""Mutants of repairs: when they may run, what they read, and what they remember."""

from __future__ import annotations

from mutants.mutant import Mutant

EFFECTS_FILE = "jobs/streampipeline/decide/effects.py"
PLAN_FILE = "jobs/streampipeline/repair_plan.py"
REPAIR_FILE = "jobs/streampipeline/repair.py"
SPAN_FILE = "jobs/streampipeline/repair_span.py"
DECIDE = "tests/unit/test_decide.py::"
PLAN = "tests/unit/test_repair_plan.py::"
GROUND = "tests/unit/test_engine_ground.py::"
WHEN = DECIDE + "test_repairs_run_only_while_one_engine_may_write_and_has_reached_the_frontier"
REPAIRED = "tests/unit/test_repair_pass.py::"

MUTANTS = (
    Mutant(
        name="repair-during-overlap",
        rule="6",
        breaks="windows are repaired that a second engine may still overwrite",
        file=EFFECTS_FILE,
        old="    if may_write(observed, state) != {(live.assignment.engine, live.assignment.epoch)}:\n",
        new="    if False:\n",
        tests=(WHEN, DECIDE + "test_no_repair_while_two_engines_may_write"),
    ),
    Mutant(
        name="repair-before-the-fence",
        rule="10",
        breaks="windows are repaired that a retired engine may still overwrite",
        file="jobs/streampipeline/decide/facts.py",
        old="for x in state.retiring if not x.fenced}",
        new="for x in state.retiring if False}",
        tests=(DECIDE + "test_no_repair_before_a_retired_engine_is_fenced",),
    ),
    Mutant(
        name="repair-before-own-progress",
        rule="6",
        breaks="windows are repaired that the running engine has not written yet, and will overwrite",
        file=EFFECTS_FILE,
        old="    if until is None or own_frontier(observed, state, live) < until:\n",
        new="    if until is None:\n",
        tests=(WHEN,),
    ),
    Mutant(
        name="rewind-forgotten",
        rule="6",
        breaks="what a retired engine has overwritten since its start is not repaired again",
        file="jobs/streampipeline/decide/decide.py",
        old="            _rewind(turn, retiring.assignment.repairs_offset)\n",
        new="",
        tests=(DECIDE + "test_retired_engines_are_stopped_and_fenced_until_both_are_seen",),
    ),
    Mutant(
        name="rewind-to-the-newest",
        rule="6",
        breaks="of two engines retired at once only the later one's repairs are made again",
        file="jobs/streampipeline/decide/decide.py",
        old="        offset = min(offset, before.offset)\n",
        new="        offset = max(offset, before.offset)\n",
        tests=(DECIDE + "test_two_retirements_rewind_to_the_earlier_offset",),
    ),
    Mutant(
        name="rewind-skips-forward",
        rule="6",
        breaks="a rewind behind a slower repair passes requests that are still to be done",
        file="jobs/streampipeline/planner.py",
        old="        if done is not None and offset < done:\n",
        new="        if done is not None:\n",
        tests=(GROUND + "test_a_rewind_goes_back_only",),
    ),
    Mutant(
        name="repair-goes-on-during-rewind",
        rule="6",
        breaks="a pass that runs commits over the rewind",
        file="jobs/streampipeline/engine_ground.py",
        old="            self._place.end_repair()\n            if self._place.repairing():\n",
        new="            if False:\n",
        tests=(GROUND + "test_a_rewind_goes_back_only",),
    ),
    Mutant(
        name="slice-without-max-future",
        rule="6",
        breaks="a repair misses records that were ahead of their time",
        file=PLAN_FILE,
        old="        starts.first - max_future_ms - disorder_ms,\n",
        new="        starts.first - disorder_ms,\n",
        tests=(PLAN + "test_a_slice_holds_every_record_that_may_count",),
    ),
    Mutant(
        name="slice-without-lateness",
        rule="6",
        breaks="a repair misses the late records for which it was asked",
        file=PLAN_FILE,
        old="        starts.last + window.size_ms + max_lateness_ms + disorder_ms,\n",
        new="        starts.last + window.size_ms + disorder_ms,\n",
        tests=(PLAN + "test_a_slice_holds_every_record_that_may_count",),
    ),
    Mutant(
        name="slice-without-disorder",
        rule="9",
        breaks="a repair misses records whose timestamps ran back",
        file=PLAN_FILE,
        old="        starts.first - max_future_ms - disorder_ms,\n",
        new="        starts.first - max_future_ms,\n",
        tests=(PLAN + "test_a_slice_reaches_further_by_the_disorder_at_both_ends",),
    ),
    Mutant(
        name="repair-before-the-origin",
        rule="3",
        breaks="a repair writes windows of which the pipeline has only a part",
        file=PLAN_FILE,
        old="    first = max(align_up(start - size + 1, slide), align_up(after - size + 1, slide))\n",
        new="    first = align_up(start - size + 1, slide)\n",
        tests=(PLAN + "test_windows_of_a_request",),
    ),
    Mutant(
        name="repair-above-the-frontier",
        rule="6",
        breaks="a repair writes windows that the engine owns",
        file=PLAN_FILE,
        old="    return starts is None or starts.last + window.size_ms <= until\n",
        new="    return True\n",
        tests=(PLAN + "test_ready_when_the_last_window_ends_by_until",),
    ),
    Mutant(
        name="cut-slice-repaired",
        rule="6",
        breaks="a window whose records retention has deleted is overwritten by what is left of it",
        file=PLAN_FILE,
        old="            result = max(result, first.t + 1)\n",
        new="            pass\n",
        tests=(PLAN + "test_slices_that_retention_has_cut",),
    ),
    Mutant(
        name="repair-without-late-records",
        rule="6",
        breaks="a repair makes the engine's value again, not the final one",
        file=SPAN_FILE,
        old="include_late=True",
        new="include_late=False",
        tests=(REPAIRED + "test_late_records_are_in_a_repaired_value",),
    ),
    Mutant(
        name="create-time-slice-by-time",
        rule="6",
        breaks="on a CreateTime topic a repair stops at the first record behind the slice",
        file=SPAN_FILE,
        old="        if self._config.timestamp_type is TimestampType.LOG_APPEND_TIME:\n",
        new="        if True:\n",
        tests=(REPAIRED + "test_on_a_create_time_topic_a_slice_goes_to_the_end",),
    ),
    Mutant(
        name="published-without-a-new-partition",
        rule="5",
        breaks="windows that were published while nobody read a new partition stay as they are",
        file="jobs/streampipeline/planner.py",
        old="start.uncounted_of(self._config, new, boundary) if new else None",
        new="None",
        tests=(GROUND + "test_what_was_published_without_a_new_partition_is_repaired",),
    ),
    Mutant(
        name="requests-committed-undone",
        rule="6",
        breaks="a request that is not ready yet is forgotten",
        file=REPAIR_FILE,
        old="batch[-1][0] + 1 if not_ready is None else not_ready",
        new="batch[-1][0] + 1",
        tests=(REPAIRED + "test_what_is_not_ready_stays_asked_for",),
    ),
)
