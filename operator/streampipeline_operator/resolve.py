"""What a spec refers to: the schema, the secrets, and the configuration of jobs that follows."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from streampipeline.api.problems import InvalidPipelineError
from streampipeline.api.spec import KIND, SaslMechanism, StreamPipelineSpec
from streampipeline.api.validate import parse
from streampipeline.engines.flink.kafka_access import credentials, credentials_file
from streampipeline.jobconfig import InfluxDbEndpoint, PipelineConfig, SinkEndpoint, TimestampType
from streampipeline.sinks.base import write_secret
from streampipeline_operator.desired import influxdb, model
from streampipeline_operator.desired.common import Pipeline
from streampipeline_operator.kube import CONFIG_MAP, SECRET, ApiException, Kind, Kube, Object
from streampipeline_operator.settings import Settings

MECHANISMS = {
    SaslMechanism.PLAIN: "PLAIN",
    SaslMechanism.SCRAM_SHA_256: "SCRAM-SHA-256",
    SaslMechanism.SCRAM_SHA_512: "SCRAM-SHA-512",
}


class NotResolved(Exception):
    """Something that the spec refers to is not there: it may come. `reason` is CamelCase."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class KafkaAccess:
    """How brokers are reached. `secrets` are never shown."""

    ca: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class References:
    """What a spec's references held when they were read."""

    schema: str
    kafka: KafkaAccess
    sink_token: str | None = field(default=None, repr=False)
    """Of an external InfluxDB."""


def digest_of(text: str) -> str:
    """By which a text is known again."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def typed(body: Object) -> StreamPipelineSpec:
    """The spec of a resource. Raises InvalidPipelineError; what the schema says is not looked at yet."""
    metadata = {"name": body["metadata"]["name"], "namespace": body["metadata"]["namespace"]}
    document = {"apiVersion": body["apiVersion"], "kind": KIND, "metadata": metadata, "spec": body["spec"]}
    return parse(document).spec


class Resolver:
    """Reads ConfigMaps and Secrets of the pipelines' namespaces."""

    def __init__(self, api: Kube, settings: Settings) -> None:
        self._api = api
        self._settings = settings

    def references(self, body: Object, spec: StreamPipelineSpec) -> References:
        """Raises NotResolved, InvalidPipelineError when spec and schema do not fit, ApiException."""
        namespace = body["metadata"]["namespace"]
        ref = spec.source.format.schema_config_map_ref
        schema = spec.source.format.inline_schema or ""
        config_maps = {}
        if ref is not None:
            found = self._data(
                CONFIG_MAP, namespace, ref.name, ref.key, "spec.source.format.schemaConfigMapRef"
            )
            schema, config_maps = found, {ref.name: {ref.key: found}}
        metadata = {"name": body["metadata"]["name"], "namespace": namespace}
        parse(
            {"apiVersion": body["apiVersion"], "kind": KIND, "metadata": metadata, "spec": body["spec"]},
            config_maps,
        )
        return References(schema, self.kafka(namespace, spec), self.sink_token(namespace, spec))

    def sink_token(self, namespace: str, spec: StreamPipelineSpec) -> str | None:
        """Of an external InfluxDB; None: there is none. Raises NotResolved, ApiException."""
        sink = spec.sinks[0].influxdb
        if sink is None or sink.external is None:
            return None
        ref = sink.external.token_secret_ref
        place = "spec.sinks[0].influxdb.external.tokenSecretRef"
        return self._data(SECRET, namespace, ref.name, ref.key, place)

    def kafka(self, namespace: str, spec: StreamPipelineSpec) -> KafkaAccess:
        """How the brokers are reached. Raises NotResolved, ApiException."""
        tls, sasl = spec.source.kafka.tls, spec.source.kafka.sasl
        properties, secrets, ca = {}, {}, None
        if tls is not None or sasl is not None:
            encrypted = "SSL" if sasl is None else "SASL_SSL"
            properties["security.protocol"] = encrypted if tls is not None else "SASL_PLAINTEXT"
        if tls is not None and tls.ca_secret_ref is not None:
            ref = tls.ca_secret_ref
            ca = self._data(SECRET, namespace, ref.name, ref.key, "spec.source.kafka.tls.caSecretRef")
        if sasl is not None:
            properties["sasl.mechanism"] = MECHANISMS[sasl.mechanism]
            place, name = "spec.source.kafka.sasl.credentialsSecretRef", sasl.credentials_secret_ref.name
            for key in ("username", "password"):
                secrets[f"sasl.{key}"] = self._data(SECRET, namespace, name, key, place)
        return KafkaAccess(ca, properties, secrets)

    def _data(self, kind: Kind, namespace: str, name: str, key: str, place: str) -> str:
        try:
            found = self._api.get(kind, namespace, name)
        except ApiException as error:
            if error.status != 403:
                raise
            raise NotResolved("NamespaceNotGranted", not_granted(self._settings, namespace)) from None
        if found is None:
            raise NotResolved(
                f"{kind.kind}Missing", f"{place}: there is no {kind.kind} {name} in {namespace}: create it"
            )
        data = found.get("data") or {}
        if key not in data:
            raise NotResolved(
                f"{kind.kind}KeyMissing",
                f"{place}: {kind.kind} {name} has no key {key}; its keys: {', '.join(data) or 'none'}",
            )
        return base64.b64decode(data[key]).decode() if kind is SECRET else str(data[key])


