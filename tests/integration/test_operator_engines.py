"""Decisions carried out on Kubernetes objects: Kafka, InfluxDB and the API server are real, pods are not.

What a kubelet and Dask's operator would do the test does: it makes the scheduler's and the workers' pods and
sets the status of all. Flink's services do not resolve, so its cluster counts as down.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from tests.integration.test_influxdb_sink import Influx
from tests.integration.test_influxdb_sink import server as influx  # noqa: F401 - a fixture
from tests.support.api_server import ApiServer
from tests.support.dask_ground import kafka_home, model_server
from tests.support.operator_process import (
    Operators,
    eventually,
    install_dask_definitions,
    operators,
)
from tests.support.tenant import Tenant, sample

from streampipeline.api import controls
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.local.kafka import KafkaProcess
from streampipeline.local.processes import Processes
from streampipeline_operator import kube
from streampipeline_operator.kube import Object
from streampipeline_operator.names import (
    COMPONENT_LABEL,
    DASK_DRIVER,
    DASK_SCHEDULER,
    DASK_WORKER,
    EPOCH_LABEL,
    FILES_ANNOTATION,
    JOBS_DIRECTORY,
    Names,
)

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
NAME, TOPIC = "nurse-stress", "readings"
KOPF_FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"
"""Dask's operator puts it on its clusters."""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaProcess]:
    processes = Processes(tmp_path_factory.mktemp("kafka"))
    broker = KafkaProcess(processes, home=kafka_home())
    try:
        broker.start()
        eventually("Kafka answers", broker.answers, 60)
        client = AdminClient({"bootstrap.servers": broker.bootstrap})
        topic = NewTopic(TOPIC, num_partitions=2, config={"message.timestamp.type": "LogAppendTime"})
        client.create_topics([topic])[TOPIC].result(30)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for partition in (0, 1):
            producer.produce(TOPIC, b"no record of the schema", partition=partition)
        assert producer.flush(30) == 0
        yield broker
    finally:
        processes.stop_all(grace_seconds=5)


