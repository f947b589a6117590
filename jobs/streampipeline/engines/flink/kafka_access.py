"""How Kafka clients inside Flink reach the broker: librdkafka's properties in the Java client's words.

Options hold no credential, only a reference into a properties file beside the one that librdkafka's clients
read. Each Java client looks it up as it is made, so neither SQL nor a plan nor Flink's REST shows it. Such
clients are made in the TaskManagers and, to list the topic's partitions, in the JobManager.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from streampipeline.jobconfig import PipelineConfig

_COMMON = "org.apache.flink.kafka.shaded.org.apache.kafka.common"
"""Where the connector's jar keeps the classes of Kafka's `common`."""
_JAAS = "sasl.jaas.config"
_CA = "ssl.ca.location"


def credentials_file(kafka_secret_file: str | Path) -> str:
    """The Java clients' file beside `kafka_secret_file`, librdkafka's."""
    return str(Path(kafka_secret_file).with_suffix(".properties"))


def client_properties(config: PipelineConfig) -> dict[str, str]:
    """Properties of the Java clients, without a secret. What both clients call alike stays as it is.

    Without a CA of its own a pipeline trusts what each system trusts: that is Java's default too.
    """
    properties = {key: value for key, value in config.kafka_properties.items() if key != _CA}
    if _CA in config.kafka_properties:
        properties["ssl.truststore.type"] = "PEM"
        properties["ssl.truststore.location"] = config.kafka_properties[_CA]
    if config.kafka_secret_file is not None:
        properties["config.providers"] = "file"
        properties["config.providers.file.class"] = f"{_COMMON}.config.provider.FileConfigProvider"
        properties[_JAAS] = f"${{file:{credentials_file(config.kafka_secret_file)}:{_JAAS}}}"
    return properties


def credentials(mechanism: str, username: str, password: str) -> str:
    """Content of the Java clients' file. `mechanism`: PLAIN, or SCRAM-... as Kafka calls it."""
    module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    options = {"username": username, "password": password}
    words = [f"{_COMMON}.security.{module}", "required", *_quoted(options)]
    return f"{_JAAS}={_property(' '.join(words))};\n"


def _quoted(options: Mapping[str, str]) -> list[str]:
    """Options of a JAAS entry: a quoted word ends with its line, so line ends are escaped too."""
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
    return [f'{name}="{value.translate(escapes)}"' for name, value in options.items()]


def _property(value: str) -> str:
    """A value as java.util.Properties reads it, in plain ASCII: one UTF-16 unit an escape."""

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))

    return re.sub(r"[^A-Za-z0-9.]", escaped, value)
