"""Train the stress model: `python train.py RECORDING.parquet --out models/nurse-stress`.

Writes model.txt, model.json and MODEL_CARD.md with the figures found by leaving each nurse out. Equal
recording, arguments and versions give equal files.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from evaluation import Settings, evaluate, methods, train_booster, weights
from model_card import Run, render
from recording import CLASSES, INPUTS, RecordingError, Windows, read_windows
from served_model import DESCRIPTION_FILE, MODEL_FILE, Description, Objective, load_model

RANGES = {
    "X": (-128.0, 128.0),  # 1/64 g, the sensor's full scale of 2 g
    "Y": (-128.0, 128.0),
    "Z": (-128.0, 128.0),
    "EDA": (0.0, 100.0),  # microsiemens, the sensor's range
    "HR": (20.0, 250.0),  # beats a minute, what a heart can do
    "TEMP": (0.0, 50.0),  # degrees Celsius on the skin, or of a room when the band is off
}
"""What a single request may hold: the wristband's ranges, not the recording's."""


def write_model(windows: Windows, settings: Settings, name: str, folder: Path) -> str:
    """Train on all windows and write model.txt and model.json. Returns the model's version."""
    weight = weights(windows.labels, windows.nurses)
    booster = train_booster(windows.rows, windows.labels, weight, settings)
    description = Description(
        name=name,
        inputs=INPUTS,
        output="stress_level",
        objective=Objective.MULTICLASS,
        classes=CLASSES,
        ranges=RANGES,
    )
    folder.mkdir(parents=True, exist_ok=True)
    booster.save_model(folder / MODEL_FILE)
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description.model_dump(mode="json"), indent=2) + "\n")
    return load_model(folder).version


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate and write. Returns the exit status: 1 where the recording cannot be trained on."""
    arguments = _arguments(argv)
    settings = Settings(arguments.seed, arguments.rounds, arguments.leaves)
    try:
        windows = read_windows(arguments.recording, arguments.window_seconds)
    except (RecordingError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    evaluations = {method: evaluate(windows, fit) for method, fit in methods(settings).items()}
    version = write_model(windows, settings, arguments.name, arguments.out)
    run = Run(
        recording=arguments.recording,
        source=arguments.source,
        window_seconds=arguments.window_seconds,
        settings=settings,
        name=arguments.name,
        version=version,
    )
    (arguments.out / "MODEL_CARD.md").write_text(render(run, windows, evaluations))
    for method, evaluation in evaluations.items():
        overall = evaluation.overall
        print(f"{method}: balanced accuracy {overall.balanced_accuracy:.3f}, macro F1 {overall.macro_f1:.3f}")
    print(f"wrote {version} to {arguments.out}")
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "recording",
        type=Path,
        help="Parquet with X, Y, Z, EDA, HR, TEMP, id, datetime, label (-1: not covered)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--window-seconds", type=_positive, default=5, help="size of a window (default 5)")
    parser.add_argument("--name", default="nurse-stress", help="name of the model (default nurse-stress)")
    parser.add_argument(
        "--source", default="not stated", help="source and licence of the recording, for the card"
    )
    parser.add_argument("--seed", type=int, default=Settings.seed, help=f"default {Settings.seed}")
    parser.add_argument(
        "--rounds", type=_positive, default=Settings.rounds, help=f"default {Settings.rounds}"
    )
    parser.add_argument(
        "--leaves", type=_positive, default=Settings.leaves, help=f"default {Settings.leaves}"
    )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
