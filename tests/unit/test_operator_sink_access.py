"""The Secret of a managed InfluxDB: generated once, and put back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.kube_double import NAMESPACE, KubeDouble, pipeline_of

from streampipeline_operator import kube
from streampipeline_operator.resolve import KafkaAccess, References, endpoint
from streampipeline_operator.sink_access import SinkAccess

SECRET = ("secrets", NAMESPACE, "nurse-stress-influxdb-admin")


@pytest.fixture
def api() -> KubeDouble:
    return KubeDouble()


def opened(api: KubeDouble, folder: Path, token: str | None = None, **spec: Any) -> SinkAccess:
    pipeline = pipeline_of(**spec)
    folder.mkdir(exist_ok=True)
    return SinkAccess(api, pipeline, References("", KafkaAccess(), token), endpoint(pipeline), folder)


def test_the_next_operator_finds_what_the_first_one_generated(api: KubeDouble, tmp_path: Path) -> None:
    opened(api, tmp_path / "first")
    generated = dict(api.objects[SECRET]["data"])
    opened(api, tmp_path / "second")
    assert api.objects[SECRET]["data"] == generated
    tokens = {(tmp_path / name / "admin-token").read_text() for name in ("first", "second")}
    assert len(tokens) == 1


def test_a_secret_that_was_removed_comes_back_as_it_was(api: KubeDouble, tmp_path: Path) -> None:
    access = opened(api, tmp_path)
    assert not access.ensure()
    generated = dict(api.objects[SECRET]["data"])
    api.delete(kube.SECRET, NAMESPACE, "nurse-stress-influxdb-admin")
    assert access.ensure()
    assert api.objects[SECRET]["data"] == generated


def test_an_external_server_has_no_secret_of_ours(api: KubeDouble, tmp_path: Path) -> None:
    external = {
        "url": "http://influx:8086",
        "org": "o",
        "tokenSecretRef": {"name": "influx", "key": "token"},
    }
    sink = {"influxdb": {"external": external, "bucket": "b", "measurement": "m"}}
    access = opened(api, tmp_path, "from-the-user", sinks=[sink])
    assert not access.ensure()
    assert SECRET not in api.objects
