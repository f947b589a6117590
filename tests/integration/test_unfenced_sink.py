"""A run whose token may write points and not make tokens: no fence, and yet every result once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_generations import Manifest, followed_run
from tests.integration.test_influxdb_sink import Influx
from tests.integration.test_influxdb_sink import server as influx  # noqa: F401 - a fixture
from tests.integration.test_run import assert_exact, phases

from streampipeline.decide import State
from streampipeline.decide.state import ConditionStatus
from streampipeline.sinks.influxdb_http import InfluxDbClient

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]


def users_token(influx: Influx) -> str:  # noqa: F811 - the fixture's
    """May read and write points of the bucket, nothing else."""
    with InfluxDbClient(influx.endpoint, (influx.folder / "admin-token").read_text()) as client:
        name = {"name": influx.endpoint.bucket}
        bucket = client.request("GET", "/api/v2/buckets", params=name)["buckets"][0]
        resource = {"type": "buckets", "id": bucket["id"], "orgID": bucket["orgID"]}
        permissions = [{"action": action, "resource": resource} for action in ("read", "write")]
        body = {"orgID": bucket["orgID"], "permissions": permissions}
        return str(client.request("POST", "/api/v2/authorizations", json=body)["token"])


def test_without_rights_to_make_tokens_a_run_is_unfenced_and_exact(
    influx: Influx,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Flink is killed and comes back; then the aggregates are edited: a generation more."""
    place = influx.bucket("nurse_stress")
    manifest = Manifest(tmp_path)
    sink = manifest.spec["sinks"][0]["influxdb"]
    del sink["managed"]
    sink["external"] = {
        "url": place.endpoint.url,
        "org": place.endpoint.org,
        "tokenSecretRef": {"name": "influx", "key": "token"},
    }
    sink["bucket"] = place.endpoint.bucket
    manifest.add({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "influx"},
                  "stringData": {"token": users_token(place)}})  # fmt: skip
    manifest.write()

    def edit(told: dict[str, Any]) -> None:
        if told.get("event") == "ResumeCompleted":
            manifest.spec["aggregates"][0]["decimals"] = 2
            manifest.write()

    options = ["--duration=90", "--fault=kill-flink@14s+8s"]
    report = followed_run(tmp_path, manifest.file, options, edit, {})
    assert_exact(report)
    assert phases(report) == ["Startup", "Normal", "Triggering", "Fallback", "Resuming", "Normal"]
    assert set(report["by_generation"]) == {"1", "2"}
    assert report["by_source"]["dask-fallback"] > 0
    stored = json.loads((tmp_path / "work" / "state.json").read_text())["state"]
    fenced = State.model_validate(stored).condition("Fenced")
    assert fenced is not None
    assert (fenced.status, fenced.reason) == (ConditionStatus.FALSE, "NoTokens")
