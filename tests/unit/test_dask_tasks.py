"""What a worker returns for some records."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from streampipeline.api.spec import StreamPipelineSpec
from streampipeline.engines.dask import commands, tasks
from streampipeline.jobconfig import Assignment, EngineName, JobConfig, Origin, SinkEndpoint
from streampipeline.requests import RepairReason


def job(window: dict[str, Any], boundary: int = 0) -> JobConfig:
    spec = StreamPipelineSpec.model_validate(
        {
            "source": {
                "kafka": {"bootstrapServers": ["k:9092"], "topic": "t"},
                "format": {"type": "Json", "schema": "{}"},
                "keyField": "id",
                "eventTime": {"field": "at"},
            },
            "window": window,
            "aggregates": [{"name": "n", "function": "Count"}],
            "model": {"external": {"url": "http://m"}, "inputs": ["n"], "output": "y"},
            "sinks": [{"parquet": {"path": "/p"}}],
            "deadLetter": {"topic": "d"},
        }
    )
    return JobConfig(
        pipeline="p",
        uid="u",
        spec=spec,
        avro_schema="{}",
        bootstrap_servers=["k:9092"],
        model_url="http://m",
        assignment=Assignment(
            engine=EngineName.DASK, epoch=1, generation=1, boundary=boundary, offsets={0: 0}
        ),
        origin=Origin(boundary=0, offsets={0: 0}),
        sink=SinkEndpoint(),
    )


def rows(*records: tuple[str, int, int]) -> pl.DataFrame:
    """Of (key, e, offset), on time."""
    return pl.DataFrame(
        {
            "partition": [0] * len(records),
            "offset": [offset for _, _, offset in records],
            "key": [key for key, _, _ in records],
            "e": [e for _, e, _ in records],
            "reason": [None] * len(records),
            "late": [False] * len(records),
        },
        schema_overrides={"partition": pl.Int32, "reason": pl.String},
    )


TUMBLING = {"tumbling": {"sizeSeconds": 5}}
SLIDING = {"sliding": {"sizeSeconds": 10, "slideSeconds": 5}}


def test_one_request_for_each_key_and_set_of_windows() -> None:
    late = rows(("a", 1000, 1), ("a", 4999, 2), ("b", 1000, 3), ("a", 5000, 4))
    asked = tasks._requests(late, job(TUMBLING), RepairReason.LATE)
    assert [(r.key, r.start, r.end, r.offset) for r in asked] == [
        ("a", 1000, 1001, 1),
        ("b", 1000, 1001, 3),
        ("a", 5000, 5001, 4),
    ]


def test_records_before_what_was_read_when_the_boundary_closed_were_counted() -> None:
    records = rows(("a", 1000, 6), ("a", 2000, 7), ("a", 5000, 8))
    assert tasks._dropped(records, job(TUMBLING, boundary=5000), {0: 7})["offset"].to_list() == [7]
    assert tasks._dropped(records, job(TUMBLING, boundary=4999), {0: 7}).is_empty()


def test_a_dropped_record_is_one_whose_first_window_is_closed() -> None:
    records = rows(("a", 4999, 1), ("a", 9999, 2), ("a", 10_000, 3))
    asked = tasks._dropped(records, job(SLIDING, boundary=10_000), {0: 0})
    assert asked["offset"].to_list() == [1, 2]


@pytest.mark.parametrize("argv", [
    commands.scheduler("py", port=1),
    commands.worker("py", scheduler="tcp://s:1", name="w", directory="/d"),
])  # fmt: skip
def test_dask_processes_have_no_dashboard(argv: list[str]) -> None:
    assert "--no-dashboard" in argv


def test_a_worker_has_no_nanny_and_one_thread() -> None:
    argv = commands.worker("py", scheduler="tcp://s:1", name="w", directory="/d")
    assert "--no-nanny" in argv
    assert argv[argv.index("--nthreads") + 1] == "1"
    assert argv[argv.index("--preload") + 1] == commands.PRELOAD
