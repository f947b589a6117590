"""Leadership by a Lease: of several replicas one acts, and the next takes over within 15 s of its end."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import structlog
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from urllib3.exceptions import HTTPError

from streampipeline_operator import metrics
from streampipeline_operator.kube import LEASE, REQUESTS, ApiException, Kube

log = structlog.get_logger()

LEASE_NAME = "streampipeline-operator"
LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 12, 8, 3
REQUEST_SECONDS = 4.0
LOST = 4
"""Exit code of a replica that lost the Lease."""


def wait_until_leading(api: Kube, namespace: str, identity: str) -> None:
    """Return once this replica holds the Lease, which is renewed from then on in a thread of its own.

    Who loses it to another one ends at once, whatever it was at. Who only cannot renew it, because the API
    server is silent, changes nothing until it can (`Kube.leads_until`): ending would help nobody.
    """
    leading = threading.Event()

    def started() -> None:
        metrics.LEADER.set(1)
        log.info("leader.started", identity=identity)
        leading.set()

    def stopped() -> None:
        metrics.LEADER.set(0)
        log.warning("leader.unconfirmed", identity=identity)

    election = leaderelection.LeaderElection(
        electionconfig.Config(
            _WatchedLock(api, namespace, identity),
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=started,
            onstopped_leading=stopped,
        )
    )
    threading.Thread(target=_elect, args=(election,), name="lease", daemon=True).start()
    leading.wait()


def _elect(election: Any) -> None:
    while True:
        election.run()


def end(api: Kube, namespace: str) -> NoReturn:
    """Give the Lease back, so that the next replica need not wait for its end, and end the process."""
    with suppress(Exception):
        lease = api.request("GET", LEASE.path(namespace, LEASE_NAME))
        lease["spec"]["holderIdentity"] = None
        api.request("PUT", LEASE.path(namespace, LEASE_NAME), body=lease)
    log.info("leader.stopped")
    # Threads that act are not waited for: what they do is done again by whoever comes after.
    os._exit(0)


def _lost() -> None:
    log.error("leader.lost")
    os._exit(LOST)


class _WatchedLock(LeaseLock):  # type: ignore[misc]
    """As the library's, with bounded requests, and ended by the sight of another holder."""

    def __init__(self, api: Kube, namespace: str, identity: str) -> None:
        super().__init__(LEASE_NAME, namespace, identity)
        self._api = api
        self._asked_at = 0.0
        self._held = False
        for method in ("read_namespaced_lease", "create_namespaced_lease", "replace_namespaced_lease"):
            call = getattr(self.api_instance, method)
            setattr(self.api_instance, method, partial(call, _request_timeout=REQUEST_SECONDS))

    def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        """The record; False and the error where there is none, or no answer."""
        self._asked_at = time.monotonic()
        REQUESTS.labels("get", LEASE.plural).inc()
        try:
            found, record = super().get(name, namespace)
        except HTTPError as error:
            return False, ApiException(status=0, reason=type(error).__name__)
        if found and self._held and record.holder_identity != self.identity:
            _lost()
        return found, record

    def create(self, name: str, namespace: str, election_record: object) -> bool:
        """Whether this replica made it."""
        return self._confirmed(super().create, name, namespace, election_record)

    def update(self, name: str, namespace: str, updated_record: object) -> bool:
        """Whether it is this replica's, for another while."""
        return self._confirmed(super().update, name, namespace, updated_record)

    def _confirmed(self, call: Any, name: str, namespace: str, record: object) -> bool:
        REQUESTS.labels("put", LEASE.plural).inc()
        try:
            done = bool(call(name, namespace, record))
        except HTTPError:
            return False
        if done:
            self._held = True
            self._api.answered_at = time.monotonic()
            # Others count from when they see the renewal, which is later than when it was asked for.
            self._api.leads_until = self._asked_at + LEASE_SECONDS
        return done
