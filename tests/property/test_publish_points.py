"""Points for any window: values to the bit, and lines that read back as they were."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.publish_config import job_config, windows

from streampipeline.api.spec import Aggregate, Function
from streampipeline.jobconfig import EngineName, JobConfig
from streampipeline.points import Scores, aggregate_values, points_schema, points_table
from streampipeline.sinks import lineprotocol
from streampipeline.sinks.influxdb import split_down
from streampipeline.sinks.influxdb_write import Refusal
from streampipeline.sinks.parquet import ParquetSink, read_points

SCALED = st.integers(-(2**43) + 1, 2**43 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


@settings(deadline=None)
@given(
    function=st.sampled_from(Function),
    decimals=st.integers(0, 9),
    n=st.integers(1, 2**20),
    average=SCALED,
    rest=st.integers(0, 2**20),
)
@example(function=Function.MEAN, decimals=6, n=3, average=0, rest=1)  # two divisions have another last bit
def test_values_are_those_of_the_contract_s_formula(
    function: Function, decimals: int, n: int, average: int, rest: int
) -> None:
    aggregate = Aggregate(name="a", field="x", function=function, decimals=decimals)
    expected: float
    if function is Function.COUNT:
        scaled = expected = n
    elif function is Function.MEAN:
        scaled = average * n + rest % n
        expected = float(scaled) / float(n * 10**decimals)
    else:
        scaled = average * n if function is Function.SUM else average
        expected = float(scaled) / float(10**decimals)
    config = job_config({})
    spec = config.spec.model_copy(update={"aggregates": [aggregate]})
    table = pa.table({"n": pa.array([n], pa.int64()), "agg_0": pa.array([scaled], pa.int64())})
    [value] = aggregate_values(spec, table)["a"].to_pylist()
    assert type(value) is type(expected)
    assert bits(value) == bits(expected)


def parse_line(line: str) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """A line as InfluxDB reads it: measurement, tags, fields, time.

    In names and tags a backslash escapes a comma, an equals sign or a space and is itself elsewhere; in
    strings it escapes a quote or a backslash.
    """
    head, position = _until(line, 0, " ")
    fields: dict[str, Any] = {}
    while True:
        name, position = _until(line, position + 1, "=")
        value, position = _field(line, position + 1)
        fields[_unescape(name)] = value
        if line[position] == " ":
            break
        assert line[position] == ","
    measurement, end = _until(head, 0, ",")
    tags = {}
    while end < len(head):
        name, end = _until(head, end + 1, "=")
        text, end = _until(head, end + 1, ",")
        tags[_unescape(name)] = _unescape(text)
    return _unescape(measurement), tags, fields, int(line[position + 1 :])


def _until(text: str, start: int, stop: str) -> tuple[str, int]:
    """Up to the first `stop` that no backslash stands before, and its position."""
    position = start
    while position < len(text) and (text[position] != stop or text[position - 1] == "\\"):
        position += 1
    return text[start:position], position


def _unescape(text: str) -> str:
    for special in ", =":
        text = text.replace("\\" + special, special)
    return text


def _field(text: str, start: int) -> tuple[Any, int]:
    if text[start] == '"':
        value, position = "", start + 1
        while text[position] != '"':
            position += text[position] == "\\"
            value += text[position]
            position += 1
        return value, position + 1
    end = min(found for found in (text.find(",", start), text.find(" ", start)) if found >= 0)
    token = text[start:end]
    if token in ("true", "false"):
        return token == "true", end
    assert set(token) <= set("0123456789+-.ei"), token
    return (int(token[:-1]) if token.endswith("i") else float(token)), end


KEYS = st.one_of(st.text(min_size=1), st.text(alphabet='\\,= "a\n\t#é', min_size=1))


@settings(deadline=None)
@given(
    keys=st.lists(KEYS, min_size=1, max_size=5),
    versions=st.lists(st.text(min_size=1), min_size=5, max_size=5),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=10, max_size=10),
    integers=st.lists(INT64, min_size=20, max_size=20),
    scored=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_lines_read_back_as_they_were(
    keys: list[str], versions: list[str], numbers: list[float], integers: list[int], scored: list[bool]
) -> None:
    config = job_config({}, outputType="Number")
    rows = len(keys)
    points = pa.table(
        {
            "pipeline": pa.array(["a b,c=d"] * rows, pa.string()),
            "id": pa.array(keys, pa.string()),
            "window_start": pa.array(integers[:rows], pa.int64()),
            "window_end": pa.array(integers[:rows], pa.int64()),
            "X": pa.array(numbers[:rows], pa.float64()),
            "low": pa.array(numbers[5 : 5 + rows], pa.float64()),
            "count": pa.array(integers[5 : 5 + rows], pa.int64()),
            "level": pa.array(numbers[-rows:], pa.float64()),
            "source": pa.array(["flink"] * rows, pa.string()),
            "n": pa.array(integers[10 : 10 + rows], pa.int64()),
            "scored": pa.array(scored[:rows], pa.bool_()),
            "modelVersion": pa.array(versions[:rows], pa.string()),
            "generation": pa.array([1] * rows, pa.int64()),
            "datetime": pa.array(integers[15 : 15 + rows], pa.int64()),
            "hash": pa.array(integers[:rows], pa.int64()),
            "epoch": pa.array([1] * rows, pa.int64()),
            "written_ns": pa.array([1] * rows, pa.int64()),
        },
        schema=points_schema(config.spec),
    )
    kept = points.filter(lineprotocol.holdable(points))
    holdable = [key for key in keys if "\n" not in key and not key.endswith("\\")]
    assert kept["id"].to_pylist() == holdable
    lines = lineprotocol.lines(kept, "stress, of=nurses")
    for line, row in zip(lines, kept.to_pylist(), strict=True):
        measurement, tags, fields, time = parse_line(line)
        assert measurement == "stress, of=nurses"
        assert tags == {"pipeline": row.pop("pipeline"), "id": row.pop("id")}
        assert time == row.pop("window_start")
        for name in ("window_end", "epoch", "written_ns"):
            del row[name]
        assert fields.keys() == row.keys()
        for name, value in row.items():
            assert type(fields[name]) is type(value), name
            assert fields[name] == value
            assert not isinstance(value, float) or bits(fields[name]) == bits(value)


@settings(deadline=None)
@given(st.data())
def test_splitting_down_finds_exactly_the_bad_points(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 200))
    bad = data.draw(st.sets(st.integers(0, max(size - 1, 0)), max_size=size))
    batch = [str(index) for index in range(size)]
    written: list[str] = []
    calls = 0

    def write(lines: Any) -> Refusal | None:
        nonlocal calls
        calls += 1
        if bad.isdisjoint(map(int, lines)):
            written.extend(lines)
            return None
        return Refusal("bad", every=bad.issuperset(map(int, lines)) and data.draw(st.booleans()))

    refused = split_down(write, batch)
    assert refused == [(index, "bad") for index in sorted(bad) if index < size]
    assert written == [line for line in batch if int(line) not in bad]
    assert calls <= max(2 * size - 1, 0)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),  # key
            st.sampled_from([0, 5_000]),  # window start
            st.sampled_from([1, 2]),  # generation
            st.sampled_from([EngineName.FLINK, EngineName.DASK, EngineName.REPAIR]),
            st.sampled_from([7, 8]),  # epoch
        ),
        min_size=1,
        max_size=12,
    )
)
def test_a_reader_of_files_takes_the_greatest_row_of_each_address(
    rows: list[tuple[str, int, int, EngineName, int]], tmp_path_factory: Any
) -> None:
    folder: Path = tmp_path_factory.mktemp("points")
    (folder / "token").write_text("x")
    expected: dict[tuple[str, int], tuple[int, bool, int, int]] = {}
    for written_ns, (key, start, generation, source, epoch) in enumerate(rows):
        config = job_config({"parquet": {"path": str(folder), "tokenFile": str(folder / "token")}})
        config = _assigned(config, generation, epoch)
        given_windows = windows(config, [(key, start)])
        scores = Scores(pa.array([2]), pa.array([True]), pa.array(["v"]))
        values = aggregate_values(config.spec, given_windows)
        assert config.sink.parquet is not None
        ParquetSink(config.sink.parquet).write(
            points_table(config, source, given_windows, values, scores, written_ns)
        )
        rank = (generation, source is EngineName.REPAIR, epoch, written_ns)
        expected[(key, start)] = max(expected.get((key, start), rank), rank)
    found = read_points(folder).to_pylist()
    assert {(row["id"], row["window_start"]): row["written_ns"] for row in found} == {
        address: rank[3] for address, rank in expected.items()
    }
    assert len(found) == len(expected)


def _assigned(config: JobConfig, generation: int, epoch: int) -> JobConfig:
    assignment = config.assignment.model_copy(update={"generation": generation, "epoch": epoch})
    return config.model_copy(update={"assignment": assignment})
