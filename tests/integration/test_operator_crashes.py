"""The operator dies after each single effect of each transition, on a real API server."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.mortal_operator import Pipeline
from tests.support.operator_process import install_dask_definitions

from streampipeline.jobconfig import EngineName
from streampipeline_operator.kube import Kube, Object

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

Step = tuple[str, str, Callable[[Pipeline], None]]
"""The transition, the phase that it ends in, what makes it happen."""
FAILOVER = {"primaryRecoverySeconds": 2, "minimumFallbackSeconds": 60, "checkIntervalSeconds": 1}


def begins(pipeline: Pipeline) -> None:
    pipeline.outside.repairs_end = 3


def dies(pipeline: Pipeline) -> None:
    pipeline.outside.lose_flink()
    pipeline.pods.dask_starts = False


def is_drilled(pipeline: Pipeline) -> None:
    pipeline.annotate(drill="one")
    pipeline.pods.dask_starts = False


def dask_comes(pipeline: Pipeline) -> None:
    pipeline.pods.dask_starts = True


def flink_is_back(pipeline: Pipeline) -> None:
    pipeline.outside.flink_up, pipeline.outside.flink_starts = True, False
    pipeline.clock.sleep(FAILOVER["minimumFallbackSeconds"])


def flink_catches_up(pipeline: Pipeline) -> None:
    pipeline.outside.flink_starts = True


STEPS = (
    "Startup -> Normal",
    "Normal -> Triggering",
    "Triggering -> Fallback",
    "Fallback -> Resuming",
    "Resuming -> Normal",
)


def steps(leaves: Callable[[Pipeline], None]) -> list[Step]:
    happens = (begins, leaves, dask_comes, flink_is_back, flink_catches_up)
    return [(name, name.split(" -> ")[1], what) for name, what in zip(STEPS, happens, strict=True)]


ACTIONS = {
    *("EnsureFlinkCluster", "ScaleDask", "FixOrigin", "PlanStart", "RunEngine"),
    *("StopEngine", "Revoke", "RewindRepairs", "Repair"),
}
CHANGES = {
    *(
        "PUT streampipelines/status",
        "POST secrets",
        "PATCH secrets",
        "POST pods",
        "PATCH pods",
        "DELETE pods",
    ),
    *("PATCH deployments", "PATCH services", "PATCH statefulsets", "PATCH networkpolicies"),
    *("PATCH daskclusters", "DELETE daskclusters"),
    *("submit", "cancel", "issue", "revoke", "commit"),
}


@pytest.mark.parametrize(
    ("leaves", "where"),
    [(dies, STEPS), (is_drilled, STEPS[1:3])],  # the others are the same
)
def test_who_follows_an_operator_that_died_after_any_effect_ends_the_same(
    api_server: ApiServer, tmp_path: Path, leaves: Callable[[Pipeline], None], where: Sequence[str]
) -> None:
    """Run n dies after the n-th effect of each transition of `where`, until none has so many."""
    install_dask_definitions(api_server)
    admin = Kube.of(api_server.kubeconfig)
    effects: dict[str, list[str]] = {}
    outcomes: dict[str, Object] = {}
    crashes: Counter[str] = Counter()
    for number in itertools.count():
        wanted = [name for name in where if number <= len(effects.get(name, []))] if number else STEPS
        if not wanted:
            break
        made = admin.request("POST", "/api/v1/namespaces", body={"metadata": {"generateName": "crash-"}})
        namespace = made["metadata"]["name"]
        with pytest.MonkeyPatch.context() as patch:
            pipeline = Pipeline(
                api_server.kubeconfig, namespace, tmp_path / namespace, patch, failover=FAILOVER
            )
            for name, phase, happens in steps(leaves):
                happens(pipeline)
                names = pipeline.settle(phase, crash_after=number if name in where else 0)
                died = names[number - 1] if pipeline.effects.crashed else "nothing"
                assert pipeline.violations == [], f"{name}, after effect {number} ({died})"
                assert pipeline.voided == [], f"{name}, after effect {number} ({died}): nobody else writes"
                crashes[name] += pipeline.effects.crashed
                effects.setdefault(name, names)
                outcome = pipeline.outcome()
                assert outcome == outcomes.setdefault(name, outcome), (
                    f"{name}, after effect {number} ({died})"
                )
                if name == wanted[-1]:
                    break  # no later transition has so many
    seen = {effect for names in effects.values() for effect in names}
    assert {effect.split(" ")[1] for effect in seen if effect.startswith("action")} == ACTIONS
    possible = CHANGES - ({"cancel"} if leaves is dies else set())  # its job is gone already
    assert {effect for effect in possible if not any(one.startswith(effect) for one in seen)} == set()
    assert all(crashes[name] >= len(effects[name]) for name in where)
    print(f"{leaves.__name__}: {sum(crashes.values())} crashes: {dict(crashes)}")


@pytest.fixture
def pipeline(api_server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """In Normal."""
    install_dask_definitions(api_server)
    namespace = api_server.namespace("stale")
    pipeline = Pipeline(api_server.kubeconfig, namespace, tmp_path, monkeypatch, failover=FAILOVER)
    pipeline.settle("Normal")
    return pipeline


def test_a_new_operator_that_reads_an_old_status_touches_no_engine(pipeline: Pipeline) -> None:
    """In the old one the driver that has the work is nobody's: it would be stopped, its token revoked."""
    dies(pipeline)
    while not (pipeline.stored()["wanted"] and pipeline.phase == "Triggering"):
        pipeline.turn()
    old = pipeline.body()
    assert old["status"]["state"]["decisions"]["dask"] is None
    dask_comes(pipeline)
    pipeline.settle("Fallback")
    stored = pipeline.stored()

    pipeline.restart()
    pipeline.reads(old)
    pipeline.effects.begin(0)
    for _ in range(3):
        pipeline.turn()
    assert pipeline.voided, "each write was on top of what is no more"
    touched = {name.split(" ")[0] for name in pipeline.effects.names} - {"PATCH", "POST"}
    assert touched == set(), pipeline.effects.names
    assert pipeline.outside.tokens[stored["epoch"], EngineName.DASK]

    pipeline.reads(None)
    pipeline.settle("Fallback")
    assert pipeline.violations == []
    assert pipeline.stored()["dask"]["assignment"] == stored["dask"]["assignment"]


def test_of_two_jobs_of_one_epoch_the_newest_stays(pipeline: Pipeline) -> None:
    """As when an operator was frozen while it submitted, and thawed after another one had."""
    [job] = pipeline.outside.flink_jobs
    pipeline.outside.flink_jobs.append(replace(job))
    pipeline.settle("Normal")
    assert [each.ended for each in pipeline.outside.flink_jobs] == [True, False]
    assert pipeline.stored()["flink"]["assignment"]["epoch"] == job.epoch
