"""Mutants of decisions, of the two loops that carry them out, and of fences."""

from __future__ import annotations

from mutants.mutant import Mutant

DECIDE = "tests/unit/test_decide.py::"
GROUND = "tests/unit/test_engine_ground.py::"

MUTANTS = (
    Mutant(
        name="epoch-not-persisted-on-a-cluster",
        rule="Decisions",
        breaks="the operator acts before `.status` holds what it decided",
        file="operator/streampipeline_operator/reconcile.py",
        old="        # Store, then apply: what is done must be known to whoever comes after\n",
        new="        stage.apply(decision.actions)\n",
        tests=("tests/unit/test_operator_reconcile.py",),
    ),
    Mutant(
        name="epoch-not-persisted-on-one-machine",
        rule="Decisions",
        breaks="a run acts before `state.json` holds what it decided",
        file="jobs/streampipeline/local/run.py",
        old="""                if worth_writing(state, decision.state):
                    self._store(decision.state)
                state = decision.state
                self._tell(decision.events, now)
                executor.apply(decision.actions)
""",
        new="""                executor.apply(decision.actions)
                if worth_writing(state, decision.state):
                    self._store(decision.state)
                state = decision.state
                self._tell(decision.events, now)
""",
        tests=("tests/unit/test_local_loop.py",),
    ),
    Mutant(
        name="stale-operator-acts",
        rule="Decisions",
        breaks="an operator that another one has superseded writes its decision over the other's",
        file="operator/streampipeline_operator/status_store.py",
        old="        if _state(fresh) != self._known:\n",
        new="        if False:\n",
        tests=("tests/unit/test_operator_status_store.py",),
    ),
    Mutant(
        name="epochs-by-count-only",
        rule="10",
        breaks="a recreated pipeline begins again at epoch 1, and does not outrank its past",
        file="jobs/streampipeline/decide/turn.py",
        old="epoch = max(self.state.epoch + 1, self.now // 1000)",
        new="epoch = self.state.epoch + 1",
        tests=(DECIDE + "test_epochs_follow_the_last_and_the_clock",),
    ),
    Mutant(
        name="epochs-by-clock-only",
        rule="10",
        breaks="with a clock that was set back, an epoch is given out twice",
        file="jobs/streampipeline/decide/turn.py",
        old="epoch = max(self.state.epoch + 1, self.now // 1000)",
        new="epoch = self.now // 1000",
        tests=(DECIDE + "test_epochs_follow_the_last_and_the_clock",),
    ),
    Mutant(
        name="lost-job-submitted-again",
        rule="5",
        breaks="a job that is gone is started again where it once began, below what it has published",
        file="jobs/streampipeline/decide/effects.py",
        old="        if live is None or live.seen:\n",
        new="        if live is None:\n",
        tests=(DECIDE + "test_a_lost_job_is_not_submitted_again",),
    ),
    Mutant(
        name="doubled-job-goes-on",
        rule="5",
        breaks="a second Flink job of the live epoch, from a late submission, sets progress and offsets back",
        file="jobs/streampipeline/decide/effects.py",
        old="        if job.doubles and state.flink is not None",
        new="        if False and state.flink is not None",
        tests=(DECIDE + "test_of_several_flink_jobs_of_the_live_epoch_all_but_one_are_ended",),
    ),
    Mutant(
        name="token-not-revoked",
        rule="10",
        breaks="a retired engine keeps its write token",
        file="jobs/streampipeline/decide/effects.py",
        old="        if not retiring.fenced:\n",
        new="        if False:\n",
        tests=(DECIDE + "test_retired_engines_are_stopped_and_fenced_until_both_are_seen",),
    ),
    Mutant(
        name="revocation-forgets-the-sink",
        rule="10",
        breaks="a fence is reported that the sink knows nothing of",
        file="jobs/streampipeline/sinks/tokens.py",
        old="            if not self._admin.revoke(epoch, engine, file):\n",
        new="            if not engine:\n",
        tests=(GROUND + "test_a_fence_stands_in_the_sink_before_it_is_reported",),
    ),
    Mutant(
        name="no-fence-wait",
        rule="10",
        breaks="repairs begin while a write that the sink took in before the revocation may still land",
        file="jobs/streampipeline/engine_ground.py",
        old="            time.sleep(self._sink.influxdb.timeout_seconds)\n",
        new="            pass\n",
        tests=(GROUND + "test_a_fence_stands_in_the_sink_before_it_is_reported",),
    ),
    Mutant(
        name="repair-writers-not-fenced",
        rule="10",
        breaks="a repair pass of a retired epoch may still write",
        file="jobs/streampipeline/engine_ground.py",
        old="for fenced in (engine, EngineName.REPAIR):",
        new="for fenced in (engine,):",
        tests=(GROUND + "test_a_fence_stands_in_the_sink_before_it_is_reported",),
    ),
    Mutant(
        name="orphans-ignored",
        rule="10",
        breaks="a job that no assignment accounts for goes on writing",
        file="jobs/streampipeline/decide/facts.py",
        old="    return {job for job in found - known if not observed.stopped(*job)}\n",
        new="    return set()\n",
        tests=(DECIDE + "test_repairs_run_only_while_one_engine_may_write_and_has_reached_the_frontier",),
    ),
    Mutant(
        name="retired-forgotten-when-stopped",
        rule="10",
        breaks="an engine whose job is gone from sight is forgotten before it is fenced",
        file="jobs/streampipeline/decide/decide.py",
        old="        if not (retiring.fenced and stopped):\n",
        new="        if not (retiring.fenced or stopped):\n",
        tests=(
            DECIDE + "test_retired_engines_are_stopped_and_fenced_until_both_are_seen",
            DECIDE + "test_a_job_behind_a_cluster_that_is_down_is_not_known_to_be_stopped",
        ),
    ),
    Mutant(
        name="flink-cancelled-first",
        rule="Decisions",
        breaks="a takeover takes Flink's right away before Dask has its own",
        file="jobs/streampipeline/decide/phases.py",
        old="    alive = flink.ok and turn.state.flink is not None\n",
        new="    alive = flink.ok and turn.state.flink is not None\n    turn.retire(FLINK)\n",
        tests=(DECIDE + "test_a_slow_flink_is_kept_until_dask_runs",),
    ),
    Mutant(
        name="shared-failure-switches",
        rule="Decisions",
        breaks="a broker or sink that is down leads to a switch",
        file="jobs/streampipeline/decide/decide.py",
        old="    return failure is not None\n\n\ndef _thaw",
        new="    return False\n\n\ndef _thaw",
        tests=(DECIDE + "test_shared_failures_do_not_switch",),
    ),
    Mutant(
        name="handed-back-before-caught-up",
        rule="Decisions",
        breaks="Dask is stopped before Flink has published what Dask had",
        file="jobs/streampipeline/decide/facts.py",
        old="    return latency == 0 or own_frontier(observed, state, live) >= live.target\n",
        new="    return True\n",
        tests=(DECIDE + "test_low_latency_alone_is_not_caught_up_but_nothing_closable_is",),
    ),
    Mutant(
        name="loss-accepted-unasked",
        rule="12",
        breaks="a pipeline goes on past retention without the user's word",
        file="jobs/streampipeline/decide/decide.py",
        old="    elif accept is not None and accept != turn.state.accepted_loss:\n",
        new="    else:\n",
        tests=(DECIDE + "test_passed_retention_stops_and_goes_on_only_by_the_users_word",),
    ),
    Mutant(
        name="new-partition-not-read",
        rule="5",
        breaks="a partition that was added to the topic is never read",
        file="jobs/streampipeline/decide/phases.py",
        old="    missing = sorted(set(now_there) - set(live.assignment.offsets))\n",
        new="    missing: list[int] = []\n",
        tests=(DECIDE + "test_new_partitions_start_a_new_epoch",),
    ),
)
