"""Progress rows: which one counts."""

from __future__ import annotations

import json

from streampipeline.jobconfig import EngineName
from streampipeline.progress import ProgressRow, ProgressTable


def row(frontier: int, *, generation: int = 1, epoch: int = 1, engine: str = "flink") -> bytes:
    return json.dumps(
        {
            "generation": generation,
            "epoch": epoch,
            "engine": engine,
            "frontier": frontier,
            "windows": 3,
            "at": 5,
        }
    ).encode()


def test_the_newest_frontier_of_a_generation() -> None:
    table = ProgressTable()
    for value in (row(100), row(300, epoch=2, engine="dask-fallback"), row(200), row(900, generation=2)):
        table.add(value)
    newest = table.newest(1)
    assert newest is not None
    assert (newest.frontier, newest.engine, newest.epoch) == (300, EngineName.DASK, 2)
    assert table.newest(3) is None


def test_a_restarted_process_does_not_take_back_what_was_reached() -> None:
    table = ProgressTable()
    table.add(row(200))
    table.add(row(100))
    assert table.rows[1, 1, EngineName.FLINK].frontier == 200


def test_what_is_not_a_row_is_passed_over() -> None:
    table = ProgressTable()
    for value in (b"", b"\xff", b"[]", b'{"generation": 1}', row(100, engine="unknown")):
        table.add(value)
    assert table.rows == {}


def test_the_key_compacts_by_generation_epoch_and_engine() -> None:
    assert ProgressRow.model_validate_json(row(1, generation=2, epoch=7)).key == "2/7/flink"
