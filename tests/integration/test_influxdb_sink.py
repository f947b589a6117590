"""The InfluxDB sink and its administration on a real influxd."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import shutil
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from tests.support.publish_config import job_config, windows

from streampipeline.api.spec import OutputType
from streampipeline.jobconfig import EngineName, InfluxDbEndpoint, JobConfig
from streampipeline.local.processes import free_port
from streampipeline.points import Scores, aggregate_values, points_schema, points_table
from streampipeline.sinks.base import Fenced, Rejected, SinkUnavailable
from streampipeline.sinks.influxdb_admin import InfluxDbAdmin
from streampipeline.sinks.influxdb_http import InfluxDbClient
from streampipeline.sinks.opening import open_admin, open_sink, probe

pytestmark = pytest.mark.integration

BUILT = Path(__file__).parents[2] / "build" / "runtime" / "influxd"
START_SECONDS = 60


def influxd() -> str:
    """The program: of the environment, as built, or on PATH."""
    candidates = [os.environ.get("INFLUXD"), str(BUILT), str(BUILT / "influxd"), shutil.which("influxd")]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return candidate
    reason = "influxd is neither in build/runtime nor on PATH nor named by INFLUXD"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class Influx:
    """A running server, set up by the code under test."""

    endpoint: InfluxDbEndpoint
    folder: Path
    admin: InfluxDbAdmin

    def bucket(self, measurement: str = "stress") -> Influx:
        """The same server with a fresh bucket."""
        changes = {"bucket": secrets.token_hex(4), "measurement": measurement}
        endpoint = self.endpoint.model_copy(update=changes)
        admin = InfluxDbAdmin(endpoint, "nurses", self.folder / "admin-token", onboard=True)
        admin.prepare()
        return Influx(endpoint, self.folder, admin)

    def token_file(self, epoch: int, engine: EngineName = EngineName.FLINK) -> Path:
        return self.folder / self.endpoint.bucket / f"{epoch}-{engine.value}"

    def job(self, epoch: int = 7) -> JobConfig:
        """A job of that epoch, with its token issued."""
        token_file = self.token_file(epoch)
        assert self.admin.issue(epoch, EngineName.FLINK, token_file)
        endpoint = self.endpoint.model_copy(update={"token_file": str(token_file)})
        return job_config({"influxdb": endpoint.model_dump()})

    def read(self) -> list[dict[str, str]]:
        """Every row of the measurement, a column for each field, as InfluxDB prints it.

        Its CSV drops carriage returns and changes line feeds, so strings that may hold them travel as JSON.
        """
        rows = self._query(f"""
            import "json"
            text = (v) => string(v: json.encode(v: v))
            from(bucket: "{self.endpoint.bucket}")
            |> range(start: 0, stop: 2100-01-01T00:00:00Z)
            |> filter(fn: (r) => r._measurement == "{self.endpoint.measurement}")
            |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
            |> map(fn: (r) => ({{r with id: text(v: r.id), modelVersion: text(v: r.modelVersion)}}))
            |> group()
        """)
        return [
            row | {"id": json.loads(row["id"]), "modelVersion": json.loads(row["modelVersion"])}
            for row in rows
        ]

    def keep_for(self, hours: int) -> None:
        """Set the bucket's retention."""
        token = (self.folder / "admin-token").read_text()
        with InfluxDbClient(self.endpoint, token) as influx:
            name = {"name": self.endpoint.bucket}
            bucket = influx.request("GET", "/api/v2/buckets", params=name)["buckets"][0]["id"]
            seconds = hours * 3600
            rules = [{"type": "expire", "everySeconds": seconds, "shardGroupDurationSeconds": seconds}]
            influx.request("PATCH", f"/api/v2/buckets/{bucket}", json={"retentionRules": rules})

    def count(self, measurement: str) -> int:
        """Number of values in another measurement."""
        return len(
            self._query(f"""
                from(bucket: "{self.endpoint.bucket}")
                |> range(start: 0)
                |> filter(fn: (r) => r._measurement == "{measurement}")
            """)
        )

    def _query(self, flux: str) -> list[dict[str, str]]:
        token_file = self.folder / self.endpoint.bucket / "reader"
        assert self.admin.issue_reader(token_file)
        answer = httpx.post(
            f"{self.endpoint.url}/api/v2/query",
            params={"org": self.endpoint.org},
            headers={"Authorization": f"Token {token_file.read_text()}", "Accept": "application/csv"},
            json={"query": flux, "dialect": {"annotations": []}},
            trust_env=False,
            timeout=30,
        )
        answer.raise_for_status()
        return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    program = influxd()
    folder = tmp_path_factory.mktemp("influxdb")
    port = free_port()
    paths = {"bolt": "influxd.bolt", "sqlite": "influxd.sqlite", "engine": "engine"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                "run",
                f"--http-bind-address=127.0.0.1:{port}",
                *(f"--{name}-path={folder / file}" for name, file in paths.items()),
                "--reporting-disabled",
                "--http-read-timeout=5s",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    endpoint = InfluxDbEndpoint(
        url=f"http://127.0.0.1:{port}", org="o", bucket="b", measurement="stress", token_file=""
    )
    admin = InfluxDbAdmin(endpoint, "nurses", folder / "admin-token", onboard=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                admin.prepare()
                break
            except SinkUnavailable:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield Influx(endpoint, folder, admin)
    finally:
        process.terminate()
        process.wait(30)


def with_number_output(config: JobConfig) -> JobConfig:
    model = config.spec.model.model_copy(update={"output_type": OutputType.NUMBER})
    return config.model_copy(update={"spec": config.spec.model_copy(update={"model": model})})


def points(config: JobConfig, rows: list[tuple[str, int]], level: float = 2, version: str = "v1") -> pa.Table:
    given = windows(config, rows)
    n = len(rows)
    output = pa.array([level] * n, points_schema(config.spec).field("level").type)
    scores = Scores(output, pa.array([True] * n), pa.array([version] * n))
    values = aggregate_values(config.spec, given)
    return points_table(config, EngineName.FLINK, given, values, scores, written_ns=11)


def test_setting_up_again_changes_nothing(server: Influx) -> None:
    token = (server.folder / "admin-token").read_text()
    server.admin.prepare()
    assert (server.folder / "admin-token").read_text() == token
    assert stat.S_IMODE((server.folder / "admin-token").stat().st_mode) == 0o600
    server.admin.probe()


def test_a_point_reads_back_with_every_field(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    assert open_sink(config).write(points(config, [("n1", 1_700_000_000_000)])) == []
    [row] = here.read()
    for name in ("", "result", "table", "_start", "_stop"):
        row.pop(name, None)
    assert row == {
        "_measurement": "stress",
        "_time": "2023-11-14T22:13:20Z",
        "pipeline": "nurses",
        "id": "n1",
        "X": "0.5",
        "low": "-2.5",
        "count": "3",
        "level": "2",
        "source": "flink",
        "n": "3",
        "scored": "true",
        "modelVersion": "v1",
        "generation": "3",
        "datetime": "1700000004999",
        "hash": str(2**50 + 1_700_000_000_000),
    }


def test_points_of_equal_address_replace_each_other(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    sink = open_sink(config)
    for level in (0, 1, 2):
        sink.write(points(config, [("a", 0), ("a", 5_000), ("b", 0)], level=level))
    rows = here.read()
    assert len(rows) == 3
    assert {row["level"] for row in rows} == {"2"}


AWKWARD = [
    "a b",
    "a,b",
    "a=b",
    "a\\b",
    "\\a",
    "a\\ b",
    "a\\,b",
    "a\\\\=b",
    'a"b',
    '"',
    '\\ "=,\\, x',
    'a\\ "b',
    "#a",
    "a\tb",
    "a\rb",
    "\ra",
    "a\r",
    " ",
    "  a  ",
    ",",
    "=",
    "é€😀",
    "a\x00b",
    "\x00",
    "a\x7f",
    "a\u2028b",
    "\ufeff",
    "i",
    "1",
    "true",
]


def test_awkward_keys_read_back_and_touch_no_neighbour(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    lost = ["a\nb", "a\\", "\n"]
    rows = [(key, 5_000 * i) for i, key in enumerate([*AWKWARD, *lost, *(f"plain{i}" for i in range(20))])]
    rejected = open_sink(config).write(points(config, rows))
    assert sorted(one.key for one in rejected) == sorted(lost)
    found = {(row["id"], row["n"]) for row in here.read()}
    assert found == {(key, "3") for key, _ in rows if key not in lost}


def test_floats_read_back_to_the_bit(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    numbers = [
        0.1 + 0.2,
        1 / 3,
        -1e-7,
        5e-324,
        1.7976931348623157e308,
        2.0**53,
        123456789.123456789,
        0.0,
        1e21,
    ]
    config = with_number_output(config)
    sink = open_sink(config)
    for index, number in enumerate(numbers):
        sink.write(points(config, [("a", 5_000 * index)], level=number))
    rows = sorted(here.read(), key=lambda row: row["_time"])
    assert [struct.pack("<d", float(row["level"])) for row in rows] == [struct.pack("<d", n) for n in numbers]


def test_any_model_version_reads_back(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    version = 'a "b" \\ c,d=e\nf'
    open_sink(config).write(points(config, [("a", 0)], version=version))
    [row] = here.read()
    assert row["modelVersion"] == version


def test_points_of_another_field_type_are_rejected(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    sink = open_sink(config)
    assert sink.write(points(config, [("a", 0)])) == []
    rejected = sink.write(points(with_number_output(config), [("a", 5_000), ("b", 0)], level=0.5))
    assert [one.key for one in rejected] == ["a", "b"]
    assert "field type conflict" in rejected[0].reason
    assert [row["_time"] for row in here.read()] == ["1970-01-01T00:00:00Z"]


def test_a_point_out_of_influxdb_s_time_is_found_among_the_good(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    rows = [(f"k{i}", 253_402_300_795_000 if i in (5, 31) else 5_000) for i in range(40)]
    rejected = open_sink(config).write(points(config, rows))
    assert [one.key for one in rejected] == ["k5", "k31"]
    assert len(here.read()) == 38


def test_a_point_older_than_the_bucket_keeps_is_rejected_alone(server: Influx) -> None:
    here = server.bucket()
    here.keep_for(hours=1)
    config = here.job()
    now = time.time_ns() // 1_000_000
    old, new = (now - 7_200_000) // 5_000 * 5_000, now // 5_000 * 5_000
    rejected = open_sink(config).write(points(config, [("a", new), ("b", old), ("c", new)]))
    assert [(one.key, one.window_start) for one in rejected] == [("b", old)]
    assert "retention policy" in rejected[0].reason
    assert {row["id"] for row in here.read()} == {"a", "c"}


def test_a_key_too_long_is_rejected_alone(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    rejected = open_sink(config).write(points(config, [("a", 0), ("x" * 70_000, 0), ("b", 0)]))
    assert [len(one.key) for one in rejected] == [70_000]
    assert {row["id"] for row in here.read()} == {"a", "b"}


def test_a_revoked_token_fences_at_once_and_only_itself(server: Influx) -> None:
    here = server.bucket()
    old, new = here.job(7), here.job(8)
    old_sink, new_sink = open_sink(old), open_sink(new)
    assert old_sink.write(points(old, [("a", 0)])) == []
    assert here.admin.revoke(7, EngineName.FLINK, here.token_file(7))
    assert not here.token_file(7).exists()
    with pytest.raises(Fenced):
        old_sink.write(points(old, [("a", 5_000)]))
    with pytest.raises(Fenced):
        open_sink(old)
    assert new_sink.write(points(new, [("a", 10_000)])) == []
    assert [row["_time"] for row in here.read()] == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:10Z"]
    assert here.admin.revoke(7, EngineName.FLINK, here.token_file(7))


@pytest.mark.parametrize("measurement", ["ü", "it's", "x AND y", "two\twords"])
def test_points_of_an_awkward_measurement_are_removed(server: Influx, measurement: str) -> None:
    here = server.bucket(measurement)
    config = here.job()
    assert open_sink(config).write(points(config, [("a", 5_000)])) == []
    assert len(here.read()) == 1
    here.admin.clear("nurses", 0, epoch=9, token_file=here.folder / here.endpoint.bucket / "clear")
    assert here.read() == []


def test_points_of_a_span_are_removed_with_a_token_of_their_own(server: Influx) -> None:
    """Of this pipeline, from a window start on; what is written then stays, with its own fields alone."""
    here = server.bucket("odd name, = really")
    config = here.job()
    sink, token = open_sink(config), here.folder / here.endpoint.bucket / "clear"
    others = config.model_copy(update={"pipeline": "others"})
    written = [("a", 0), ("a", 5_000), ("b", 5_000), ("a", 10_000)]
    assert sink.write(points(config, written)) == sink.write(points(others, written)) == []

    def there() -> list[tuple[str, str, str]]:
        return sorted((row["pipeline"], row["id"], row["_time"][17:19]) for row in here.read())

    here.admin.clear("nurses", 5_000, epoch=9, token_file=token)
    kept = [("others", *rest) for rest in (("a", "00"), ("a", "05"), ("a", "10"), ("b", "05"))]
    assert there() == [("nurses", "a", "00"), *kept]
    assert not token.exists()
    fewer = points(config, [("a", 5_000)]).drop_columns(["low"])
    assert sink.write(fewer) == []
    [again] = [row for row in here.read() if row["pipeline"] == "nurses" and row["_time"][17:19] == "05"]
    assert again["low"] == "", "nothing of what was there before"
    here.admin.clear("nurses", 5_000, epoch=10, token_file=token)
    assert there() == [("nurses", "a", "00"), *kept]


def test_issuing_again_keeps_a_working_token_and_replaces_a_lost_one(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    sink = open_sink(config)
    first = here.token_file(7).read_text()
    here.job()
    assert here.token_file(7).read_text() == first
    assert sink.write(points(config, [("a", 0)])) == []
    here.token_file(7).unlink()
    here.job()
    assert here.token_file(7).read_text() != first
    with pytest.raises(Fenced):
        sink.write(points(config, [("a", 0)]))


def test_an_engine_s_token_may_only_write_to_its_bucket(server: Influx) -> None:
    here, other = server.bucket(), server.bucket()
    config = here.job()
    token = here.token_file(7).read_text()
    answer = httpx.get(
        f"{here.endpoint.url}/api/v2/authorizations",
        headers={"Authorization": f"Token {token}"},
        trust_env=False,
    )
    assert answer.json().get("authorizations", []) == [] or answer.status_code == 401
    elsewhere = other.endpoint.model_copy(update={"token_file": str(here.token_file(7))})
    stranger = open_sink(
        config.model_copy(update={"sink": job_config({"influxdb": elsewhere.model_dump()}).sink})
    )
    with pytest.raises(SinkUnavailable, match="403"):
        stranger.write(points(config, [("a", 0)]))


def test_tokens_are_found_among_many(server: Influx) -> None:
    here = server.bucket()
    for epoch in range(100, 130):
        assert here.admin.issue(epoch, EngineName.DASK, here.token_file(epoch, EngineName.DASK))
    for epoch in range(100, 130):
        assert here.admin.revoke(epoch, EngineName.DASK, here.token_file(epoch, EngineName.DASK))
    admin_token = (server.folder / "admin-token").read_text()
    answer = httpx.get(
        f"{here.endpoint.url}/api/v2/authorizations",
        headers={"Authorization": f"Token {admin_token}"},
        trust_env=False,
    )
    left = [one["description"] for one in answer.json()["authorizations"]]
    assert not [description for description in left if description.endswith("dask-fallback")]


def test_a_bucket_that_is_gone_means_unavailable(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    endpoint = here.endpoint.model_copy(update={"bucket": "gone", "token_file": str(here.token_file(7))})
    sink = open_sink(config.model_copy(update={"sink": job_config({"influxdb": endpoint.model_dump()}).sink}))
    with pytest.raises(SinkUnavailable, match="bucket"):
        sink.write(points(config, [("a", 0)]))


def test_where_tokens_may_not_be_made_the_given_one_is_used_unfenced(server: Influx) -> None:
    """An external InfluxDB whose user gave a token that may write to the bucket and nothing else."""
    here = server.bucket()
    here.job(7)
    users_token, token_file = here.token_file(7), here.folder / here.endpoint.bucket / "8-flink"
    config = here.job(9)
    admin = open_admin(config.sink, pipeline="other", admin_token_file=users_token)
    admin.prepare()
    admin.probe()
    assert not admin.issue(8, EngineName.FLINK, token_file)
    assert token_file.read_text() == users_token.read_text()
    assert not admin.revoke(8, EngineName.FLINK, token_file)
    assert not token_file.exists()


def test_the_probe_really_writes_and_is_no_point(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    probe(config.sink)
    assert here.read() == []
    assert here.count("streampipeline_canary") == 1
    here.admin.revoke(7, EngineName.FLINK, here.token_file(7))
    with pytest.raises(Fenced):
        probe(config.sink)


def test_ten_thousand_points_arrive(server: Influx) -> None:
    here = server.bucket()
    config = here.job()
    sink = open_sink(config)
    table = points(config, [(f"k{i % 1000}", 5_000 * (i // 1000)) for i in range(10_000)])
    rejected: list[Rejected] = []
    for start in range(0, 10_000, sink.max_rows):
        rejected += sink.write(table.slice(start, sink.max_rows))
    assert rejected == []
    assert len(here.read()) == 10_000
