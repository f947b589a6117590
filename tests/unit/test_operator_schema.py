"""A live pipeline keeps the schema that it began with, whatever its ConfigMap says later."""

from __future__ import annotations

import base64
import json

from tests.support.kube_double import NAMESPACE, KubeDouble

from streampipeline_operator.job_files import schema_told
from streampipeline_operator.kube import Object
from streampipeline_operator.resolve import digest_of

FIRST, LATER = '{"type": "record", "name": "A"}', '{"type": "record", "name": "B"}'


def secret(**files: object) -> Object:
    data = {
        name.replace("__", "."): base64.b64encode(json.dumps(content).encode()).decode()
        for name, content in files.items()
    }
    metadata = {"name": "nurse-jobs", "namespace": NAMESPACE, "labels": {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def test_the_schema_that_an_engine_was_told_is_found_by_its_digest() -> None:
    api = KubeDouble()
    api.create(secret(one__json={"avroSchema": LATER}, two__json={"avroSchema": FIRST}, one__token="x"))
    assert schema_told(api, NAMESPACE, "nurse-jobs", digest_of(FIRST)) == FIRST
    assert schema_told(api, NAMESPACE, "nurse-jobs", digest_of("another")) is None


def test_without_the_secret_there_is_none() -> None:
    assert schema_told(KubeDouble(), NAMESPACE, "nurse-jobs", digest_of(FIRST)) is None
