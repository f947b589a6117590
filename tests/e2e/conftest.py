"""One cluster for the session: made if it is missing, and refused if it is not ours."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from testbed import product
from testbed.assemble import assemble
from testbed.bed import Bed

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def bed() -> Bed:
    """With the chart installed, for all namespaces."""
    made = assemble()
    for namespace in made.api.request("GET", "/api/v1/namespaces")["items"]:
        if namespace["metadata"]["name"].startswith("e2e-"):
            made.kubectl("delete", "namespace", namespace["metadata"]["name"], "--timeout=120s")
    product.install(made, [])
    return made


@pytest.fixture
def namespace(bed: Bed) -> Iterator[str]:
    """A new one in which the operator may use Secrets; gone at the end."""
    name = bed.namespace(f"e2e-{next(_numbers)}-{int(time.time())}")
    product.grant(bed, name)
    yield name
    bed.kubectl("delete", "streampipelines", "--all", "-n", name, "--timeout=90s")
    bed.kubectl("delete", "namespace", name, "--timeout=120s")


@pytest.fixture
def running(bed: Bed) -> Callable[..., product.Producer]:
    """Starts a broker, the sample with short thresholds, and a stream, in a namespace; waits until Ready.

    `meanwhile` is called when the sample was applied; `sends`: more options of the producer.
    """
    return lambda namespace, name="nurse-stress", **changes: start(bed, namespace, name, **changes)


QUICK = {
    "failover__minimumFallbackSeconds": 5,
    "failover__checkIntervalSeconds": 2,
    "failover__resumeChecks": 2,
    "failover__resumeLatencySeconds": 12,
}


def start(
    bed: Bed,
    namespace: str,
    name: str,
    *,
    seconds: float = 600,
    sends: Sequence[str] = (),
    meanwhile: Callable[[], None] = lambda: None,
    **changes: object,
) -> product.Producer:
    product.start_broker(bed, namespace)
    bed.apply(namespace, *product.sample(name, **{**QUICK, **changes}))
    meanwhile()
    bed.kubectl("wait", "-n", namespace, f"sp/{name}", "--for=condition=Ready", "--timeout=240s")
    producer = product.Producer(bed, namespace)
    producer.start(rate="200", seconds=seconds, options=sends)
    return producer
