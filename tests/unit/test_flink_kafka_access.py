"""What Flink's Kafka clients are told of TLS and SASL, and the file that holds their credentials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support import publish_config

from streampipeline.engines.flink.kafka_access import client_properties, credentials, credentials_file
from streampipeline.jobconfig import JobConfig
from streampipeline_operator.resolve import KafkaAccess, write_kafka_access

COMMON = "org.apache.flink.kafka.shaded.org.apache.kafka.common"
SASL = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}


def make(secret_file: str | None = None, **properties: str) -> JobConfig:
    told = publish_config.job_config({"parquet": {"path": "points", "tokenFile": "token"}})
    given = {name.replace("_", "."): value for name, value in properties.items()}
    return told.model_copy(update={"kafka_properties": given, "kafka_secret_file": secret_file})


def test_a_plain_broker_needs_nothing() -> None:
    assert client_properties(make()) == {}


def test_without_an_authority_of_its_own_java_trusts_what_the_system_trusts() -> None:
    assert client_properties(make(security_protocol="SSL")) == {"security.protocol": "SSL"}


def test_an_authority_of_its_own_is_a_truststore() -> None:
    config = make(security_protocol="SSL", ssl_ca_location="/run/jobs/kafka-ca.crt")

    assert client_properties(config) == {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/run/jobs/kafka-ca.crt",
    }


def test_credentials_are_a_reference_to_the_file_beside_librdkafkas() -> None:
    config = make("/run/jobs/kafka.json", security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256")

    assert client_properties(config) == {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "config.providers": "file",
        "config.providers.file.class": f"{COMMON}.config.provider.FileConfigProvider",
        "sasl.jaas.config": "${file:/run/jobs/kafka.properties:sasl.jaas.config}",
    }


def unescaped(text: str) -> str:
    """The value of the only line of a properties file in which no escape is shorter than six characters."""
    assert text.isascii()
    assert text.count("\n") == 1
    key, _, value = text.removesuffix("\n").partition("=")
    assert key == "sasl.jaas.config"
    return str(json.loads(f'"{value.removesuffix(";")}"')) + ";"


@pytest.mark.parametrize(
    ("mechanism", "module"),
    [
        ("PLAIN", "plain.PlainLoginModule"),
        ("SCRAM-SHA-256", "scram.ScramLoginModule"),
        ("SCRAM-SHA-512", "scram.ScramLoginModule"),
    ],
)
def test_each_mechanism_has_its_login_module(mechanism: str, module: str) -> None:
    login = unescaped(credentials(mechanism, "nurse", "pass"))

    assert login == f'{COMMON}.security.{module} required username="nurse" password="pass";'


@pytest.mark.parametrize(
    ("password", "quoted"),
    [
        ('a"b', r"a\"b"),
        (r"a\b", r"a\\b"),
        ("a\nb\rc", r"a\nb\rc"),
        ("'#=:! ;${x}", "'#=:! ;${x}"),
        ("ö€𝄞", "ö€𝄞"),
    ],
)
def test_no_character_ends_a_quoted_word(password: str, quoted: str) -> None:
    login = unescaped(credentials("PLAIN", "nurse", password))

    assert login.endswith(f' password="{quoted}";')


def test_a_property_is_escaped_by_utf_16_units() -> None:
    assert r"\u0022\u00f6\ud834\udd1e\u005c\u005c\u0022;" in credentials("PLAIN", "nurse", "ö𝄞\\")


def test_the_ground_writes_both_files_for_their_owner_alone(tmp_path: Path) -> None:
    secrets = {"sasl.username": "nurse", "sasl.password": "correct horse"}

    write_kafka_access(KafkaAccess(None, SASL, secrets), tmp_path)

    told = tmp_path / "kafka.json"
    java = Path(credentials_file(told))
    assert sorted(tmp_path.iterdir()) == [told, java]
    assert java.read_text() == credentials("PLAIN", "nurse", "correct horse")
    assert {file.stat().st_mode & 0o777 for file in (told, java)} == {0o600}


def test_without_credentials_nothing_is_written_for_them(tmp_path: Path) -> None:
    write_kafka_access(KafkaAccess("PEM", {"security.protocol": "SSL"}), tmp_path)

    assert [file.name for file in tmp_path.iterdir()] == ["kafka-ca.crt"]
