"""The model card: what the model is for, what it was made from, and how well it does, good or bad."""

from __future__ import annotations

import hashlib
import platform
import shlex
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np

from evaluation import Evaluation, Score, Settings
from recording import CLASSES, INPUTS, Windows

PACKAGES = ["lightgbm", "numpy", "polars", "scikit-learn"]


@dataclass(frozen=True)
class Run:
    """How a model was made."""

    recording: Path
    source: str
    window_seconds: int
    settings: Settings
    name: str
    version: str


def render(run: Run, windows: Windows, evaluations: dict[str, Evaluation]) -> str:
    """The card as Markdown; the first evaluation is the model's own."""
    parts = [
        _head(run, windows),
        _figures(evaluations),
        _data(run, windows),
        _making(run),
    ]
    return "\n\n".join(parts) + "\n"


def _head(run: Run, windows: Windows) -> str:
    nurses = len(np.unique(windows.nurses))
    single = sum(
        len(np.unique(windows.labels[windows.nurses == nurse])) == 1 for nurse in np.unique(windows.nurses)
    )
    classes = ", ".join(f"{i} ({name})" for i, name in enumerate(CLASSES))
    return f"""# Model card: {run.name}

Version `{run.version}` (name and SHA-256 of `model.txt`). A LightGBM classifier in text format.

* **Input**: the means of {", ".join(INPUTS)} of one person's wristband over a window of
  {run.window_seconds} s: acceleration in 1/64 g, skin conductance in microsiemens, heart rate in beats a
  minute, skin temperature in degrees Celsius.
* **Output**: `stress_level`, as a nurse rated it in a survey: {classes}.

## Intended use and limits

To show and test a streaming pipeline on real measurements. **It is not a medical device**: no decision
about a person's health, work or care may rest on it.

* Its labels come from {nurses} people, of whom {single} only ever gave one answer: it may have learnt who
  wore the band rather than how they felt. The figures below are for people it has not seen.
* Values far from the recording's (another device, a band taken off) get an answer too, without a warning."""


def _figures(evaluations: dict[str, Evaluation]) -> str:
    names = list(evaluations)
    own = evaluations[names[0]]
    best = max(names, key=lambda name: evaluations[name].overall.balanced_accuracy)
    chance = 1 / len(CLASSES)
    lines = [
        "## Figures",
        "",
        "Each nurse is left out in turn: trained on the others, asked about that one. Balanced accuracy",
        "is the mean recall of the classes that occur: one answer for all windows, or a random one, gets",
        f"{chance:.2f} overall.",
        "",
        "All nurses' predictions together:",
        "",
        "| | balanced accuracy | macro F1 | " + " | ".join(f"recall {name}" for name in CLASSES) + " |",
        "|---|---|---|" + "---|" * len(CLASSES),
    ]
    for name in names:
        overall = evaluations[name].overall
        recalls = " | ".join(_recall(overall, label) for label in range(len(CLASSES)))
        lines.append(f"| {name} | {overall.balanced_accuracy:.3f} | {overall.macro_f1:.3f} | {recalls} |")
    lines += [
        "",
        f"Highest balanced accuracy: {best}. {_verdict(own, evaluations)}",
        "",
        "Each nurse left out (balanced accuracy / macro F1):",
        "",
        "| nurse | windows " + ", ".join(CLASSES) + " | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for nurse, fold in own.folds.items():
        counts = ", ".join(str(count) for count in fold.confusion.sum(axis=1))
        cells = " | ".join(_pair(evaluations[name].folds[nurse]) for name in names)
        lines.append(f"| {nurse} | {counts} | {cells} |")
    lines += [
        "",
        "A nurse with one class only makes a weak fold: answering that class always is then perfect.",
        "",
        "Confusion matrix of the model, all nurses (rows: the nurse's answer, columns: the prediction):",
        "",
        "| | " + " | ".join(CLASSES) + " |",
        "|---|" + "---|" * len(CLASSES),
    ]
    for name, row in zip(CLASSES, own.overall.confusion, strict=True):
        lines.append(f"| {name} | " + " | ".join(str(count) for count in row) + " |")
    return "\n".join(lines)


def _verdict(own: Evaluation, evaluations: dict[str, Evaluation]) -> str:
    """What the figures say in words."""
    never = [name for label, name in enumerate(CLASSES) if _hits(own.overall, label) == 0]
    sentences = []
    if never:
        sentences.append(f"Of a nurse it has not seen, the model recognised no window of {', '.join(never)}.")
    worse = [
        name
        for name, other in evaluations.items()
        if other is not own and other.overall.balanced_accuracy >= own.overall.balanced_accuracy
    ]
    if worse:
        sentences.append(f"The model does not beat: {', '.join(worse)}.")
    if own.overall.balanced_accuracy < 0.6:
        sentences.append("This is poor: one window's means do not tell the stress of an unseen person.")
    return " ".join(sentences)


def _hits(score: Score, label: int) -> int:
    return int(score.confusion[label, label])


def _recall(score: Score, label: int) -> str:
    total = int(score.confusion[label].sum())
    return f"{_hits(score, label) / total:.3f}" if total else "-"


def _pair(score: Score) -> str:
    return f"{score.balanced_accuracy:.3f} / {score.macro_f1:.3f}"


def _data(run: Run, windows: Windows) -> str:
    counts = np.bincount(windows.labels, minlength=len(CLASSES))
    classes = ", ".join(f"{name}: {count}" for name, count in zip(CLASSES, counts, strict=True))
    digest = hashlib.sha256(run.recording.read_bytes()).hexdigest()
    return f"""## Data

* Recording (not part of this project): `{run.recording.name}`, SHA-256
  `{digest}`.
* Source and licence: {run.source}.
* {windows.records} records; left out: {windows.uncovered} without a label, {windows.unusable} with a
  missing or non-finite value.
* {len(windows.labels)} windows of {run.window_seconds} s with one label throughout ({classes}),
  of {len(np.unique(windows.nurses))} nurses; {windows.mixed} windows with more than one label left out.
* Class balance: weights by which each class counts the same, and within a class each nurse."""


def _making(run: Run) -> str:
    settings = run.settings
    command = [
        "python", "train.py", run.recording.name, "--out", f"models/{run.name}", "--name", run.name,
        "--window-seconds", str(run.window_seconds), "--seed", str(settings.seed),
        "--rounds", str(settings.rounds), "--leaves", str(settings.leaves), "--source", run.source,
    ]  # fmt: skip
    versions = ", ".join(f"{package} {installed(package)}" for package in PACKAGES)
    return f"""## How it was made

In `model-server/`:

    {shlex.join(command)}

Seed {settings.seed}, {settings.rounds} rounds of at most {settings.leaves} leaves a class; nothing was tuned
on the figures above. Python {platform.python_version()}, {versions}.
The same recording, command and versions give the same files."""
