"""What a report for support may not hold: secrets and contents of records, wherever they stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from tests.unit.test_cluster_cli_status import body

from streampipeline.cluster.redact import Redactor, secret_name
from streampipeline.cluster.report import Findings, write

SECRET = "hunter2X"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6Ik.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50.c2lnbmF0dXJl-b2YtaXQ"
INFLUX = "q9vT4Zk7bXy_2LrWc8uNfHs3JpAeKmD6QxGtYiVoR1ZwBnMlCaSdEhUjPkFgOy0TqXzIvWbNrLm5Js8HuKdC2A=="
PEM = "-----BEGIN RSA PRIVATE KEY-----\nTUlJRW93SUJBQUtDQVFFQXBlbVNlY3JldA\n-----END RSA PRIVATE KEY-----"
PATIENT, VALUE, NAME = "patient-0815", "71.9375", "Erika Mustermann"
LEAKS = [SECRET, JWT, INFLUX, "TUlJRW93SUJBQUtDQVFFQXBlbVNlY3JldA", PATIENT, VALUE, "Erika", "Mustermann"]
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Reading",
        "fields": [
            {"name": "id", "type": "string"},
            {
                "name": "who",
                "type": [
                    "null",
                    {"type": "record", "name": "Who", "fields": [{"name": "surname", "type": "string"}]},
                ],
            },
            {"name": "HR", "type": "double"},
        ],
    }
)  # fmt: skip
REDACTOR = Redactor.of(
    {
        "source": {"keyField": "id", "eventTime": {"field": "datetime"}},
        "aggregates": [{"name": "HR_mean", "field": "HR"}],
        "sinks": [{"influxdb": {"measurement": "nurse_stress"}}],
    },
    SCHEMA,
)
SECRET_TEXTS = [
    f'sasl.jaas.config=org.apache.kafka.PlainLoginModule required username="me" password="{SECRET}";',
    f"'properties.sasl.jaas.config' = 'org.apache.ScramLoginModule required password=\"{SECRET}\";'",
    f"sasl.password = {SECRET}",
    f"password={SECRET},and;more",
    f'password="{SECRET}',
    f'{{"password": "{SECRET} with words"}}',
    f'a string in a string: {{\\"apiToken\\": \\"{SECRET}\\"}}',
    f"{{'client_secret': '{SECRET}'}}",
    f"KAFKA_PASSWORD: {SECRET}",
    f"--token {SECRET} --quiet",
    f"--kafka-password '{SECRET}'",
    f"-Ds3.secret-key={SECRET}",
    f"Authorization: Token {SECRET}",
    f"'Authorization': 'Bearer {SECRET}'",
    f"headers: authorization=Basic {SECRET}",
    f"used Bearer {JWT} for it",
    f"GET http://admin:{SECRET}@influx:8086/health",
    f"GET http://admin:p@{SECRET}@influx:8086/health",
    f"GET http://influx:8086/api/v2/write?token={SECRET}&org=x",
    f"issued {INFLUX} to dask",
    f"read {JWT}",
    f"key file:\n{PEM}\nend",
    f"cut short: {PEM[:60]}",
]
RECORD_TEXTS = [
    f"unable to parse 'nurse_stress,id={PATIENT} HR={VALUE} 1700000000'",
    f"nurse_stress HR={VALUE} 1700000000",
    f"rejected Rejected(key='{PATIENT}', message='HR {VALUE}')",
    f"surname={NAME}, rest",
    f'{{"id": "{PATIENT}", "HR": {VALUE}}}',
    f"row +I[{PATIENT}, {VALUE}, {NAME}]",
    f"retract -U[{PATIENT}, {VALUE}]",
    f"ConsumerRecord(topic = stress, key = {PATIENT}, value = {VALUE})",
    f"payload b'\\x0c{PATIENT}\\x00'",
    f"KeyError: '{PATIENT}'",
    f'org.apache.flink.util.FlinkRuntimeException: cannot read "{PATIENT}" at 3',
    f"1 validation error: Input should be valid [type=int, input_value='{PATIENT}', input_type=str]",
]


@pytest.mark.parametrize("text", SECRET_TEXTS + RECORD_TEXTS)
def test_it_is_taken_out_of_any_text(text: str) -> None:
    clean = REDACTOR.text(f"before\n{text}\nafter")
    assert not [leak for leak in LEAKS if leak in clean]
    assert clean.startswith("before\n")
    assert clean.endswith("\nafter") or "BEGIN" in text


@pytest.mark.parametrize(
    "text",
    [
        "Dask active for 3m12s: latency 8.4 s above 5 s",
        "Flink's cluster down (ConnectError: All connection attempts failed)",
        "drill 2026-11-22T11:20:00.123Z: Flink job 7f3ac0 Running",
        "switched from RUNNING to FAILED on 10.244.0.7:6122-9ab8c7 @ nurse-flink-taskmanager-6d5f",
        "image sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "the token is revoked; no Secret nurse-kafka in namespace hospital",
    ],
)
def test_what_support_needs_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_names_of_nested_fields_are_known() -> None:
    assert {"id", "who", "surname", "HR", "HR_mean", "datetime"} <= REDACTOR.names


@pytest.mark.parametrize(
    "name", ["password", "KAFKA_SASL_USERNAME", "apiKey", "x-api-key", "clientSecret", "TOKEN"]
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize(
    "name", ["secretName", "tokenSecretRef", "token_file", "tokenExpirationSeconds", "key", "image"]
)
def test_what_only_points_at_one_is_not(name: str) -> None:
    assert not secret_name(name)


def test_of_an_object_references_and_flags_stay() -> None:
    pod = {
        "metadata": {
            "managedFields": [{"f": 1}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": SECRET,
                "streampipeline.io/drill": "x",
            },
        },
        "spec": {
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [{"name": "jobs", "secret": {"secretName": "nurse-jobs", "defaultMode": 288}}],
            "containers": [
                {
                    "command": ["run", "--password", SECRET, "--rate", "5"],
                    "env": [
                        {"name": "DB_PASSWORD", "value": SECRET},
                        {"name": "LEVEL", "value": "INFO"},
                        {"name": "URL", "value": f"http://a:{SECRET}@b"},
                        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                    ],
                }
            ],
        },
    }  # fmt: skip
    assert REDACTOR.tree(pod) == {
        "metadata": {"annotations": {"streampipeline.io/drill": "x"}},
        "spec": {
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [{"name": "jobs", "secret": {"secretName": "nurse-jobs", "defaultMode": 288}}],
            "containers": [
                {
                    "command": ["run", "--password", "<redacted>", "--rate", "5"],
                    "env": [
                        {"name": "DB_PASSWORD", "value": "<redacted>"},
                        {"name": "LEVEL", "value": "INFO"},
                        {"name": "URL", "value": "http://<redacted>@b"},
                        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                    ],
                }
            ],
        },
    }


def test_of_log_lines_unknown_texts_go_and_numbers_stay() -> None:
    line = {
        "event": "points rejected by the sink",
        "level": "error",
        "count": 3,
        "first": [{"key": PATIENT}],
        "odd": NAME,
    }
    kept = json.loads(REDACTOR.log(json.dumps(line)))
    assert kept == {**line, "first": "<redacted>", "odd": "<redacted>"}


def test_the_redaction_of_a_long_line_is_quick() -> None:
    for text in ("a" * 300_000, "ab.cd-" * 50_000, "://" * 100_000, "--" * 150_000, '"' * 300_000):
        assert len(REDACTOR.text(text)) > 0


def findings() -> Findings:
    """Every secret and patient value in every place that a report reads."""
    planted = "\n".join(SECRET_TEXTS + RECORD_TEXTS)
    pipeline: dict[str, Any] = body()
    pipeline["spec"]["source"]["format"] = {"type": "Avro", "schemaConfigMapRef": {"name": "s", "key": "k"}}
    external = {"url": f"http://u:{SECRET}@influx:8086", "org": "o"}
    pipeline["spec"]["sinks"] = [{"influxdb": {"external": external, "measurement": "nurse_stress"}}]
    pipeline["metadata"]["annotations"] = {
        "streampipeline.io/accept-loss": planted,
        "kopf.streampipeline.io/last-handled-configuration": SECRET,
    }
    pipeline["status"]["reason"] = planted
    pipeline["status"]["conditions"][0]["message"] = planted
    pipeline["status"]["state"]["observed"]["sink"]["message"] = planted
    pod = {
        "kind": "Pod",
        "metadata": {"name": "nurse-dask-driver", "namespace": "hospital", "annotations": {"note": planted}},
        "spec": {
            "containers": [
                {
                    "name": "driver",
                    "args": ["--token", SECRET, planted],
                    "env": [{"name": "INFLUX_TOKEN", "value": SECRET}, {"name": "OTHER", "value": planted}],
                }
            ]
        },
        "status": {
            "message": planted,
            "containerStatuses": [{"name": "driver", "lastState": {"terminated": {"message": planted}}}],
        },
    }
    contents = {"key": PATIENT, "first": [[PATIENT, VALUE]], "HR": VALUE, "surname": NAME}
    about = {"namespace": "hospital", "pipeline": "nurse"}
    ours = {"event": planted, "error": planted, "password": SECRET, **contents, **about}
    other = {"event": "FallbackActive", "namespace": "clinic", "pipeline": "secret-project"}
    report = json.dumps(
        {"lost": 1, "examples": {"lost": [{"key": PATIENT, "expected": f"HR={VALUE}"}]}}, indent=1
    )
    log = "\n".join([json.dumps(ours), json.dumps(other), planted, report])
    return Findings(
        pipeline,
        objects=[
            ("children/Pod-nurse-dask-driver", pod),
            ("events", [{"reason": "SinkDown", "message": planted, "note": planted}]),
            ("versions", {"images": ["streampipeline/dask:1"], "odd": planted}),
        ],
        logs=[("logs/nurse-dask-driver/driver.log", log), ("operator/operator-0/operator.log", log)],
        schema=SCHEMA,
        problems=[planted],
    )


def test_a_report_holds_no_secret_and_no_value_of_a_patient(tmp_path: Path) -> None:
    found = findings()
    raw = json.dumps([found.pipeline, found.objects, found.logs, found.problems])
    assert all(json.dumps(leak)[1:-1] in raw for leak in LEAKS), "not planted"
    file = tmp_path / "nurse.zip"
    entries = write(found, file, now=1_700_000_000_000, lines=10)
    assert not [leak for leak in LEAKS if leak.encode() in file.read_bytes()]
    with ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert len(texts) == len(entries) == 8
    assert [(name, leak) for name, text in texts.items() for leak in LEAKS if leak in text] == []
    assert [name for name, text in texts.items() if "secret-project" in text] == []
    # It still says what support needs.
    log = texts["nurse/logs/nurse-dask-driver/driver.log"]
    assert '"lost": 1' in log
    kept = yaml.safe_load(texts["nurse/pipeline.yaml"])
    assert kept["status"]["phase"] == "Fallback"
    assert kept["spec"]["source"]["kafka"]["topic"] == found.pipeline["spec"]["source"]["kafka"]["topic"]
    assert file.stat().st_mode & 0o077 == 0
