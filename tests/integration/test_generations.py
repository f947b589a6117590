"""A run whose file is edited in Normal and in Fallback: each window has one definition and one model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from lightgbm import Booster
from tests.integration.test_run import assert_exact, environment, of
from tests.support.dask_ground import REPOSITORY

from streampipeline.decide import State
from streampipeline.local.processes import Processes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

SAMPLE = REPOSITORY / "samples" / "nurse-stress.yaml"
MODELS = REPOSITORY / "model-server" / "models"


@contextmanager
def another_model(folder: Path) -> Iterator[str]:
    """The shipped model with half of its trees, served; its URL."""
    shutil.copytree(MODELS / "nurse-stress", folder)
    whole = Booster(model_file=folder / "model.txt")
    whole.save_model(folder / "model.txt", num_iteration=whole.current_iteration() // 2)
    processes = Processes(folder.with_name("another-model-process"))
    port = processes.reserve_port()
    processes.start(
        "model-server",
        [sys.executable, "serve.py", "--port", str(port), "--model-dir", str(folder)],
        cwd=REPOSITORY / "model-server",
        env={"BENTOML_DO_NOT_TRACK": "True"},
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        processes.stop_all()


class Manifest:
    """The sample's file, as it is edited."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "nurse-stress.yaml"
        self._documents = list(yaml.safe_load_all(SAMPLE.read_text()))
        self.spec["sinks"][0]["influxdb"]["writeTimeoutSeconds"] = 3
        self.write()

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self._documents[1]["spec"]
        return spec

    def add(self, document: dict[str, Any]) -> None:
        """One more beside the pipeline."""
        self._documents.append(document)

    def write(self) -> None:
        """Replaced in one step: a run looks at it at any time."""
        temporary = self.file.with_suffix(".new")
        temporary.write_text(yaml.safe_dump_all(self._documents))
        temporary.rename(self.file)


def test_aggregates_and_model_change_live_in_normal_and_in_fallback(tmp_path: Path) -> None:
    """InfluxDB as the sink: what the old engine wrote above a boundary, with its fields, must be gone."""
    manifest = Manifest(tmp_path)
    with another_model(tmp_path / "model") as other:
        report = edited_run(tmp_path, manifest, other)
    assert_exact(report)
    assert set(report["by_generation"]) == {"1", "2", "3"}
    generations = State.model_validate(
        json.loads((tmp_path / "work" / "state.json").read_text())["state"]
    ).generations
    first, second, third = generations
    assert first.boundary < second.boundary < third.boundary
    assert first.model_version == third.model_version != second.model_version
    assert "" not in {first.model_version, second.model_version}
    phases = [phase["phase"] for phase in report["phases"]]
    assert phases[:4] == ["Startup", "Normal", "Triggering", "Fallback"]
    assert phases[-1] == "Normal"
    assert report["by_source"]["repair"] > 0


def edited_run(tmp_path: Path, manifest: Manifest, other: str) -> dict[str, Any]:
    """The run's report; the file is edited when its events say that it is time."""
    edits = 0

    def edit(told: dict[str, Any]) -> None:
        nonlocal edits
        if edits == 0 and told.get("windows", {}).get("flink", 0) >= 15:
            edits = 1
            httpx.get(f"{other}/readyz", timeout=30).raise_for_status()
            manifest.spec["aggregates"] += [{"name": "HR_most", "field": "HR", "function": "Max"}]
            del manifest.spec["model"]["managed"]
            manifest.spec["model"]["external"] = {"url": other}
            manifest.write()
        dask = told.get("windows", {}).get("dask-fallback", 0)
        if edits == 1 and told.get("phase") == "Fallback" and dask >= 5:
            edits = 2
            manifest.spec["aggregates"][-1] = {"name": "records", "function": "Count"}
            manifest.spec["model"]["managed"] = {"bundled": "nurse-stress"}
            del manifest.spec["model"]["external"]
            manifest.write()

    late = ["--producer=--late=40", "--producer=--late-seconds=20"]
    options = ["--duration=110", "--fault=kill-flink@50s+25s", *late]
    changes = {"STREAMPIPELINE_FAILOVER_MINIMUM_FALLBACK_SECONDS": "20"}
    return followed_run(tmp_path, manifest.file, options, edit, changes)


def followed_run(
    folder: Path,
    file: Path,
    options: Sequence[str],
    follow: Callable[[dict[str, Any]], None],
    changes: Mapping[str, str],
) -> dict[str, Any]:
    """The report of a run to its end, in `folder`. `follow` is called with each line that it says."""
    errors = folder / "errors"
    with errors.open("wb") as stderr:
        run = subprocess.Popen(
            [
                sys.executable, "-m", "streampipeline.cli", "run", str(file), "--json",
                "--workdir", str(folder / "work"), "--report", str(folder / "report.json"), *options,
            ],
            env={**environment(), **changes},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )  # fmt: skip
    assert run.stdout is not None
    said = []
    try:
        for line in run.stdout:
            said.append(line)
            follow(json.loads(line))
        code = run.wait(20)
    finally:
        run.kill()
        run.wait()
        run.stdout.close()
        events = [line for line in said if '"event"' in line or '"message"' in line]
        print("".join([*events, *said[-3:]])[-8000:], errors.read_text()[-4000:])
    assert code == 0
    assert not of(folder / "work"), "the run left processes behind"
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report
