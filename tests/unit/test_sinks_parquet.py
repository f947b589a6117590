"""Parquet files: naming, the token as fence, and which row a reader takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.publish_config import job_config, parquet_sink, windows

from streampipeline.jobconfig import EngineName, JobConfig, ParquetEndpoint, SinkEndpoint
from streampipeline.points import Scores, aggregate_values, points_schema, points_table
from streampipeline.sinks.base import Fenced, SinkUnavailable
from streampipeline.sinks.opening import open_admin, open_sink, probe
from streampipeline.sinks.parquet import ParquetSink, read_points


def points(
    config: JobConfig,
    rows: list[tuple[str, int]],
    source: EngineName = EngineName.FLINK,
    written_ns: int = 11,
) -> pa.Table:
    given = windows(config, rows)
    scores = Scores(pa.array([2] * len(rows)), pa.array([True] * len(rows)), pa.array(["v1"] * len(rows)))
    return points_table(config, source, given, aggregate_values(config.spec, given), scores, written_ns)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "points").rglob("*") if path.is_file())


def test_a_write_is_one_file_under_its_epoch_with_every_column(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    table = points(config, [("a", 0), ("b", 5_000)])
    assert open_sink(config).write(table) == []
    [file] = files(tmp_path)
    assert re.fullmatch(r"epoch=7/flink-11-[0-9a-f]{8}\.parquet", str(file.relative_to(tmp_path / "points")))
    assert pq.ParquetFile(file).read().equals(table)
    assert pq.ParquetFile(file).schema_arrow.equals(points_schema(config.spec))


def test_nothing_to_write_makes_no_file(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    open_sink(config).write(points(config, []))
    assert files(tmp_path) == []


def test_without_its_token_a_writer_is_fenced_and_leaves_nothing(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    sink = open_sink(config)
    (tmp_path / "token").unlink()
    with pytest.raises(Fenced):
        sink.write(points(config, [("a", 0)]))
    assert files(tmp_path) == []
    with pytest.raises(Fenced):
        open_sink(config)


def test_a_token_taken_back_while_the_file_is_written_keeps_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = job_config(parquet_sink(tmp_path))
    sink = open_sink(config)
    write_table = pq.write_table

    def and_revoke(table: pa.Table, file: BinaryIO) -> None:
        write_table(table, file)
        (tmp_path / "token").unlink()

    monkeypatch.setattr(pq, "write_table", and_revoke)
    with pytest.raises(Fenced):
        sink.write(points(config, [("a", 0)]))
    assert files(tmp_path) == []


def test_after_revoke_returned_a_rename_can_not_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the writer saw its token just before."""
    config = job_config(parquet_sink(tmp_path))
    sink, admin = open_sink(config), open_admin(config.sink, pipeline="nurses")
    checks = iter(range(2))

    def require_token(self: ParquetSink) -> None:
        if next(checks, None) == 1:  # seen, then everything is revoked before the rename
            admin.revoke(7, EngineName.FLINK, tmp_path / "token")
            monkeypatch.undo()

    monkeypatch.setattr(ParquetSink, "_require_token", require_token)
    with pytest.raises(Fenced):
        sink.write(points(config, [("a", 0)]))
    assert files(tmp_path) == []


