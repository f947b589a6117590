"""The model a server answers from: a folder with `model.txt` (LightGBM text format) and `model.json`.

Text is all that is read: a model that somebody else made can hold wrong numbers, but no code.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

if TYPE_CHECKING:
    from lightgbm import Booster

MODEL_FILE = "model.txt"
DESCRIPTION_FILE = "model.json"
VERSION_DIGITS = 12


class ModelError(Exception):
    """The folder does not hold a model that can be served; the message says why."""


class Objective(StrEnum):
    """What a prediction is: a class index (binary, multiclass) or a number (regression)."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Description(BaseModel):
    """`model.json`: what the numbers of `model.txt` mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    inputs: list[str] = Field(min_length=1)
    """Names of the inputs in the order of the model's features."""
    output: str = Field(min_length=1)
    """Name of the prediction in the reply to a single request."""
    objective: Objective
    classes: list[str] = Field(default_factory=list)
    """Name of each class index; empty for a regression."""
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Least and greatest value of an input in a single request; an input without a range may be anything."""

    @field_validator("inputs")
    @classmethod
    def _distinct(cls, inputs: list[str]) -> list[str]:
        if len(set(inputs)) != len(inputs):
            raise ValueError("an input is named twice")
        return inputs

    @model_validator(mode="after")
    def _consistent(self) -> Description:
        expected = {Objective.BINARY: self.classes[:2], Objective.REGRESSION: []}
        if self.classes != expected.get(self.objective, self.classes):
            raise ValueError(f"{self.objective} does not go with the classes {self.classes}")
        if self.objective is not Objective.REGRESSION and len(self.classes) < 2:
            raise ValueError(f"{self.objective} needs the names of at least two classes")
        if self.output == "modelVersion" or self.output in self.inputs:
            raise ValueError(f"output must not be called {self.output}")
        for name, (low, high) in self.ranges.items():
            if name not in self.inputs:
                raise ValueError(f"range of {name}, which is not an input")
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"range of {name} is empty or not finite")
        return self


@dataclass(frozen=True)
class ServedModel:
    """A loaded model. Safe to call from several threads."""

    description: Description
    version: str
    """Name, a dash, the first 12 hex digits of the SHA-256 of `model.txt`."""
    booster: Booster

    def predict(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """Predict (n, inputs) float64 in the order of `description.inputs`.

        Returns (n,): int64 class indices, or float64 for a regression. The class is the most probable
        one, the lowest index where two are equal (binary: 1 when its probability is above 0.5).
        """
        # One thread: a batch takes milliseconds, and OpenMP's pool would spin on the engines' cores.
        raw: NDArray[np.float64] = np.asarray(self.booster.predict(rows, num_threads=1))
        if self.description.objective is Objective.MULTICLASS:
            classes: NDArray[np.int64] = raw.argmax(axis=1)
            return classes
        if self.description.objective is Objective.BINARY:
            return (raw > 0.5).astype(np.int64)
        return raw


def load_model(folder: Path) -> ServedModel:
    """Load the model of a folder and check that both files speak of the same model. Raises ModelError."""
    try:
        description = Description.model_validate_json((folder / DESCRIPTION_FILE).read_bytes())
        content = (folder / MODEL_FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {error.filename}: {error.strerror}") from error
    except ValidationError as error:
        raise ModelError(f"{folder / DESCRIPTION_FILE}: {error}") from error
    booster = _booster(content, folder / MODEL_FILE)
    _check(description, booster, content, folder)
    version = f"{description.name}-{hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]}"
    return ServedModel(description, version, booster)


def _booster(content: bytes, path: Path) -> Booster:
    if not _whole(content):
        raise ModelError(f"{path} is not a whole LightGBM model in text format")
    with _without_scikit_learn():
        from lightgbm import Booster
        from lightgbm.basic import LightGBMError
    try:
        return Booster(model_str=content.decode())
    except (LightGBMError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error


def _whole(content: bytes) -> bool:
    """Whether each tree stands where the header says.

    Of a text that was cut or edited LightGBM does not raise: it ends the process.
    """
    header, _, trees = content.partition(b"\n\n")
    sizes = next((line for line in header.splitlines() if line.startswith(b"tree_sizes=")), None)
    if not header.startswith(b"tree\n") or sizes is None:
        return False
    offset = 0
    for i, size in enumerate(sizes.removeprefix(b"tree_sizes=").split()):
        if not size.isdigit() or not trees.startswith(b"Tree=%d\n" % i, offset):
            return False
        offset += int(size)
    return trees.startswith(b"end of trees", offset)


def _check(description: Description, booster: Booster, content: bytes, folder: Path) -> None:
    inputs = description.inputs
    if booster.num_feature() != len(inputs):
        raise ModelError(
            f"{folder}: {booster.num_feature()} features, but {len(inputs)} inputs in model.json"
        )
    names = booster.feature_name()
    # LightGBM writes spaces as underscores, and calls unnamed features Column_0, Column_1, ...
    unnamed = [f"Column_{i}" for i in range(len(inputs))]
    if names != unnamed and names != [name.replace(" ", "_") for name in inputs]:
        raise ModelError(f"{folder}: features {names}, but inputs {inputs} in model.json")
    objective = _objective(content)
    if objective is not description.objective:
        raise ModelError(f"{folder}: objective {objective}, but {description.objective} in model.json")
    outputs = booster.num_model_per_iteration()
    if objective is Objective.MULTICLASS and outputs != len(description.classes):
        raise ModelError(f"{folder}: {outputs} classes, but {len(description.classes)} in model.json")


def _objective(content: bytes) -> Objective:
    """The kind of objective in a model's header; every one that is not a classifier's is a regression."""
    header = content.split(b"\nTree=", 1)[0].decode()
    for line in header.splitlines():
        if line.startswith("objective="):
            word = line.removeprefix("objective=").split()[0]
            if word in ("multiclass", "multiclassova"):
                return Objective.MULTICLASS
            return Objective.BINARY if word == "binary" else Objective.REGRESSION
    return Objective.REGRESSION


@contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """LightGBM imports scikit-learn where it is installed; serving does not need its 2 s and 70 MB."""
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]
