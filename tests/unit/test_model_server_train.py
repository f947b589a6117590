"""Training on a small made-up recording, and what ships."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import train
from evaluation import Settings, evaluate, methods, score, weights
from recording import INPUTS, RecordingError, Windows, cut, read_windows
from served_model import load_model

SHIPPED = Path(__file__).parents[2] / "model-server" / "models" / "nurse-stress"
START_MS = 1_594_209_600_000


def recording(nurses: int = 3, windows: int = 60, seed: int = 1) -> pl.DataFrame:
    """4 Hz records whose EDA tells the label plainly; the labels change every 5 s."""
    random = np.random.default_rng(seed)
    n = windows * 20
    parts = []
    for nurse in range(nurses):
        label = np.repeat(random.integers(-1, 3, windows), 20)
        values = {name: random.normal(30, 5, n) for name in INPUTS} | {
            "EDA": label * 10 + random.normal(0, 1, n)
        }
        times = pl.Series([START_MS + 250 * i for i in range(n)]).cast(pl.Datetime("ms"))
        parts.append(
            pl.DataFrame(values | {"id": [f"N{nurse}"] * n, "datetime": times}).with_columns(
                label=pl.Series(label, dtype=pl.Int8)
            )
        )
    return pl.concat(parts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    recording().write_parquet(tmp_path / "recording.parquet")
    return tmp_path / "recording.parquet"


def made_windows(count: int = 60) -> Windows:
    return cut(recording(windows=count), 5)


def test_windows_are_means_of_scaled_integers_per_nurse() -> None:
    frame = recording(nurses=2, windows=30)
    windows = cut(frame, 5)
    expected: dict[tuple[str, int], list[dict[str, float]]] = {}
    for record in frame.with_columns(ms=pl.col("datetime").dt.epoch("ms")).to_dicts():
        expected.setdefault((record["id"], record["ms"] // 5000), []).append(record)
    rows = []
    for key in sorted(expected):
        records = expected[key]
        if records[0]["label"] >= 0:
            sums = [sum(math.floor(r[name] * 1e6 + 0.5) for r in records) for name in INPUTS]
            rows.append([total / (len(records) * 1e6) for total in sums])
    assert windows.rows.tolist() == rows


def test_a_window_with_two_labels_is_left_out() -> None:
    frame = recording(windows=20)
    first = (pl.col("id") == "N0") & (pl.col("datetime").dt.epoch("ms") == START_MS)
    changed = frame.with_columns(label=pl.when(first).then((pl.col("label") + 2) % 3).otherwise("label"))
    whole, mixed = cut(frame, 5), cut(changed.cast({"label": pl.Int8}), 5)
    assert (whole.mixed, mixed.mixed) == (0, 1)
    assert whole.records == mixed.records == 1200


def test_a_reading_that_is_no_number_is_left_out() -> None:
    frame = recording(windows=20)
    first = (pl.col("id") == "N0") & (pl.col("datetime").dt.epoch("ms") == START_MS)
    bad = frame.with_columns(HR=pl.when(first).then(float("nan")).otherwise("HR"))
    windows = cut(bad, 5)
    assert windows.unusable == 1
    assert np.isfinite(windows.rows).all()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (recording(nurses=1), "fewer than two nurses"),
        (recording().with_columns(label=pl.lit(-1)), "fewer than two nurses"),
        (recording().with_columns(label=pl.lit(3)), "label must be -1"),
        (recording().with_columns(label=pl.lit("high")), "label must be an integer"),
        (recording().with_columns(datetime=pl.lit("2020-07-08")), "datetime must be"),
        (recording().drop("HR"), "HR"),
    ],
)
def test_a_recording_of_another_shape_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], frame: pl.DataFrame, says: str
) -> None:
    frame.write_parquet(tmp_path / "r.parquet")
    with pytest.raises(RecordingError, match=says):
        read_windows(tmp_path / "r.parquet", 5)
    assert train.main([str(tmp_path / "r.parquet"), "--out", str(tmp_path / "m")]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_weights_balance_classes_and_the_nurses_in_them() -> None:
    labels = np.array([0] * 90 + [0] * 10 + [1] * 4 + [2] * 1)
    nurses = np.array(["a"] * 90 + ["b"] * 10 + ["a"] * 4 + ["b"])
    weight = weights(labels, nurses)
    assert weight.mean() == pytest.approx(1)
    assert [weight[labels == label].sum() for label in range(3)] == pytest.approx([35, 35, 35])
    assert weight[:90].sum() == pytest.approx(weight[90:100].sum())


def test_figures_of_known_predictions() -> None:
    result = score(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2]))
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_each_nurse_is_predicted_by_a_model_that_never_saw_her() -> None:
    windows = made_windows()
    seen: list[set[float]] = []

    def fit(rows: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> object:
        seen.append({row[0] for row in rows})

        def predict(unseen: np.ndarray) -> np.ndarray:
            assert not seen[-1] & {row[0] for row in unseen}
            return np.zeros(len(unseen), dtype=np.int64)

        return predict

    result = evaluate(windows, fit)  # type: ignore[arg-type]
    assert list(result.folds) == ["N0", "N1", "N2"]
    assert sum(fold.windows for fold in result.folds.values()) == len(windows.labels)


def test_what_can_be_learnt_is_learnt_and_the_baseline_is_not_fooled() -> None:
    windows = made_windows(count=400)
    found = {name: evaluate(windows, fit).overall for name, fit in methods(Settings(rounds=20)).items()}
    assert found["LightGBM (this model)"].balanced_accuracy > 0.9
    assert found["Logistic regression"].balanced_accuracy > 0.9
    assert found["Majority class"].balanced_accuracy <= 0.5


def test_equal_arguments_give_equal_files(path: Path, tmp_path: Path) -> None:
    def run(folder: str, *more: str) -> dict[str, bytes]:
        out = tmp_path / folder
        assert train.main([str(path), "--out", str(out), "--rounds", "5", "--source", "made up", *more]) == 0
        return {file.name: file.read_bytes() for file in out.iterdir()}

    first = run("one")
    assert set(first) == {"model.txt", "model.json", "MODEL_CARD.md"}
    assert run("two") == first
    assert run("three", "--seed", "8")["model.txt"] != first["model.txt"]
    served = load_model(tmp_path / "one")
    assert served.version == f"nurse-stress-{hashlib.sha256(first['model.txt']).hexdigest()[:12]}"
    card = first["MODEL_CARD.md"].decode()
    for text in (served.version, "made up", "not a medical device", "--seed 7", "| N2 |", "Confusion matrix"):
        assert text in card


def test_the_shipped_model_is_the_one_of_its_card() -> None:
    served = load_model(SHIPPED)
    card = (SHIPPED / "MODEL_CARD.md").read_text()
    assert f"`{served.version}`" in card
    assert "Dryad, CC0" in card
    assert served.description.inputs == INPUTS
    assert served.description.classes == ["low", "medium", "high"]
    assert (SHIPPED / "model.txt").stat().st_size < 2 * 1024 * 1024
