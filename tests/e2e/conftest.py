"""One cluster for the session: made if it is missing, and refused if it is not ours."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from testbed import product
from testbed.assemble import assemble
from testbed.bed import Bed
from testbed.outcome import remains

GONE_SECONDS = 60
_numbers = itertools.count(1)
_deletions: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for deletion in _deletions:
        terminalreporter.write_line(deletion)


def delete(bed: Bed, namespace: str) -> None:
    """Delete the namespace's pipelines, whatever they are at: soon nothing of them is left."""
    names = [each["metadata"]["name"] for each in bed.json_of("get", "sp", "-n", namespace)["items"]]
    phases = {
        f"{bed.phase(namespace, name)} ({bed.condition(namespace, name, 'Ready').get('reason')})"
        for name in names
    }
    began = time.monotonic()
    bed.kubectl("delete", "streampipelines", "--all", "-n", namespace, f"--timeout={GONE_SECONDS}s")
    seconds = GONE_SECONDS - (time.monotonic() - began)
    bed.until("nothing is left of the pipelines", lambda: not remains(bed, namespace), seconds=seconds)
    if phases:
        gone = time.monotonic() - began
        _deletions.append(f"deleted in {', '.join(phases)}: nothing left after {gone:.1f} s")


def namespaces(bed: Bed) -> list[str]:
    """Those that these tests made."""
    found = bed.api.request("GET", "/api/v1/namespaces")["items"]
    return [each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("e2e-")]


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """With the chart installed, for all namespaces; no test's namespace is left."""
    made = assemble()
    for namespace in namespaces(made):
        made.kubectl("delete", "namespace", namespace, "--timeout=120s")
    product.install(made, [])
    yield made
    made.until("the namespaces are gone", lambda: not namespaces(made), seconds=120)


@pytest.fixture
def namespace(bed: Bed) -> Iterator[str]:
    """A new one in which the operator may use Secrets. At the end its pipelines are gone, and it is going."""
    name = bed.namespace(f"e2e-{next(_numbers)}-{int(time.time())}")
    product.grant(bed, name)
    yield name
    delete(bed, name)
    bed.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def deleted(bed: Bed) -> Callable[[str], None]:
    """Deletes the pipelines of a namespace: see `delete`."""
    return lambda namespace: delete(bed, namespace)


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
