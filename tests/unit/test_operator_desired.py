"""What a pipeline is made of on Kubernetes: pods that may do little, names that fit, nothing secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.kube_double import pipeline_of

from streampipeline.api import controls
from streampipeline.api.oneoff import Backfill, Dlq, DlqVerb
from streampipeline.api.spec import NAME_LENGTH, ManagedModel
from streampipeline_operator.desired import dask, flink, influxdb, model, network
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import Object
from streampipeline_operator.names import EPOCH_LABEL, PIPELINE_LABEL

LONGEST = "n" * NAME_LENGTH
DAY = datetime(2026, 1, 1, tzinfo=UTC)
EXTERNAL = {
    "url": "http://influx.example.com:8086",
    "org": "hospital",
    "tokenSecretRef": {"name": "influx", "key": "token"},
}


def standing(pipeline: Pipeline) -> list[Object]:
    """All that is there at rest."""
    return [
        *flink.objects(pipeline, up=True),
        *model.objects(pipeline),
        *influxdb.objects(pipeline),
        *network.objects(pipeline),
    ]


def passing(pipeline: Pipeline) -> list[Object]:
    """All that comes and goes."""
    return [
        dask.cluster(pipeline, 2),
        dask.driver(pipeline, f"{pipeline.name}-dask-driver-abc123", None),
        dask.repair(pipeline, f"{pipeline.name}-repair-abc123", 1_800_000_000, 60_000),
        dask.audit(pipeline, f"{pipeline.name}-audit-{'a' * 20}", "a" * 20),
        dask.one_off(pipeline, controls.DLQ, Dlq(id="a" * 20, verb=DlqVerb.LIST)),
        dask.one_off(pipeline, controls.BACKFILL, Backfill(id="a" * 20, start=DAY, end=DAY)),
    ]


def pod_specs(body: Object) -> Iterator[tuple[Object, int]]:
    """(pod's spec, how many of them)."""
    spec = body["spec"]
    if body["kind"] == "Pod":
        yield spec, 1
    elif body["kind"] == "DaskCluster":
        yield spec["scheduler"]["spec"], 1
        yield spec["worker"]["spec"], spec["worker"]["replicas"]
    elif "template" in spec:
        yield spec["template"]["spec"], spec["replicas"]


def containers(bodies: list[Object]) -> list[Object]:
    return [part for body in bodies for spec, _ in pod_specs(body) for part in spec["containers"]]


def millicores(bodies: list[Object]) -> int:
    return sum(
        int(part["resources"]["requests"]["cpu"].removesuffix("m")) * count
        for body in bodies
        for spec, count in pod_specs(body)
        for part in spec["containers"]
    )


def everything() -> list[Object]:
    pipeline = pipeline_of(LONGEST)
    return [*standing(pipeline), *passing(pipeline)]


def test_every_pod_runs_as_a_user_that_may_do_nothing() -> None:
    specs = [spec for body in everything() for spec, _ in pod_specs(body)]
    assert len(specs) == 12
    for spec in specs:
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        for part in spec["containers"]:
            security = part["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            mounted = {mount["name"] for mount in part["volumeMounts"]}
            claimed = {"data"} if part["name"] == "influxdb" else set()
            assert mounted == {volume["name"] for volume in spec["volumes"]} | claimed


def test_every_container_has_a_bound_on_its_memory_and_none_on_its_time() -> None:
    for part in containers(everything()):
        assert set(part["resources"]["limits"]) == {"memory"}, part["name"]
        assert set(part["resources"]["requests"]) == {"cpu", "memory"}, part["name"]


def test_the_sample_asks_for_at_most_half_a_processor_with_its_fallback() -> None:
    pipeline = pipeline_of()
    fallback = [dask.cluster(pipeline, 2), dask.driver(pipeline, "driver", None)]
    assert 0 < millicores(standing(pipeline)) < millicores([*standing(pipeline), *fallback]) <= 500


def test_names_fit_for_the_longest_name_of_a_pipeline() -> None:
    for body in everything():
        metadata, kind = body["metadata"], body["kind"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", metadata["name"])
        # Of a StatefulSet a label of its pods is made, with a hash behind it.
        longest = {"StatefulSet": 52}.get(kind, 63)
        assert len(metadata["name"]) <= longest, (kind, metadata["name"])
        assert all(len(value) <= 63 for value in metadata["labels"].values())
        assert metadata["labels"][PIPELINE_LABEL] == LONGEST
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["uid-1"]
    # Dask's operator appends to it: -default-worker- and ten digits, or -scheduler, also for a Service.
    assert len(f"{pipeline_of(LONGEST).names.dask}-default-worker-0123456789") <= 63


@pytest.mark.parametrize(
    ("parallelism", "taskmanagers", "slots"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (8, 4, 2)]
)
def test_parallelism_becomes_taskmanagers_and_slots(parallelism: int, taskmanagers: int, slots: int) -> None:
    pipeline = pipeline_of(primary={"flink": {"parallelism": parallelism}})
    [deployment] = [
        body for body in flink.objects(pipeline, up=True) if body["metadata"]["name"].endswith("taskmanager")
    ]
    [part] = containers([deployment])
    assert deployment["spec"]["replicas"] == taskmanagers
    assert f"taskmanager.numberOfTaskSlots={slots}" in part["args"]
    assert taskmanagers * slots >= parallelism


def test_a_flink_that_is_down_keeps_its_services() -> None:
    bodies = flink.objects(pipeline_of(), up=False)
    assert {body["spec"]["replicas"] for body in bodies if body["kind"] == "Deployment"} == {0}
    assert [body["kind"] for body in bodies].count("Service") == 2


def test_what_runs_elsewhere_is_not_deployed() -> None:
    sink = {"influxdb": {"external": EXTERNAL, "bucket": "b", "measurement": "m"}}
    there = {"external": {"url": "http://model.example.com:3000"}, "inputs": ["X"], "output": "level"}
    pipeline = pipeline_of(sinks=[sink], model=there)
    assert influxdb.objects(pipeline) == model.objects(pipeline) == []
    assert influxdb.url(pipeline) == "http://influx.example.com:8086"
    assert model.url(pipeline, pipeline.spec.model, "") == "http://model.example.com:3000"


def test_each_managed_model_has_a_server_that_finds_its_own_pods_alone() -> None:
    pipeline = pipeline_of()
    first = model.first_of(pipeline)
    changed = pipeline.spec.model.model_copy(update={"managed": ManagedModel(image="registry/bento:2")})
    later = replace(pipeline, spec=pipeline.spec.model_copy(update={"model": changed}))
    bodies = model.objects(later, [pipeline.spec.model], first)
    names = {(body["kind"], body["metadata"]["name"]) for body in bodies}
    second = f"{pipeline.names.model}-{model.first_of(later)}"
    both = (pipeline.names.model, second)
    assert names == {(kind, name) for kind in ("Service", "Deployment") for name in both}
    selected = {
        body["metadata"]["name"]: body["spec"]["selector"] for body in bodies if body["kind"] == "Service"
    }
    labels = {
        body["metadata"]["name"]: body["spec"]["template"]["metadata"]["labels"]
        for body in bodies
        if body["kind"] == "Deployment"
    }
    for name, selector in selected.items():
        found = [pods for pods, there in labels.items() if selector.items() <= there.items()]
        assert found == [name]
    assert model.url(later, changed, first) == f"http://{second}.{pipeline.namespace}.svc:3000"
    assert model.url(later, pipeline.spec.model, first) == model.url(pipeline, pipeline.spec.model, first)


def test_nothing_secret_is_in_arguments_or_environment() -> None:
    """Values of Secrets reach pods as files of one optional Secret only."""
    sasl = {"mechanism": "ScramSha512", "credentialsSecretRef": {"name": "kafka-user"}}
    kafka = {"bootstrapServers": ["kafka:9092"], "topic": "t", "sasl": sasl, "tls": {}}
    sink = {"influxdb": {"external": EXTERNAL, "bucket": "b", "measurement": "m"}}
    source: dict[str, Any] = json.loads(json.dumps(pipeline_of().spec.source.model_dump(by_alias=True)))
    pipeline = pipeline_of(source={**source, "kafka": kafka}, sinks=[sink])
    bodies = [*standing(pipeline), *passing(pipeline)]
    text = json.dumps(bodies)
    assert "kafka-user" not in text
    assert "secretKeyRef" not in text
    assert "envFrom" not in text
    secrets = {
        volume["secret"]["secretName"]
        for body in bodies
        for spec, _ in pod_specs(body)
        for volume in spec["volumes"]
        if "secret" in volume
    }
    assert secrets == {pipeline.names.jobs}


def test_a_driver_stands_by_until_it_is_given_an_epoch() -> None:
    pipeline = pipeline_of()
    standby, assigned = dask.driver(pipeline, "a", None), dask.driver(pipeline, "b", 1_800_000_000)
    assert EPOCH_LABEL not in standby["metadata"]["labels"]
    assert assigned["metadata"]["labels"][EPOCH_LABEL] == "1800000000"
    [volume] = [each for each in standby["spec"]["volumes"] if each["name"] == "pod"]
    [item] = volume["downwardAPI"]["items"]
    [part] = containers([standby])
    told = part["args"][part["args"].index("--assignment") + 1]
    [mount] = [each for each in part["volumeMounts"] if each["name"] == "pod"]
    assert told == f"{mount['mountPath']}/{item['path']}"
    assert item["fieldRef"]["fieldPath"] == f"metadata.labels['{EPOCH_LABEL}']"
    assert standby["spec"]["restartPolicy"] == "Never"


def test_only_the_pipeline_its_operator_and_named_readers_get_in() -> None:
    inside, readers = network.objects(pipeline_of())
    assert inside["spec"]["podSelector"]["matchLabels"] == {PIPELINE_LABEL: "nurse-stress"}
    own, operator = inside["spec"]["ingress"][0]["from"]
    assert own == {"podSelector": {"matchLabels": {PIPELINE_LABEL: "nurse-stress"}}}
    labels = {"kubernetes.io/metadata.name": "operators"}
    assert operator == {"namespaceSelector": {"matchLabels": labels}}
    assert readers["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "influxdb"
