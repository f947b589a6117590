"""The operator's side of InfluxDB: setting up a fresh server, and the write token of each (epoch, engine)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from streampipeline.jobconfig import EngineName, InfluxDbEndpoint
from streampipeline.sinks.base import SinkUnavailable, read_token, write_secret
from streampipeline.sinks.influxdb_http import InfluxDbClient, Refused
from streampipeline.sinks.influxdb_write import delete_points, write_canary

log = structlog.get_logger(__name__)

USER = "streampipeline"


class NotAllowed(Exception):
    """The administrator's token lacks the right."""


@dataclass(frozen=True)
class _Authorization:
    id: str
    token: str | None
    """Some servers do not show it again."""
    description: str


class InfluxDbAdmin:
    """A `SinkAdmin`. `pipeline` stands in the descriptions of its tokens, by which it finds them again."""

    def __init__(
        self,
        endpoint: InfluxDbEndpoint,
        pipeline: str,
        admin_token_file: Path,
        *,
        onboard: bool,
        password: str | None = None,
    ) -> None:
        """`password`: of the administrator of a server that is set up; None: nobody needs to know it."""
        self._password = password
        self._endpoint = endpoint
        self._pipeline = pipeline
        self._admin_token_file = admin_token_file
        self._onboard = onboard

    def prepare(self) -> None:
        """Set up a fresh server (only with `onboard`) and make the bucket. Leaves the server's limits alone.

        Raises SinkUnavailable; Fenced when there is no administrator's token.
        """
        if self._onboard:
            self._set_up()
        try:
            with self._connected() as influx:
                if self._bucket_id(influx) is None:
                    body = {
                        "name": self._endpoint.bucket,
                        "orgID": self._org_id(influx),
                        "retentionRules": [],
                    }
                    influx.request("POST", "/api/v2/buckets", json=body)
        except NotAllowed as error:
            log.warning("bucket taken as it is", bucket=self._endpoint.bucket, reason=str(error))

    def issue(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """Write a token that may only write to the bucket. Keeps one that was issued before.

        False where the administrator's token may not make tokens: it is handed out itself, and is no fence.
        """
        return self._issue(self._description(f"{epoch}-{engine.value}"), "write", token_file)

    def issue_reader(self, token_file: Path) -> bool:
        """Write a token that may only read the bucket, for the audit. As `issue`."""
        return self._issue(self._description("reader"), "read", token_file)

    def revoke(self, epoch: int, engine: EngineName, token_file: Path) -> bool:
        """Delete the token, and see that the server refuses it. As `SinkAdmin.revoke`."""
        description = self._description(f"{epoch}-{engine.value}")
        try:
            with self._connected() as influx:
                # A token without the right to see authorizations is told that there are none.
                self._org_id(influx)
                for authorization in self._find(influx, description):
                    self._delete(influx, authorization)
            if token_file.exists() and self._works(read_token(token_file)):
                raise NotAllowed("it still works")
            revoked = True
        except NotAllowed as error:
            log.warning("token not revoked: this engine is not fenced", token=description, reason=str(error))
            revoked = False
        token_file.unlink(missing_ok=True)
        return revoked

    def clear(self, pipeline: str, start: int, *, epoch: int, token_file: Path) -> None:
        """As `SinkAdmin.clear`."""
        self.issue(epoch, EngineName.REPAIR, token_file)
        delete_points(self._endpoint, read_token(token_file), pipeline, start)
        self.revoke(epoch, EngineName.REPAIR, token_file)

    def revoke_all(self) -> None:
        """Delete every token of the pipeline. Raises SinkUnavailable, NotAllowed."""
        with self._connected() as influx:
            for authorization in self._find_all(influx):
                self._delete(influx, authorization)

    def probe(self) -> None:
        """Write a canary with the administrator's token. Raises SinkUnavailable, Fenced."""
        write_canary(self._endpoint, read_token(self._admin_token_file))

    def _issue(self, description: str, action: str, token_file: Path) -> bool:
        try:
            with self._connected() as influx:
                token = self._authorize(influx, description, action, token_file)
        except NotAllowed as error:
            log.warning("no token of its own: this engine has no fence", token=description, reason=str(error))
            write_secret(token_file, read_token(self._admin_token_file))
            return False
        if token is not None:
            write_secret(token_file, token)
        return True

    def _authorize(
        self, influx: InfluxDbClient, description: str, action: str, token_file: Path
    ) -> str | None:
        """A new token; None when the one in `token_file` is this one's already."""
        held = token_file.read_text().strip() if token_file.exists() else ""
        for authorization in self._find(influx, description):
            if held and authorization.token == held:
                return None
            self._delete(influx, authorization)
        org = self._org_id(influx)
        bucket = self._bucket_id(influx)
        if bucket is None:
            raise SinkUnavailable(f"InfluxDB {self._endpoint.url} has no bucket {self._endpoint.bucket}")
        resource = {"type": "buckets", "id": bucket, "orgID": org}
        body = {
            "orgID": org,
            "description": description,
            "permissions": [{"action": action, "resource": resource}],
        }
        return str(influx.request("POST", "/api/v2/authorizations", json=body)["token"])

    def _works(self, token: str) -> bool:
        """Whether the server still knows a token: a write of nothing tells."""
        parameters = {"org": self._endpoint.org, "bucket": self._endpoint.bucket}
        with InfluxDbClient(self._endpoint, token) as influx:
            try:
                influx.request("POST", "/api/v2/write", params=parameters, content=b"")
            except Refused as refused:
                return refused.status != 401
        return True

    def _set_up(self) -> None:
        """The token is on disk before the server learns it: a crash in between loses nothing."""
        with InfluxDbClient(self._endpoint, token=None) as influx:
            try:
                if not influx.request("GET", "/api/v2/setup").get("allowed"):
                    return
                if not self._admin_token_file.exists():
                    write_secret(self._admin_token_file, secrets.token_urlsafe(48))
                body = {
                    "username": USER,
                    "password": self._password or secrets.token_urlsafe(24),
                    "org": self._endpoint.org,
                    "bucket": self._endpoint.bucket,
                    "token": read_token(self._admin_token_file),
                }
                influx.request("POST", "/api/v2/setup", json=body)
            except Refused as refused:
                raise SinkUnavailable(f"InfluxDB {self._endpoint.url}: set-up: {refused}") from refused
        log.info("InfluxDB set up", url=self._endpoint.url, org=self._endpoint.org)

    def _org_id(self, influx: InfluxDbClient) -> str:
        org = _first_id(influx, "orgs", {"org": self._endpoint.org})
        if org is None:
            raise NotAllowed(f"the organisation {self._endpoint.org} is not there, or hidden")
        return org

    def _bucket_id(self, influx: InfluxDbClient) -> str | None:
        return _first_id(influx, "buckets", {"name": self._endpoint.bucket, "org": self._endpoint.org})

    def _find(self, influx: InfluxDbClient, description: str) -> list[_Authorization]:
        return [one for one in self._find_all(influx) if one.description == description]

    def _find_all(self, influx: InfluxDbClient) -> list[_Authorization]:
        answer = influx.request("GET", "/api/v2/authorizations", params={"org": self._endpoint.org})
        return [
            _Authorization(one["id"], one.get("token"), one["description"])
            for one in answer["authorizations"]
            if one.get("description", "").startswith(self._description(""))
        ]

    def _delete(self, influx: InfluxDbClient, authorization: _Authorization) -> None:
        try:
            influx.request("DELETE", f"/api/v2/authorizations/{authorization.id}")
        except Refused as refused:
            if refused.status != 404:
                raise

    def _description(self, what: str) -> str:
        return f"streampipeline/{self._pipeline}/{what}"

    @contextmanager
    def _connected(self) -> Iterator[InfluxDbClient]:
        """A client with the administrator's token. 401, 403: NotAllowed; other refusals: SinkUnavailable."""
        with InfluxDbClient(self._endpoint, read_token(self._admin_token_file)) as influx:
            try:
                yield influx
            except Refused as refused:
                if refused.status in (401, 403):
                    raise NotAllowed(str(refused)) from refused
                raise SinkUnavailable(f"InfluxDB {self._endpoint.url}: {refused}") from refused


def _first_id(influx: InfluxDbClient, kind: str, parameters: dict[str, str]) -> str | None:
    """The id of the first thing found; the server says 404 rather than an empty list to a name it lacks."""
    try:
        found = influx.request("GET", f"/api/v2/{kind}", params=parameters)[kind]
    except Refused as refused:
        if refused.status != 404:
            raise
        return None
    return str(found[0]["id"]) if found else None
