"""Sources, encoding and faults of the producer; what needs a broker is among the integration tests."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import fastavro
import numpy as np
import polars as pl
import pytest

from streampipeline.api.load import load
from streampipeline.producer.__main__ import main
from streampipeline.producer.batch import Batch, Feed, Floats, Ints, Source
from streampipeline.producer.encode import encode
from streampipeline.producer.faults import Faults, expected_records, poison_value
from streampipeline.producer.generator import HIGHEST, LOWEST, Generator
from streampipeline.producer.recording import Recording
from streampipeline.producer.settings import NURSE_SCHEMA, SIGNALS, Clock, ProducerError, Settings

SAMPLE = Path(__file__).parents[2] / "samples" / "nurse-stress.yaml"
START = datetime(2020, 7, 7, 16, 43, 5, tzinfo=UTC)


def _all(source: Source) -> Batch:
    parts = list(source.batches())
    return Batch(
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.at for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _frame(nurses: dict[str, list[float]]) -> pl.DataFrame:
    """Rows of nurses at the given seconds after START; signal X is the position among the nurse's rows."""
    rows = [
        {
            "X": float(index),
            **dict.fromkeys(SIGNALS[1:], 1.5),
            "id": nurse,
            "datetime": START + timedelta(seconds=s),
        }
        for nurse, seconds in nurses.items()
        for index, s in enumerate(seconds)
    ]
    return pl.DataFrame(rows, schema_overrides={"datetime": pl.Datetime("us", "UTC")})


def _decode(value: bytes) -> dict[str, object]:
    stream = io.BytesIO(value)
    record = fastavro.schemaless_reader(stream, NURSE_SCHEMA, None)
    assert stream.read() == b"", "bytes left over"
    assert isinstance(record, dict)
    return record


def test_the_schema_is_that_of_the_sample() -> None:
    manifest = load(SAMPLE)
    assert json.loads(manifest.resolve_schema(manifest.pipeline())) == NURSE_SCHEMA