@dataclass(frozen=True)
class Nodes:
    """Plays the kubelets and Dask's operator."""

    tenant: Tenant

    def pods(self, component: str) -> list[Object]:
        found = self.tenant.children(kube.POD, NAME)
        return [pod for pod in found if pod["metadata"]["labels"][COMPONENT_LABEL] == component]

    def drivers(self, epoch: int | None = None) -> list[Object]:
        label = None if epoch is None else str(epoch)
        found = self.pods(DASK_DRIVER)
        return [pod for pod in found if pod["metadata"]["labels"].get(EPOCH_LABEL) == label]

    def start(self, pod: Object, *, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.set(pod, {"phase": "Running", "conditions": conditions})

    def set(self, pod: Object, status: Object) -> None:
        path = kube.POD.path(self.tenant.namespace, pod["metadata"]["name"])
        content_type = "application/merge-patch+json"
        self.tenant.api.request("PATCH", f"{path}/status", body={"status": status}, content_type=content_type)

    def run_once(self, suffix: str) -> tuple[int, str]:
        """Run a pod's command here, with the Secret's files. Returns its exit code and its message."""
        name = f"{NAME}-{suffix}"
        pod = eventually(name, lambda: self.tenant.api.get(kube.POD, self.tenant.namespace, name))
        container = pod["spec"]["containers"][0]
        with TemporaryDirectory() as folder:
            for file, text in jobs_files(self.tenant).items():
                (Path(folder) / file).write_text(text)
            message = Path(folder) / "message"
            places = {JOBS_DIRECTORY: folder, container["terminationMessagePath"]: str(message)}
            command = container["args"]
            for place, here in places.items():
                command = [argument.replace(place, here) for argument in command]
            path = os.pathsep.join(str(CHECKOUT / part) for part in ("jobs", "audit"))
            done = subprocess.run(
                [sys.executable, *command[1:]], env={**os.environ, "PYTHONPATH": path}, check=False
            )
            said = message.read_text()
        ended = {"exitCode": done.returncode, "message": said, "finishedAt": "2026-01-01T00:00:00Z"}
        status = {"name": container["name"], "state": {"terminated": ended}}
        state = {"image": "", "imageID": "", "ready": False, "restartCount": 0}
        phase = "Failed" if done.returncode else "Succeeded"
        self.set(pod, {"phase": phase, "containerStatuses": [status | state]})
        return done.returncode, said

    def run_dask(self, cluster: Object) -> None:
        """The pods that a DaskCluster asks for, labelled as Dask's operator does, running."""
        labels = cluster["metadata"]["labels"]
        spec = cluster["spec"]
        for component, count, part in (
            (DASK_SCHEDULER, 1, spec["scheduler"]),
            (DASK_WORKER, spec["worker"]["replicas"], spec["worker"]),
        ):
            for number in range(count):
                metadata = {
                    "name": f"{NAME}-{component}-{number}",
                    "labels": labels | part["metadata"]["labels"],
                }
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": part["spec"]}
                self.start(self.tenant.create(pod), ready=True)
        changes = {"metadata": {"finalizers": [KOPF_FINALIZER]}}
        name = cluster["metadata"]["name"]
        self.tenant.api.merge(kube.DASK_CLUSTER, self.tenant.namespace, name, changes)


@dataclass(frozen=True)
class Job:
    """What the Secret of the assignments holds for one of them."""

    config: JobConfig
    text: str
    token: str


def jobs_files(tenant: Tenant) -> dict[str, str]:
    data = tenant.child(kube.SECRET, Names(NAME, tenant.namespace).jobs)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def job(tenant: Tenant, epoch: int) -> Job:
    files = jobs_files(tenant)
    stem = f"{epoch}-{EngineName.DASK.value}"
    text = files[f"{stem}.json"]
    return Job(JobConfig.model_validate_json(text), text, files[f"{stem}.token"].strip())


def writes(influx: Influx, bucket: str, token: str) -> int:  # noqa: F811 - the type, not the fixture
    """Status of an empty write with the token."""
    return httpx.post(
        f"{influx.endpoint.url}/api/v2/write",
        params={"org": influx.endpoint.org, "bucket": bucket},
        headers={"Authorization": f"Token {token}"},
        content=b"",
        trust_env=False,
    ).status_code


def pipeline(influx: Influx, kafka: KafkaProcess, model: str) -> Object:  # noqa: F811
    endpoint = influx.endpoint
    external = {
        "url": endpoint.url,
        "org": endpoint.org,
        "tokenSecretRef": {"name": "influx", "key": "token"},
    }
    source = sample()["spec"]["source"]
    source["kafka"] |= {"bootstrapServers": [kafka.bootstrap], "topic": TOPIC}
    sink = {"external": external, "bucket": "stress", "measurement": "m", "writeTimeoutSeconds": 1}
    body = sample(
        NAME,
        source=source,
        sinks=[{"influxdb": sink}],
        deadLetter={"topic": f"{TOPIC}-dead-letter"},
    )
    body["spec"]["model"] |= {"managed": None, "external": {"url": model}}
    body["metadata"]["annotations"] = {controls.PIN_ENGINE: "dask"}
    return body


def test_dask_takes_over_outlives_the_operator_and_leaves_nothing(
    api_server: ApiServer,
    influx: Influx,  # noqa: F811
    kafka: KafkaProcess,
    tmp_path: Path,
) -> None:
    install_dask_definitions(api_server)
    tenant = Tenant.of(api_server)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "influx"}}
    admin_token = (influx.folder / "admin-token").read_text()
    tenant.create({**secret, "stringData": {"token": admin_token}})
    with (
        model_server() as model,
        operators(api_server, tmp_path, watch=(tenant.namespace,)) as replicas,
    ):
        tenant.create(pipeline(influx, kafka, model))
        story(tenant, replicas, influx, kafka)


def story(tenant: Tenant, replicas: Operators, influx: Influx, kafka: KafkaProcess) -> None:  # noqa: F811
    operator, nodes = replicas.start(), Nodes(tenant)
    epoch = taken_over(tenant, nodes, influx)
    assert operator.log("action.failed") == [], "nothing had to be tried twice"

    asked_for_once(tenant, nodes)
    assert "patient-7" not in operator.child.log_file.read_text()
    operator.kill()
    drivers, cluster = nodes.drivers(epoch), tenant.child(kube.DASK_CLUSTER, f"{NAME}-dask")
    operator = replicas.start()
    eventually("it was taken over", lambda: operator.log("pipeline.taken_over")[1:])
    tenant.await_condition(NAME, "SinkReady", "True", "SinkAnswers")
    assert tenant.decisions(NAME)["phase"] == "Fallback"
    assert tenant.status(NAME)["epoch"] == epoch
    assert tenant.child(kube.DASK_CLUSTER, f"{NAME}-dask")["metadata"]["uid"] == cluster["metadata"]["uid"]
    assert [pod["metadata"]["uid"] for pod in nodes.drivers(epoch)] == [drivers[0]["metadata"]["uid"]]

    later = edited(tenant, nodes, influx, replaced(tenant, nodes, influx, epoch))
    tokens = [text for name, text in jobs_files(tenant).items() if name.endswith(".token")]
    deleted(tenant, influx, kafka, job(tenant, later))
    log = operator.child.log_file.read_text()
    for token in (*tokens, (influx.folder / "admin-token").read_text()):
        assert token.strip() not in log


