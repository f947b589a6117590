"""What a spec refers to, read from ConfigMaps and Secrets, and what is said when it is not there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.kube_double import NAMESPACE, SETTINGS, KubeDouble, pipeline_of, spec_of
from tests.support.tenant import SAMPLE, sample

from streampipeline.api.problems import InvalidPipelineError
from streampipeline.jobconfig import TimestampType
from streampipeline_operator import kube
from streampipeline_operator.kube import Object
from streampipeline_operator.resolve import (
    NotResolved,
    References,
    Resolver,
    config,
    unsupported,
    write_kafka_access,
)

PASSWORD = "correct horse"


def secret(api: KubeDouble, name: str, **data: str) -> None:
    encoded = {
        key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()
    }
    api.put(kube.SECRET, {"metadata": {"name": name}, "data": encoded})


@pytest.fixture
def api() -> KubeDouble:
    found = KubeDouble()
    found.put(kube.CONFIG_MAP, SAMPLE[0])
    secret(found, "kafka-ca", ca_crt="PEM")
    secret(found, "kafka-user", username="nurse", password=PASSWORD)
    return found


def body(**kafka: Any) -> Object:
    document = sample()
    document["metadata"]["namespace"] = NAMESPACE
    document["spec"]["source"]["kafka"] |= kafka
    return document


def references(api: KubeDouble, document: Object) -> References:
    return Resolver(api, SETTINGS).references(document, spec_of(document))


TLS = {"caSecretRef": {"name": "kafka-ca", "key": "ca.crt"}}
SASL = {"mechanism": "ScramSha512", "credentialsSecretRef": {"name": "kafka-user"}}


@pytest.mark.parametrize(
    ("kafka", "protocol"),
    [
        ({}, None),
        ({"tls": {}}, "SSL"),
        ({"tls": TLS}, "SSL"),
        ({"sasl": SASL}, "SASL_PLAINTEXT"),
        ({"tls": TLS, "sasl": SASL}, "SASL_SSL"),
    ],
)
def test_kafka_is_reached_as_the_spec_says(
    api: KubeDouble, tmp_path: Path, kafka: Object, protocol: str | None
) -> None:
    found = references(api, body(**kafka))
    told = config(pipeline_of(), found, TimestampType.LOG_APPEND_TIME, "/run/jobs")
    expected = {} if protocol is None else {"security.protocol": protocol}
    if "sasl" in kafka:
        expected["sasl.mechanism"] = "SCRAM-SHA-512"
    if kafka.get("tls"):
        expected["ssl.ca.location"] = "/run/jobs/kafka-ca.crt"
    assert told.kafka_properties == expected
    assert told.kafka_secret_file == ("/run/jobs/kafka.json" if "sasl" in kafka else None)

    write_kafka_access(found.kafka, tmp_path)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written.get("kafka-ca.crt") == ("PEM" if kafka.get("tls") else None)
    if "sasl" in kafka:
        credentials = {"sasl.username": "nurse", "sasl.password": PASSWORD}
        assert json.loads(written["kafka.json"]) == credentials
    assert PASSWORD not in told.model_dump_json()
    assert PASSWORD not in repr(found)


def test_the_schema_is_that_of_the_config_map(api: KubeDouble) -> None:
    assert references(api, body()).schema == SAMPLE[0]["data"]["nurse.avsc"]


def missing(api: KubeDouble, document: Object) -> NotResolved:
    with pytest.raises(NotResolved) as found:
        references(api, document)
    return found.value


def test_what_is_not_there_is_named(api: KubeDouble) -> None:
    lost = missing(api, body(tls={"caSecretRef": {"name": "other", "key": "ca.crt"}}))
    assert lost.reason == "SecretMissing"
    place = "spec.source.kafka.tls.caSecretRef"
    assert str(lost) == f"{place}: there is no Secret other in {NAMESPACE}: create it"
    lost = missing(api, body(tls={"caSecretRef": {"name": "kafka-user", "key": "ca.crt"}}))
    assert lost.reason == "SecretKeyMissing"
    assert str(lost).endswith("has no key ca.crt; its keys: username, password")
    del api.objects["configmaps", NAMESPACE, "nurse-schema"]
    assert missing(api, body()).reason == "ConfigMapMissing"


def test_a_namespace_that_was_not_granted_is_told_how(api: KubeDouble) -> None:
    api.denied.add("secrets")
    lost = missing(api, body(sasl=SASL))
    assert lost.reason == "NamespaceNotGranted"
    account = "streampipeline-operator"
    command = (
        f"kubectl create rolebinding {account}-secrets -n {NAMESPACE} "
        f"--clusterrole={account}-secrets --serviceaccount=operators:{account}"
    )
    assert f"`{command}`" in str(lost)


def test_a_schema_that_does_not_fit_is_the_specs_fault(api: KubeDouble) -> None:
    schema = json.loads(SAMPLE[0]["data"]["nurse.avsc"])
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "EDA"]
    stored = api.objects["configmaps", NAMESPACE, "nurse-schema"]
    stored["data"]["nurse.avsc"] = json.dumps(schema)
    with pytest.raises(InvalidPipelineError, match="EDA"):
        references(api, body())


def test_what_runs_on_one_machine_only_is_refused() -> None:
    document = sample(sinks=[{"parquet": {"path": "/data"}}])
    with pytest.raises(InvalidPipelineError, match="one machine"):
        unsupported(spec_of(document))
    unsupported(spec_of(sample()))