def test_signals_from_a_seed_are_the_same_each_time_and_other_ones_from_another() -> None:
    first, again, other = (next(Generator(seed, 15).batches()).values for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_signals_are_smooth_and_within_their_ranges() -> None:
    batches = list(islice(Generator(3, 15).batches(), 120))
    values = np.stack([batch.values.reshape(-1, 15, 6) for batch in batches]).reshape(-1, 15, 6)
    assert (values >= LOWEST - 0.1).all()
    assert (values <= HIGHEST + 0.1).all()
    assert (np.abs(np.diff(values, axis=0)).max(axis=(0, 1)) < (HIGHEST - LOWEST) / 10).all()
    assert (values.std(axis=0) > 0).all()


def test_fifteen_nurses_give_600_records_a_second_in_the_order_of_time() -> None:
    generator = Generator(1, 15)
    first, second = islice(generator.batches(), 2)
    at = np.concatenate([first.at, second.at])
    assert len(first) == 600
    assert (np.diff(at) >= 0).all()
    assert second.at[0] == 1000
    assert set(first.key.tolist()) == set(range(15))
    assert [generator.span_ms(count) for count in (1, 15, 16, 1200)] == [0, 0, 25, int(at[1199])]


def test_nurses_are_shifted_to_a_common_start_and_merged_by_time(tmp_path: Path) -> None:
    file = tmp_path / "recording.parquet"
    _frame({"5C": [100, 100.5, 101], "15": [2.25, 1, 0]}).write_parquet(file)
    recording = Recording(file, tmp_path / "spool", 60)
    assert recording.keys == ["15", "5C"]
    batch = _all(recording)
    assert batch.at.tolist() == [0, 0, 500, 1000, 1000, 2250]
    assert batch.key.tolist() == [0, 1, 1, 0, 1, 0]
    assert batch.values[:, 0].tolist() == [2, 0, 1, 1, 2, 0]
    assert [recording.span_ms(count) for count in (1, 3, 6, 99)] == [0, 500, 2250, 2250]


@pytest.mark.parametrize(
    ("longest", "at", "shortened"), [(60, [0, 60_000, 61_000], 1), (None, [0, 90_000, 91_000], 0)]
)
def test_long_gaps_are_shortened(
    tmp_path: Path, longest: float | None, at: list[int], shortened: int
) -> None:
    file = tmp_path / "recording.parquet"
    _frame({"15": [0, 90, 91]}).write_parquet(file)
    recording = Recording(file, tmp_path / "spool", longest)
    assert _all(recording).at.tolist() == at
    assert recording.gaps_shortened == shortened


def test_csv_is_the_same_as_parquet(tmp_path: Path) -> None:
    frame = _frame({"15": [0, 0.25, 7], "a/b": [1, 2, 3.125]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(pl.col("datetime").dt.strftime("%Y-%m-%d %H:%M:%S%.3f")).write_csv(tmp_path / "a.csv")
    one = Recording(tmp_path / "a.parquet", tmp_path / "1", 60)
    other = Recording(tmp_path / "a.csv", tmp_path / "2", 60)
    assert one.keys == other.keys == ["15", "a/b"]
    for left, right in zip(_columns(_all(one)), _columns(_all(other)), strict=True):
        assert np.array_equal(left, right)


def _columns(batch: Batch) -> tuple[Ints, Ints, Floats]:
    return batch.key, batch.at, batch.values


def test_a_long_recording_comes_in_order_and_whole_although_in_pieces(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    seconds = {str(n): (random.integers(0, 20_000, 2500) / 4).tolist() for n in range(3)}
    _frame(seconds).write_parquet(tmp_path / "a.parquet")
    recording = Recording(tmp_path / "a.parquet", tmp_path / "spool", None)
    sizes = [len(batch) for batch in recording.batches()]
    batch = _all(recording)
    assert len(sizes) > 1
    assert len(batch) == recording.length == 7500
    assert (np.diff(batch.at) >= 0).all()
    for key, times in enumerate(seconds.values()):
        assert batch.at[batch.key == key].tolist() == [int((s - min(times)) * 1000) for s in sorted(times)]


def test_rows_that_cannot_be_sent_are_counted(tmp_path: Path) -> None:
    frame = _frame({"15": [0, 1, 2, 3]}).with_columns(
        HR=pl.Series([None, 2.0, float("nan"), 1.0]), EDA=pl.Series([1.0, float("inf"), 1.0, 1.0])
    )
    frame.write_parquet(tmp_path / "a.parquet")
    recording = Recording(tmp_path / "a.parquet", tmp_path / "spool", None)
    assert (recording.length, recording.skipped_rows) == (1, 3)


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProducerError, match="is not there"):
        Recording(tmp_path / "none.csv", tmp_path / "spool", None)
    (tmp_path / "a.csv").write_text("X,Y\n1,2\n")
    with pytest.raises(ProducerError, match="lacks the columns id, datetime, Z, EDA, HR, TEMP; it has X, Y"):
        Recording(tmp_path / "a.csv", tmp_path / "spool", None)
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(ProducerError, match="cannot be read"):
        Recording(tmp_path / "a.parquet", tmp_path / "spool", None)
    _frame({"15": [0]}).with_columns(HR=pl.lit(None, pl.Float64)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ProducerError, match="has no row with all of id"):
        Recording(tmp_path / "b.parquet", tmp_path / "spool", None)


def test_a_feed_takes_any_number_up_to_its_limit() -> None:
    feed = Feed(Generator(1, 15), 1300)
    taken = []
    while (batch := feed.take(500)) is not None:
        taken.append(batch)
    assert sum(map(len, taken)) == 1300
    assert max(map(len, taken)) <= 500
    whole = np.concatenate([batch.values for batch in islice(Generator(1, 15).batches(), 3)])[:1300]
    assert np.array_equal(np.concatenate([batch.values for batch in taken]), whole)


def test_records_are_encoded_as_the_schema_says() -> None:
    generator = Generator(1, 3)
    batch = next(generator.batches()).part(0, 7)
    for index, value in enumerate(encode(generator.keys, batch, batch.at + 1_700_000_000_123)):
        record = _decode(value)
        assert record["id"] == generator.keys[int(batch.key[index])]
        assert record["datetime"] == datetime.fromtimestamp(0, UTC) + timedelta(
            milliseconds=1_700_000_000_123 + int(batch.at[index])
        )
        assert [record[signal] for signal in SIGNALS] == batch.values[index].tolist()


def test_no_kind_of_poison_can_be_decoded() -> None:
    generator = Generator(1, 3)
    (good,) = encode(generator.keys, next(generator.batches()).part(0, 1), np.array([1_700_000_000_000]))
    kinds = {poison_value(good, number) for number in range(12)}
    assert None in kinds
    assert len(kinds) == 6
    for bad in kinds - {None}:
        assert isinstance(bad, bytes)
        with pytest.raises(
            (EOFError, AssertionError, UnicodeDecodeError, ValueError, IndexError, OverflowError)
        ):
            _decode(bad)


def test_faults_are_as_many_as_asked_for_and_fall_on_the_same_records_each_time() -> None:
    settings = Settings("", seed=5, late=20, poison=9)
    faults, again = Faults(settings, 1000), Faults(settings, 1000)
    late = [
        position for start in range(0, 1000, 70) for position in faults.late(start, min(start + 70, 1000))
    ]
    assert late == again.late(0, 1000)
    assert len(set(late)) == 20
    poison = [position for start in range(0, 1000, 7) for position in faults.poison(start, start + 7)]
    assert poison == again.poison(0, 1000)
    assert len(poison) == 9
    assert faults.late(1000, 2000) == faults.poison(1000, 2000) == []


def test_faults_fall_into_what_is_going_to_be_sent() -> None:
    assert expected_records(Settings("", limit=70), 50) == 50
    assert expected_records(Settings("", limit=70), None) == 70
    assert expected_records(Settings("", rate=10, duration=3, limit=70), None) == 30
    assert expected_records(Settings("", rate=10), None) == 600
    assert Faults(Settings("", late=5, poison=5), 0).late(0, 10) == []


def test_the_clock_follows_from_the_rate() -> None:
    assert Settings("").clock_used is Clock.LIVE
    assert Settings("", rate=None).clock_used is Clock.RECORDED
    assert Settings("", rate=5000, clock=Clock.RECORDED).clock_used is Clock.RECORDED


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "0"],
        ["--rate", "fast"],
        ["--limit", "0"],
        ["--silent-partition", "1:2"],
        ["--property", "a"],
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err
