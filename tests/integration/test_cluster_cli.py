"""The command line against a real API server. Nothing runs there: tests write what operators write."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from tests.support.api_server import ApiServer
from tests.unit.test_cluster_cli_redact import LEAKS, PATIENT, RECORD_TEXTS, SCHEMA, SECRET, SECRET_TEXTS
from tests.unit.test_cluster_cli_status import body
from typer.testing import CliRunner, Result

from streampipeline.api import controls
from streampipeline.cli import app
from streampipeline.decide.state import Halt, HandOver, Phase, TriggerKind
from streampipeline.jobconfig import EngineName

pytestmark = pytest.mark.integration

SAMPLE = Path(__file__).parents[2] / "samples" / "nurse-stress.yaml"
NAME = "nurse-stress"
PATH = "/apis/streampipeline.io/v1alpha1/namespaces"


class World:
    """A namespace with one pipeline, its user, and who plays its operator."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.namespace = server.namespace("cli")
        self.client = server.client()
        server.kubectl("apply", "--server-side", "-n", self.namespace, "-f", str(SAMPLE))

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> Result:
        where = ["-n", self.namespace, "--kubeconfig", str(kubeconfig or self.server.kubeconfig)]
        return CliRunner().invoke(app, [*arguments, *where])

    def pipeline(self) -> dict[str, Any]:
        return dict(self.client.get(f"{PATH}/{self.namespace}/streampipelines/{NAME}").json())

    def annotation(self, name: str) -> str | None:
        found: str | None = (self.pipeline()["metadata"].get("annotations") or {}).get(name)
        return found

    def write(self, phase: Phase, **changes: Any) -> None:
        """Write `.status` as the operator would in `phase`; `changes` of what it remembers."""
        status = body(phase, **changes)["status"]
        status["state"]["at"] = time.time_ns() // 1_000_000
        resource = {**self.pipeline(), "status": status}
        answer = self.client.put(f"{PATH}/{self.namespace}/streampipelines/{NAME}/status", json=resource)
        assert answer.status_code == 200, answer.text

    def pod(self, name: str, labels: dict[str, str], **status: Any) -> None:
        """A pod that no kubelet knows, with a secret and a patient in all that it says."""
        planted = "\n".join(SECRET_TEXTS + RECORD_TEXTS)
        container = {
            "name": "part",
            "image": "streampipeline/dask:1",
            "args": ["--token", SECRET, planted],
            "env": [{"name": "INFLUX_TOKEN", "value": SECRET}, {"name": "NOTE", "value": planted}],
        }
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        metadata = {"name": name, "labels": labels, "annotations": {"note": planted}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
        made = self.client.post(pods, json=pod)
        assert made.status_code == 201, made.text
        answer = self.client.put(f"{pods}/{name}/status", json={**made.json(), "status": status})
        assert answer.status_code == 200, answer.text


@pytest.fixture
def world(api_server: ApiServer) -> World:
    return World(api_server)


def test_status_of_a_pipeline_that_nobody_has_seen(world: World) -> None:
    done = world.run("status", NAME)
    assert (done.exit_code, done.output) == (1, f"{NAME}: Not seen by an operator yet\n")
    assert world.run("explain", NAME).exit_code == 2


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_status_as_data_is_what_the_server_has(world: World, output: str, read: Callable[[str], Any]) -> None:
    world.write(Phase.FALLBACK)
    done = world.run("status", NAME, "-o", output)
    data = read(done.output)
    stored = world.pipeline()["status"]
    assert {key: data[key] for key in stored if key != "state"} == {
        key: value for key, value in stored.items() if key != "state"
    }
    assert data["ready"] is (done.exit_code == 0)
    assert [each["name"] for each in read(world.run("status", "-o", output).output)] == [NAME]


def test_explain_reads_what_the_server_keeps_of_a_decision(world: World) -> None:
    world.write(Phase.NORMAL)
    done = world.run("explain", NAME, "-o", "json")
    assert done.exit_code == 0, done.output
    assert [rule["name"] for rule in json.loads(done.output)["rules"]] == [
        "SharedFailure",
        "PrimaryDown",
        "Latency",
    ]


def test_what_is_not_there_is_exit_code_2(world: World, api_server: ApiServer) -> None:
    done = world.run("status", "another")
    assert (done.exit_code, done.output) == (
        2, f"streampipeline: there is no StreamPipeline another in namespace {world.namespace}\n",
    )  # fmt: skip
    stranger = api_server.service_account(world.namespace, "stranger")
    refused = world.run("pin", NAME, "dask", kubeconfig=stranger)
    assert refused.exit_code == 2
    assert "forbidden" in refused.output


def test_pins_come_and_go(world: World) -> None:
    assert world.run("pin", NAME, "dask").exit_code == 0
    assert world.annotation(controls.PIN_ENGINE) == "dask"
    assert world.run("pin", NAME, "none").exit_code == 0
    assert world.annotation(controls.PIN_ENGINE) is None


def test_a_pipeline_is_suspended_and_resumed(world: World) -> None:
    assert world.run("suspend", NAME).exit_code == 0
    assert world.pipeline()["spec"]["suspend"] is True
    assert world.run("drill", NAME).exit_code == 2
    assert world.run("resume", NAME).exit_code == 0
    assert world.pipeline()["spec"]["suspend"] is False


def test_a_loss_is_accepted_only_where_there_is_one_and_by_yes(world: World) -> None:
    world.write(Phase.NORMAL)
    accept = ("accept-loss", NAME, "--reason", "broker was reset")
    assert "does not stand at a loss" in world.run(*accept, "--yes").output
    world.write(Phase.STARTUP, halt=Halt(since=1_700_000_000_000, records_gone=1_234))
    asked = world.run(*accept)
    assert asked.exit_code == 2
    assert "1,234 records are gone" in asked.output
    assert world.annotation(controls.ACCEPT_LOSS) is None
    assert world.run(*accept, "--yes").exit_code == 0
    assert (world.annotation(controls.ACCEPT_LOSS) or "").endswith(" broker was reset")


def test_a_drill_needs_normal_and_no_pin(world: World) -> None:
    world.write(Phase.FALLBACK)
    assert "a drill begins in Normal" in world.run("drill", NAME).output
    world.write(Phase.NORMAL)
    world.run("pin", NAME, "flink")
    assert "pinned to flink" in world.run("drill", NAME).output
    assert world.annotation(controls.DRILL) is None


def test_a_drill_that_nobody_takes_up_times_out(world: World) -> None:
    world.write(Phase.NORMAL)
    done = world.run("drill", NAME, "--wait", "--timeout", "1")
    assert done.exit_code == 3
    assert "no operator has taken the drill up within 1 s" in done.output


def test_a_drill_is_followed_through_its_phases(world: World) -> None:
    world.write(Phase.NORMAL)
    operator = threading.Thread(target=_hold_drill, args=(world,))
    operator.start()
    done = world.run("drill", NAME, "--wait", "--timeout", "60", "-o", "json")
    operator.join()
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["outcome"] == "Completed"
    assert [each["phase"] for each in data["phases"]] == ["Triggering", "Fallback", "Resuming", "Normal"]
    assert "Fallback" in done.stderr
    assert data["drill"] == world.annotation(controls.DRILL)


def _hold_drill(world: World) -> None:
    """What an operator would write; each phase for longer than the command's look takes."""
    drill = None
    while drill is None:
        drill = world.annotation(controls.DRILL)
        time.sleep(0.1)
    now = time.time_ns() // 1_000_000
    flink, dask = EngineName.FLINK, EngineName.DASK
    there = HandOver(
        trigger=TriggerKind.DRILL, reason=f"drill {drill}", source=flink, target=dask, epoch=9, decided=now
    )
    back = HandOver(
        trigger=TriggerKind.RECOVERED, reason="up", source=dask, target=flink, epoch=10, decided=now + 2
    )
    over = there.model_copy(update={"completed": now + 1})
    turns: list[tuple[Phase, tuple[HandOver, ...]]] = [
        (Phase.TRIGGERING, (there,)),
        (Phase.FALLBACK, (over,)),
        (Phase.RESUMING, (over, back)),
        (Phase.NORMAL, (over, back.model_copy(update={"completed": now + 3}))),
    ]
    for phase, hand_overs in turns:
        world.write(phase, drill=drill, hand_overs=hand_overs, since=now)
        time.sleep(2.5)


def test_what_has_not_begun_is_not_audited(world: World) -> None:
    assert "no operator has seen" in world.run("audit", NAME).output
    world.write(Phase.STARTUP, origin=None)
    done = world.run("audit", NAME)
    assert (done.exit_code, world.annotation(controls.AUDIT)) == (2, None)
    assert "has not begun" in done.output


def test_an_audit_without_an_operator_times_out(world: World) -> None:
    world.write(Phase.NORMAL)
    done = world.run("audit", NAME, "--timeout", "1")
    assert done.exit_code == 3
    assert "no operator has made its pod" in done.output


def test_an_audit_follows_its_pod(world: World) -> None:
    """To its log, which is empty as nothing ran."""
    world.write(Phase.NORMAL)
    operator = threading.Thread(target=_make_audit_pod, args=(world,))
    operator.start()
    done = world.run("audit", NAME, "--timeout", "60")
    operator.join()
    assert done.exit_code == 2
    assert f"pod {NAME}-audit Pending (ContainerCreating)" in done.output
    assert "no audit could be made: its log holds no report (exit code 0, Completed)" in done.output


def _make_audit_pod(world: World) -> None:
    request = None
    while request is None:
        request = world.annotation(controls.AUDIT)
        time.sleep(0.1)
    labels = {controls.AUDIT: request, "streampipeline.io/pipeline": NAME}
    waiting = {"name": "part", "state": {"waiting": {"reason": "ContainerCreating"}}}
    ended = {"name": "part", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    state: dict[str, Any] = {"image": "", "imageID": "", "ready": False, "restartCount": 0}
    world.pod(f"{NAME}-audit", labels, phase="Pending", containerStatuses=[waiting | state])
    time.sleep(2.5)
    pods = f"/api/v1/namespaces/{world.namespace}/pods/{NAME}-audit"
    pod = {
        **world.client.get(pods).json(),
        "status": {"phase": "Succeeded", "containerStatuses": [ended | state]},
    }
    assert world.client.put(f"{pods}/status", json=pod).status_code == 200


def test_a_report_has_all_objects_and_nothing_secret(world: World, tmp_path: Path) -> None:
    planted = "\n".join(SECRET_TEXTS + RECORD_TEXTS)
    world.write(Phase.FALLBACK, reason=planted)
    maps = f"/api/v1/namespaces/{world.namespace}/configmaps/nurse-schema"
    schema = {**world.client.get(maps).json(), "data": {"nurse.avsc": SCHEMA}}
    assert world.client.put(maps, json=schema).status_code == 200
    labels = {"streampipeline.io/pipeline": NAME}
    operator = {"app.kubernetes.io/name": "streampipeline", "app.kubernetes.io/component": "operator"}
    world.pod("driver", labels, phase="Running", message=planted)
    world.pod("letters", {**labels, controls.DLQ: "1"}, phase="Succeeded", message=planted)
    world.pod("operator-0", operator, phase="Running")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "jobs", "labels": labels},
        "stringData": {"t": SECRET},
    }
    involved = {"kind": "Pod", "name": "driver", "namespace": world.namespace}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "SinkDown", "message": planted}
    for plural, each in (("secrets", secret), ("events", event)):
        made = world.client.post(f"/api/v1/namespaces/{world.namespace}/{plural}", json=each)
        assert made.status_code == 201, made.text
    file = tmp_path / "out.zip"
    done = world.run("report", NAME, "-f", str(file), "-o", "json")
    assert done.exit_code == 0, done.output
    with ZipFile(file) as archive:
        texts = {name.removeprefix("out/"): archive.read(name).decode() for name in archive.namelist()}
    assert {
        "pipeline.yaml",
        "children/Pod-driver.yaml",
        "operator/operator-0.yaml",
        "events.yaml",
    } <= texts.keys()
    assert [(name, leak) for name, text in texts.items() for leak in LEAKS if leak in text] == []
    assert not [leak for leak in LEAKS if leak.encode() in file.read_bytes()]
    assert PATIENT not in done.output
    assert yaml.safe_load(texts["events.yaml"])[0]["reason"] == "SinkDown"
    assert yaml.safe_load(texts["versions.yaml"])["kubernetes"].startswith("v1.")
    # The kinds of Dask's operator may not be installed here: then the report says that it lacks them.
    problems = {each.split(":")[0] for each in texts["problems.txt"].splitlines() if each}
    assert "log of letters" in problems, "it may hold whole records"
    assert problems - {"log of letters"} in (set(), {"daskclusters", "daskworkergroups"})


def test_watch_ends_by_ctrl_c(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write(Phase.NORMAL)
    looks = iter([1, 2])

    def sleep(_: float) -> None:
        if next(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("streampipeline.cluster.status.time.sleep", sleep)
    done = world.run("status", NAME, "--watch", "-o", "json")
    assert json.loads(done.output)["name"] == NAME
