"""What a run on one machine says that it does not use."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support import publish_config

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.local.site import for_the_cluster_only

TLS: dict[str, Any] = {"tls": {}}
SASL = {"sasl": {"mechanism": "Plain", "credentialsSecretRef": {"name": "kafka-user"}}}


@pytest.mark.parametrize(
    ("kafka", "unused"),
    [
        ({}, []),
        (TLS, ["spec.source.kafka.tls"]),
        (TLS | SASL, ["spec.source.kafka.tls", "spec.source.kafka.sasl"]),
    ],
)
def test_access_to_the_users_brokers_is_for_the_cluster(kafka: dict[str, Any], unused: list[str]) -> None:
    spec = publish_config.spec()
    source = {**spec["source"], "kafka": {**spec["source"]["kafka"], **kafka}}

    assert for_the_cluster_only(StreamPipelineSpec.model_validate({**spec, "source": source})) == unused
