"""What the chart and users tell the operator, and what it may do while it leads."""

from __future__ import annotations

import time

import pytest
from tests.support.tenant import sample

from streampipeline.decide.observed import Controls
from streampipeline.jobconfig import EngineName
from streampipeline_operator.kube import POD, Kube, NotLeadingError
from streampipeline_operator.reconcile import controls
from streampipeline_operator.settings import Settings, SettingsError

CHART = {
    "POD_NAME": "operator-abc",
    "POD_NAMESPACE": "operators",
    "STREAMPIPELINE_IMAGE_FLINK": "flink:1",
    "STREAMPIPELINE_IMAGE_DASK": "dask:1",
    "STREAMPIPELINE_IMAGE_MODEL_SERVER": "model:1",
    "STREAMPIPELINE_IMAGE_INFLUXDB": "influxdb:1",
}


def test_the_least_that_the_chart_says_is_enough() -> None:
    settings = Settings.from_environment(CHART)
    assert (settings.identity, settings.namespace) == ("operator-abc", "operators")
    assert settings.images["model-server"] == "model:1"
    assert (settings.watch_namespaces, settings.pull_secrets) == ((), ())


def test_lists_are_separated_by_commas() -> None:
    more = {
        "STREAMPIPELINE_WATCH_NAMESPACES": "a, b,",
        "STREAMPIPELINE_IMAGE_PULL_SECRETS": "pull",
        "STREAMPIPELINE_IMAGE_PULL_POLICY": "Always",
        "STREAMPIPELINE_METRICS_PORT": "9090",
    }
    settings = Settings.from_environment(CHART | more)
    assert settings.watch_namespaces == ("a", "b")
    assert settings.pull_secrets == ("pull",)
    assert (settings.pull_policy, settings.metrics_port) == ("Always", 9090)


@pytest.mark.parametrize("name", CHART)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({key: value for key, value in CHART.items() if key != name})


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (None, Controls()),
        ({"streampipeline.io/pin-engine": "Dask"}, Controls(pin=EngineName.DASK)),
        ({"streampipeline.io/pin-engine": "dask-fallback"}, Controls(pin=EngineName.DASK)),
        ({"streampipeline.io/pin-engine": "flink"}, Controls(pin=EngineName.FLINK)),
        ({"streampipeline.io/pin-engine": "spark"}, Controls()),
        ({"streampipeline.io/drill": "monday"}, Controls(drill="monday")),
        ({"streampipeline.io/accept-loss": "yes"}, Controls(accept_loss="yes")),
    ],
)
def test_annotations_are_controls(annotations: dict[str, str] | None, expected: Controls) -> None:
    body = sample()
    body["metadata"]["annotations"] = annotations
    assert controls(body) == expected


def test_who_did_not_renew_its_lease_changes_nothing() -> None:
    """Not even by a request that was prepared before: none is sent."""
    api = Kube(leads_until=time.monotonic() - 0.1)
    with pytest.raises(NotLeadingError):
        api.delete(POD, "ward", "a")
    with pytest.raises(NotLeadingError):
        api.apply({"kind": "Pod", "metadata": {"name": "a", "namespace": "ward"}})
    api.leads_until = time.monotonic() + 60
    api.assert_leading()
