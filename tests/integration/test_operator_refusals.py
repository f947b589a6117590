"""What cannot be run deploys nothing, says so, and heals by itself; on a real API server, without nodes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_process import eventually, granted, install_dask_definitions, operators
from tests.support.tenant import Tenant, sample

from streampipeline_operator import kube
from streampipeline_operator.names import Names

pytestmark = pytest.mark.integration

CONDITIONS = {
    "Ready",
    "PrimaryHealthy",
    "FallbackActive",
    "ModelReady",
    "SinkReady",
    "SourceReady",
    "LatencyWithinObjective",
    "Exact",
    "Fenced",
    "GenerationCurrent",
    "SpecAccepted",
}


@pytest.fixture(scope="module")
def tenant(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """A namespace that an operator serves, with the rights that the chart gives it."""
    install_dask_definitions(api_server)
    tenant, namespace = Tenant.of(api_server), api_server.namespace("operators")
    watch = (tenant.namespace,)
    kubeconfig = granted(api_server, namespace, watchNamespaces=list(watch))
    directory = tmp_path_factory.mktemp("operator")
    with operators(
        api_server, directory, watch=watch, kubeconfig=kubeconfig, namespace=namespace
    ) as replicas:
        replicas.start()
        yield tenant


def test_a_missing_schema_is_a_condition_that_heals_by_itself(tenant: Tenant) -> None:
    missing = {"type": "Avro", "schemaConfigMapRef": {"name": "comes-later", "key": "nurse.avsc"}}
    source = {**sample()["spec"]["source"], "format": missing}
    tenant.create(sample("early", source=source))
    tenant.await_condition("early", "SpecAccepted", "False", "ConfigMapMissing")
    status = tenant.status("early")
    assert {each["type"] for each in status["conditions"]} == CONDITIONS
    assert tenant.condition("early", "Ready") == ("False", "ConfigMapMissing")
    assert tenant.condition("early", "SourceReady") == ("Unknown", "NothingDeployed")
    [message] = eventually("the event", lambda: tenant.events("early", "ConfigMapMissing"))
    assert "there is no ConfigMap comes-later" in message
    assert tenant.objects("early") == set()

    schema = tenant.child(kube.CONFIG_MAP, "nurse-schema")["data"]
    metadata = {"name": "comes-later"}
    tenant.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}})
    tenant.await_condition("early", "SpecAccepted", "False", "ConfigMapKeyMissing", 15)
    tenant.api.merge(kube.CONFIG_MAP, tenant.namespace, "comes-later", {"data": schema})
    tenant.await_condition("early", "SpecAccepted", "True", "Accepted", 15)
    tenant.await_deployed("early")


def test_a_missing_secret_is_a_condition_that_heals_by_itself(tenant: Tenant) -> None:
    external = {
        "url": "http://127.0.0.1:9",
        "org": "hospital",
        "tokenSecretRef": {"name": "influx", "key": "token"},
    }
    sinks = [{"influxdb": {"external": external, "bucket": "b", "measurement": "m"}}]
    tenant.create(sample("tokenless", sinks=sinks))
    tenant.await_condition("tokenless", "SpecAccepted", "False", "SecretMissing")
    assert tenant.objects("tokenless") == set()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "influx"}}
    tenant.create({**secret, "data": {"token": base64.b64encode(b"abc").decode()}})
    tenant.await_condition("tokenless", "SpecAccepted", "True", "Accepted", 15)
    tenant.await_deployed("tokenless")
    names = Names("tokenless", tenant.namespace)
    assert not tenant.has(kube.STATEFUL_SET, names.influxdb), "an external one is not deployed"
    assert not tenant.has(kube.SECRET, names.influxdb_admin)


def schema_without(tenant: Tenant, name: str, field: str) -> str:
    """A ConfigMap of this name with the sample's schema, one field left out; the whole schema."""
    text: str = tenant.child(kube.CONFIG_MAP, "nurse-schema")["data"]["nurse.avsc"]
    schema = json.loads(text)
    schema["fields"] = [each for each in schema["fields"] if each["name"] != field]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    tenant.create({**body, "data": {"nurse.avsc": json.dumps(schema)}})
    return text


def test_a_spec_that_does_not_fit_its_schema_deploys_nothing_until_it_does(tenant: Tenant) -> None:
    """An API server cannot see that: the schema is elsewhere. The fault may be the schema's."""
    schema = schema_without(tenant, "no-pulse", "HR")
    source = sample()["spec"]["source"]
    source["format"]["schemaConfigMapRef"]["name"] = "no-pulse"
    tenant.create(sample("edited", source=source))
    tenant.await_condition("edited", "SpecAccepted", "False", "InvalidSpec")
    [message] = eventually("the event", lambda: tenant.events("edited", "InvalidSpec"))
    assert "HR" in message
    assert tenant.objects("edited") == set()

    tenant.api.merge(kube.CONFIG_MAP, tenant.namespace, "no-pulse", {"data": {"nurse.avsc": schema}})
    tenant.await_condition("edited", "SpecAccepted", "True", "Accepted", 15)
    tenant.await_deployed("edited")
