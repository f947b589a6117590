"""Whole runs as a user starts them: real Kafka, Flink, model server, Dask, sink; each ends with an audit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.dask_ground import REPOSITORY
from tests.support.repair_watch import RepairWatch

from streampipeline.local.processes import MARKER

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

QUICK = {
    "STREAMPIPELINE_FAILOVER_CHECK_INTERVAL_SECONDS": "2",
    "STREAMPIPELINE_FAILOVER_PRIMARY_RECOVERY_SECONDS": "4",
    "STREAMPIPELINE_FAILOVER_MINIMUM_FALLBACK_SECONDS": "5",
    "STREAMPIPELINE_FAILOVER_RESUME_CHECKS": "2",
}


def command(workdir: Path, *options: str) -> list[str]:
    sample = str(REPOSITORY / "samples" / "nurse-stress.yaml")
    report = str(workdir / "report.json")
    return [
        sys.executable, "-m", "streampipeline.cli", "run", sample,
        "--workdir", str(workdir / "work"), "--report", report, *options,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(REPOSITORY / "jobs"), str(REPOSITORY / "audit")])
    return {**os.environ, **QUICK, "PYTHONPATH": path}


def run(workdir: Path, *options: str) -> dict[str, Any]:
    """A run to its end. Returns its report; what it printed is shown when it failed."""
    done = subprocess.run(
        command(workdir, *options),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    print(done.stdout[-6000:], done.stderr[-3000:])
    assert done.returncode == 0
    report: dict[str, Any] = json.loads((workdir / "report.json").read_text())
    assert not of(workdir / "work"), "the run left processes behind"
    return report


def simulate(trace: Path) -> list[dict[str, Any]]:
    """What the trace of a run says, and what a simulation makes of it."""
    sample = str(REPOSITORY / "samples" / "nurse-stress.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "streampipeline.cli", "simulate", sample, f"--trace={trace}", "--output=json"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    return runs


def of(workdir: Path) -> list[psutil.Process]:
    """Processes that a run in this directory started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(workdir.resolve()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def assert_exact(report: dict[str, Any]) -> None:
    wrong = {key: report[key] for key in ("lost", "doubled", "differing")}
    assert wrong == {"lost": 0, "doubled": 0, "differing": 0}, report["examples"]
    assert report["produced"] == report["counted"] + report["dead_lettered"] + report["pending"]
    assert report["produced"] == report["producer"]["records"]
    assert report["unscored"] == 0


def phases(report: dict[str, Any]) -> list[str]:
    return [phase["phase"] for phase in report["phases"]]


def test_dask_takes_over_from_a_killed_flink_and_hands_back(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    report = run(
        tmp_path,
        "--sink=parquet",
        "--duration=60",
        "--fault=kill-flink@14s+8s",
        f"--save-trace={trace}",
    )
    assert_exact(report)
    assert phases(report) == ["Startup", "Normal", "Triggering", "Fallback", "Resuming", "Normal"]
    assert report["by_source"]["flink"] > 0
    assert report["by_source"]["dask-fallback"] > 0
    assert report["seconds_to_first_fallback_result"] < 45
    recorded, simulated = simulate(trace)
    assert [each["phase"] for each in recorded["transitions"]] == phases(report)[1:]
    assert simulated["takeovers"] == recorded["takeovers"] == {"PrimaryDown": 1}


def test_bad_records_and_the_loss_of_what_both_engines_need_switch_and_lose_nothing(tmp_path: Path) -> None:
    """InfluxDB as the sink; the model, the sink and the broker are away in turn, a partition wakes."""
    with RepairWatch(tmp_path / "work") as watch:
        report = run(
            tmp_path,
            # Well beyond the broker's return: what is late then is repaired once records come on time again.
            "--duration=85",
            "--fault=stop-model@10s+6s",
            "--fault=stop-sink@26s+6s",
            "--fault=stop-kafka@43s+5s",
            "--producer=--poison=40",
            "--producer=--late=25",
            "--producer=--late-seconds=6",
            "--producer=--silent-partition=1:6:24",
        )
    assert_exact(report)
    assert report["dead_lettered"] == 40
    assert report["by_source"]["repair"] > 0, "late and unscored windows are repaired"
    assert len(watch.seconds) >= 25
    print(f"repaired {max(watch.seconds):.1f} s after it could be, at most")
    assert max(watch.seconds) < 60
    assert phases(report) == ["Startup", "Normal"], "what both engines need does not switch"


def test_a_killed_run_is_cleaned_up_and_gone_on_with(tmp_path: Path) -> None:
    first = subprocess.Popen(
        command(tmp_path, "--sink", "parquet", "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert first.stdout is not None
        seen = 0
        for line in first.stdout:
            seen = max(seen, json.loads(line).get("windows", {}).get("flink", 0))
            if seen >= 15:
                break
        assert seen >= 15
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    finally:
        first.kill()
        first.wait()
        assert first.stdout is not None
        first.stdout.close()
    report = run(tmp_path, "--sink", "parquet", "--duration", "10")
    wrong = {key: report[key] for key in ("lost", "doubled", "differing")}
    assert wrong == {"lost": 0, "doubled": 0, "differing": 0}, report["examples"]
    assert report["windows_expected"] > 15
    assert report["produced"] > report["producer"]["records"], "the first run's records are audited too"