def test_revoke_leaves_the_other_engine_alone(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    admin = open_admin(config.sink, pipeline="nurses")
    folder = tmp_path / "points" / "epoch=7"
    folder.mkdir(parents=True)
    (folder / ".dask-fallback-1-aa.parquet").touch()
    (folder / ".flink-1-aa.parquet").touch()
    (folder / "flink-1-bb.parquet").touch()
    assert admin.revoke(7, EngineName.FLINK, tmp_path / "token")
    assert [file.name for file in files(tmp_path)] == [".dask-fallback-1-aa.parquet", "flink-1-bb.parquet"]
    assert admin.revoke(7, EngineName.FLINK, tmp_path / "token")


def test_points_of_a_span_are_removed(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    sink, admin = open_sink(config), open_admin(config.sink, pipeline="nurses-u1")
    sink.write(points(config, [("a", 0), ("a", 5_000)]))
    sink.write(points(config, [("b", 5_000), ("b", 10_000)]))
    sink.write(points(config.model_copy(update={"pipeline": "others"}), [("a", 5_000)]))
    admin.clear("nurses", 5_000, epoch=9, token_file=tmp_path / "clear")
    left = read_points(tmp_path / "points").select(["pipeline", "id", "window_start"]).to_pylist()
    assert [tuple(row.values()) for row in left] == [("nurses", "a", 0), ("others", "a", 5_000)]
    assert len(files(tmp_path)) == 2
    assert not (tmp_path / "clear").exists()


def test_issue_makes_a_private_token_once(tmp_path: Path) -> None:
    endpoint = SinkEndpoint(parquet=ParquetEndpoint(path=str(tmp_path / "points"), token_file="unused"))
    admin = open_admin(endpoint, pipeline="nurses")
    admin.prepare()
    token = tmp_path / "tokens" / "8-flink"
    assert admin.issue(8, EngineName.FLINK, token)
    assert token.stat().st_mode & 0o777 == 0o600
    before = token.stat().st_ino
    assert admin.issue(8, EngineName.FLINK, token)
    assert token.stat().st_ino == before
    assert list(token.parent.iterdir()) == [token]


def test_a_disk_that_refuses_means_unavailable(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    (tmp_path / "points").write_text("a file where the folder should be")
    with pytest.raises(SinkUnavailable):
        open_sink(config).write(points(config, [("a", 0)]))
    with pytest.raises(SinkUnavailable):
        probe(config.sink)


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    open_admin(config.sink, pipeline="nurses").prepare()
    probe(config.sink)
    assert files(tmp_path) == []


def test_an_empty_folder_has_no_points(tmp_path: Path) -> None:
    assert read_points(tmp_path / "points").num_rows == 0


def assigned(config: JobConfig, **assignment: int) -> JobConfig:
    return config.model_copy(update={"assignment": config.assignment.model_copy(update=assignment)})


def test_a_reader_takes_generation_then_repair_then_epoch_then_time(tmp_path: Path) -> None:
    """Each write outranks those before it, but for the last, which is late in time and low in rank."""
    config = job_config(parquet_sink(tmp_path))
    ranked = [
        (assigned(config, generation=1, epoch=7), EngineName.FLINK, 900),
        (assigned(config, generation=1, epoch=7), EngineName.DASK, 901),
        (assigned(config, generation=1, epoch=8), EngineName.FLINK, 800),
        (assigned(config, generation=1, epoch=6), EngineName.REPAIR, 700),
        (assigned(config, generation=2, epoch=5), EngineName.FLINK, 600),
    ]
    sink = open_sink(config)
    for expected in (1, 2, 3, 4):
        for job, source, written_ns in reversed(ranked[: expected + 1]):
            sink.write(points(job, [(f"k{expected}", 0)], source, written_ns))
    found = read_points(tmp_path / "points")
    assert found["id"].to_pylist() == ["k1", "k2", "k3", "k4"]
    assert found["written_ns"].to_pylist() == [901, 800, 700, 600]
    assert found["generation"].to_pylist() == [1, 1, 1, 2]


def test_a_reader_keeps_one_row_for_each_address(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    sink = open_sink(config)
    for written_ns in (1, 2, 3):
        sink.write(points(config, [("b", 0), ("a", 5_000), ("a", 0)], written_ns=written_ns))
    found = read_points(tmp_path / "points")
    assert list(zip(found["id"].to_pylist(), found["window_start"].to_pylist(), strict=True)) == [
        ("a", 0),
        ("a", 5_000),
        ("b", 0),
    ]
    assert set(found["written_ns"].to_pylist()) == {3}


def test_a_reader_does_not_see_files_that_are_being_written(tmp_path: Path) -> None:
    config = job_config(parquet_sink(tmp_path))
    open_sink(config).write(points(config, [("a", 0)]))
    (tmp_path / "points" / "epoch=7" / ".flink-99-aaaaaaaa.parquet").write_bytes(b"half a file")
    assert read_points(tmp_path / "points").num_rows == 1