def looked_at(pod: Object) -> str:
    """Of which files its kubelet was told last."""
    return str(pod["metadata"]["annotations"][FILES_ANNOTATION])


def taken_over(tenant: Tenant, nodes: Nodes, influx: Influx) -> int:  # noqa: F811
    """From nothing to Fallback. Returns the epoch."""
    for kind in ("Source", "Sink"):
        tenant.await_condition(NAME, f"{kind}Ready", "True", f"{kind}Answers", 60)
    eventually("the origin", lambda: tenant.events(NAME, "OriginFixed"))
    eventually("the trigger", lambda: tenant.events(NAME, "FallbackTriggered"))
    cluster = eventually(
        "a DaskCluster", lambda: tenant.api.get(kube.DASK_CLUSTER, tenant.namespace, f"{NAME}-dask")
    )
    assert cluster["spec"]["worker"]["replicas"] == 2
    [standby] = eventually("a driver that stands by", nodes.drivers)
    assert "--assignment" in standby["spec"]["containers"][0]["args"]
    eventually("an assignment", lambda: tenant.decisions(NAME).get("dask"))
    assert not tenant.has(kube.SECRET, f"{NAME}-jobs"), "a scheduler has to be there first"

    nodes.start(standby, ready=False)
    nodes.run_dask(cluster)
    epoch: int = tenant.decisions(NAME)["epoch"]
    [driver] = eventually("the label", lambda: nodes.drivers(epoch))
    assert driver["metadata"]["uid"] == standby["metadata"]["uid"]
    told = job(tenant, epoch)
    assert told.config.assignment.epoch == epoch
    assert set(told.config.assignment.offsets) == {0, 1}
    assert told.config.sink.influxdb is not None
    assert told.config.sink.influxdb.token_file == f"{JOBS_DIRECTORY}/{epoch}-dask-fallback.token"
    assert told.token not in told.text
    assert writes(influx, "stress", told.token) == 204
    assert tenant.decisions(NAME)["phase"] == "Triggering", "a driver that only starts does not publish"
    eventually("it is told to look again", lambda: looked_at(nodes.drivers(epoch)[0]).startswith(f"{epoch}/"))

    nodes.start(driver, ready=True)
    tenant.await_condition(NAME, "FallbackActive", "True", "DaskActive")
    eventually("two workers", lambda: tenant.status(NAME)["workers"] == 2, 40)
    status = tenant.status(NAME)
    assert (status["phase"], status["activeEngine"], status["epoch"]) == ("Fallback", "dask-fallback", epoch)
    [hand_over] = status["handOvers"]
    assert hand_over["trigger"] == "Pinned"
    assert hand_over["completed"]
    return epoch


def asked_for_once(tenant: Tenant, nodes: Nodes) -> None:
    """Dead letters and a backfill: the pods' own commands do it, as a kubelet would run them."""
    ask(tenant, controls.DLQ, '{"id": "one", "verb": "replay", "limit": 5}')
    assert nodes.run_once("dlq-one") == (0, "0 replayed")
    told = eventually("the counts are told", lambda: tenant.events(NAME, "DeadLettersReplayed"))
    assert told == [f"0 replayed (pod {NAME}-dlq-one)"]

    span = '"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"'
    ask(tenant, controls.BACKFILL, f'{{"id": "two", {span}, "key": "patient-7"}}')
    code, said = nodes.run_once("backfill-two")
    assert code == 2
    assert "no window of the span ends after the pipeline's origin" in said
    eventually("it is told", lambda: tenant.events(NAME, "BackfillRefused"))
    ask(tenant, controls.BACKFILL, '{"id": "three", "from": "patient-7"}')
    eventually("the other too", lambda: tenant.events(NAME, "BackfillRefused")[1:])
    refusals = tenant.events(NAME, "BackfillRefused")
    assert [message for message in refusals if message.startswith(f"{controls.BACKFILL}: from: ")]
    assert not [message for message in refusals if "patient-7" in message]
    assert "patient-7" not in str(tenant.status(NAME))
    eventually("pods that ended long ago go", lambda: not [*nodes.pods("dlq"), *nodes.pods("backfill")])
    assert len(tenant.events(NAME, "DeadLettersReplayed")) == 1