def not_granted(settings: Settings, namespace: str) -> str:
    """What to do where the operator may not touch Secrets."""
    role = f"{settings.service_account}-secrets"
    account = f"{settings.namespace}:{settings.service_account}"
    return (
        f"the operator may not use Secrets in namespace {namespace}: allow it with `kubectl create "
        f"rolebinding {role} -n {namespace} --clusterrole={role} --serviceaccount={account}`"
    )


def unsupported(spec: StreamPipelineSpec) -> None:
    """Refuse what runs on one machine only. Raises InvalidPipelineError."""
    from streampipeline.api.problems import Problem

    problems = []
    if spec.sinks[0].parquet is not None:
        problems.append(
            Problem("spec.sinks[0].parquet", "is for one machine: pods share no folder", "use influxdb")
        )
    if len(spec.sinks) > 1:
        problems.append(
            Problem("spec.sinks", "has more than one sink", "keep one; run another pipeline for the other")
        )
    if problems:
        raise InvalidPipelineError(problems)


def write_kafka_access(access: KafkaAccess, folder: Path) -> None:
    """The files that `config` refers to; credentials once for librdkafka, once for Flink's Java clients."""
    if access.ca is not None:
        write_secret(folder / "kafka-ca.crt", access.ca)
    if access.secrets:
        told, secrets = folder / "kafka.json", access.secrets
        write_secret(told, json.dumps(secrets))
        mechanism = access.properties["sasl.mechanism"]
        java = credentials(mechanism, secrets["sasl.username"], secrets["sasl.password"])
        write_secret(Path(credentials_file(told)), java)


def config(
    pipeline: Pipeline,
    references: References,
    timestamps: TimestampType,
    folder: Path | str,
    first_model: str = "",
) -> PipelineConfig:
    """What is the same for each job; `folder`: where the files of Kafka's access are seen from.

    `first_model`: digest of the pipeline's first managed model.
    """
    access = references.kafka
    properties = dict(access.properties)
    if access.ca is not None:
        properties["ssl.ca.location"] = f"{folder}/kafka-ca.crt"
    return PipelineConfig(
        pipeline=pipeline.name,
        uid=pipeline.uid,
        spec=pipeline.spec,
        avro_schema=references.schema,
        bootstrap_servers=[
            pipeline.names.reachable(server) for server in pipeline.spec.source.kafka.bootstrap_servers
        ],
        kafka_properties=properties,
        kafka_secret_file=f"{folder}/kafka.json" if access.secrets else None,
        timestamp_type=timestamps,
        model_url=model.url(pipeline, pipeline.spec.model, first_model),
    )


def endpoint(pipeline: Pipeline) -> SinkEndpoint:
    """Where points go; each job puts its own token file in."""
    sink = influxdb.sink(pipeline)
    assert sink is not None
    return SinkEndpoint(
        influxdb=InfluxDbEndpoint(
            url=influxdb.url(pipeline),
            org=sink.external.org if sink.external else influxdb.ORG,
            bucket=sink.bucket,
            measurement=sink.measurement,
            token_file="",
            timeout_seconds=sink.write_timeout_seconds,
        )
    )
