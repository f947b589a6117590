"""Leadership by a Lease: of several replicas one acts, and the next takes over within 15 s of its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from streampipeline_operator import metrics
from streampipeline_operator.kube import LEASE, Kube

log = structlog.get_logger()

LEASE_NAME = "streampipeline-operator"
LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 12, 8, 3
LOST = 4
"""Exit code of a replica that lost the Lease."""


def wait_until_leading(namespace: str, identity: str, renewed: Callable[[], None]) -> None:
    """Return once this replica holds the Lease, which is renewed from then on in a thread of its own.

    Who loses the Lease ends at once, whatever it was at. `renewed` is called each time that the API server
    has confirmed the Lease.
    """
    leading = threading.Event()
    election = leaderelection.LeaderElection(
        electionconfig.Config(
            _WatchedLock(LEASE_NAME, namespace, identity, renewed),
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=leading.set,
            onstopped_leading=_lost,
        )
    )
    threading.Thread(target=election.run, name="lease", daemon=True).start()
    leading.wait()
    metrics.LEADER.set(1)
    log.info("leader.started", identity=identity)


def end(api: Kube, namespace: str) -> NoReturn:
    """Give the Lease back, so that the next replica need not wait for its end, and end the process."""
    with suppress(Exception):
        api.merge(LEASE, namespace, LEASE_NAME, {"spec": {"holderIdentity": None}})
    log.info("leader.stopped")
    # Threads that act are not waited for: what they do is done again by whoever comes after.
    os._exit(0)


def _lost() -> None:
    log.error("leader.lost")
    os._exit(LOST)


class _WatchedLock(LeaseLock):  # type: ignore[misc]
    def __init__(self, name: str, namespace: str, identity: str, renewed: Callable[[], None]) -> None:
        super().__init__(name, namespace, identity)
        self._renewed = renewed

    def update(self, name: str, namespace: str, updated_record: object) -> bool:
        """As the library's, and tells of success."""
        done = bool(super().update(name, namespace, updated_record))
        if done:
            self._renewed()
        return done