def ask(tenant: Tenant, annotation: str, value: str) -> None:
    tenant.change(NAME, {"metadata": {"annotations": {annotation: value}}})


def replaced(tenant: Tenant, nodes: Nodes, influx: Influx, epoch: int) -> int:  # noqa: F811
    """The driver ends by itself: another one comes, under a greater epoch, and the old one is fenced."""
    before = job(tenant, epoch)
    [driver] = nodes.drivers(epoch)
    nodes.set(driver, {"phase": "Failed"})
    eventually("the old token is refused", lambda: writes(influx, "stress", before.token) == 401, 40)
    later: int = tenant.decisions(NAME)["epoch"]
    assert later > epoch
    [fresh] = eventually("a driver of the new epoch", lambda: nodes.drivers(later))
    nodes.start(fresh, ready=True)
    eventually(
        "nobody retires any more",
        lambda: [tenant.decisions(NAME)["retiring"], tenant.decisions(NAME)["phase"]] == [[], "Fallback"],
    )
    tenant.await_condition(NAME, "Fenced", "True", "TokensRevoked")
    assert writes(influx, "stress", job(tenant, later).token) == 204
    return later


def edited(tenant: Tenant, nodes: Nodes, influx: Influx, epoch: int) -> int:  # noqa: F811
    """Other aggregates: another generation, whose engine starts when the old one's token is refused."""
    before = job(tenant, epoch)
    assert (before.config.assignment.generation, before.config.model_version) == (1, "adder-1")
    aggregates = sample()["spec"]["aggregates"]
    change = {"spec": {"aggregates": [{"name": "X", "function": "Count"}, *aggregates[1:]]}}
    tenant.api.merge(kube.PIPELINE, tenant.namespace, NAME, change)
    tenant.await_condition(NAME, "SpecAccepted", "False", "InvalidSpec")
    assert writes(influx, "stress", before.token) == 204, "results go on as they were"

    more = {"name": "HR_most", "field": "HR", "function": "Max"}
    change = {"spec": {"aggregates": [*aggregates, more]}}
    tenant.api.merge(kube.PIPELINE, tenant.namespace, NAME, change)
    eventually("the engine is stopped", lambda: tenant.events(NAME, "GenerationEnding"))
    began = time.monotonic()
    eventually("the old token is refused", lambda: writes(influx, "stress", before.token) == 401, 5)
    print(f"refused {time.monotonic() - began:.1f} s after the engine was retired")
    eventually("the generation", lambda: tenant.events(NAME, "GenerationStarted"))
    later: int = tenant.decisions(NAME)["epoch"]
    [fresh] = eventually("a driver of the new epoch", lambda: nodes.drivers(later))
    nodes.start(fresh, ready=True)
    told = eventually("its assignment", lambda: job(tenant, later)).config
    assert told.assignment.generation == 2
    assert [aggregate.name for aggregate in told.spec.aggregates][-1] == "HR_most"
    tenant.await_condition(NAME, "GenerationCurrent", "True", "GenerationInForce")
    tenant.await_condition(NAME, "SpecAccepted", "True", "Accepted")
    assert tenant.status(NAME)["generation"] == 2
    assert writes(influx, "stress", job(tenant, later).token) == 204
    return later


def deleted(tenant: Tenant, influx: Influx, kafka: KafkaProcess, last: Job) -> None:  # noqa: F811
    """In Fallback, and with no operator of Dask's there to end its cluster."""
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    internal = {last.config.progress_topic, last.config.repairs_topic, last.config.journal_topic}
    assert internal <= set(client.list_topics(timeout=10).topics)
    # As `kubectl delete -f` does with the sample: the schema goes first.
    tenant.api.delete(kube.CONFIG_MAP, tenant.namespace, "nurse-schema")
    tenant.delete(NAME)
    eventually("the finalizer is off", lambda: tenant.pipeline(NAME) is None, 45)
    for kind in (kube.POD, kube.DASK_CLUSTER, kube.DEPLOYMENT, kube.SERVICE, kube.NETWORK_POLICY):
        assert tenant.children(kind, NAME) == [], kind.kind
    left = eventually(
        "Kafka has forgotten the topics",
        lambda: [topics] if not internal & (topics := set(client.list_topics(timeout=10).topics)) else None,
    )
    assert {TOPIC, f"{TOPIC}-dead-letter"} <= left[0], "those are the user's"
    assert writes(influx, "stress", last.token) == 401
