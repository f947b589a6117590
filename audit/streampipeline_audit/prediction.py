"""Predictions, made again from the model's file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streampipeline_audit.errors import AuditError

_RELATIVE_TOLERANCE = 1e-9
_VERSION_DIGITS = 12


class Predictor(Protocol):
    """Something that predicts as the pipeline's model does."""

    def knows(self, model_version: str) -> bool:
        """Whether a prediction of this version can be made again."""
        ...

    def predict(self, rows: Sequence[Sequence[float]]) -> list[float | int]:
        """Predictions for rows of the inputs in the order of the spec: class indices, or numbers."""
        ...


class LightGbmPredictor:
    """A model in LightGBM's text format. Raises AuditError when the file holds none."""

    def __init__(self, path: Path, inputs: list[str]) -> None:
        from lightgbm import Booster
        from lightgbm.basic import LightGBMError

        try:
            content = path.read_bytes()
        except OSError as error:
            raise AuditError(f"the model file {path} cannot be read: {error.strerror}") from error
        # LightGBM ends the process on some texts that are cut off.
        if not content.startswith(b"tree\n") or b"\nend of trees\n" not in content:
            raise AuditError(f"the model file {path} is not a whole LightGBM model in text format")
        try:
            self._booster = Booster(model_str=content.decode())
        except (LightGBMError, UnicodeDecodeError) as error:
            raise AuditError(f"the model file {path} cannot be used: {error}") from error
        self._digest = hashlib.sha256(content).hexdigest()[:_VERSION_DIGITS]
        features = self._booster.feature_name()
        if len(features) != len(inputs):
            raise AuditError(f"the model has {len(features)} inputs, the spec names {len(inputs)}")
        names = [name.replace(" ", "_") for name in inputs]
        in_spec_order = range(len(inputs))
        self._order = (
            [names.index(f) for f in features] if set(features) == set(names) else list(in_spec_order)
        )
        header = content.split(b"\nTree=", 1)[0].decode()
        objectives = [line.split("=", 1)[1] for line in header.splitlines() if line.startswith("objective=")]
        self._objective = objectives[0].split()[0] if objectives else "regression"

    def knows(self, model_version: str) -> bool:
        """Whether the version ends in the digest of this file: `<name>-<12 hex digits of its SHA-256>`."""
        return model_version.rpartition("-")[2] == self._digest

    def predict(self, rows: Sequence[Sequence[float]]) -> list[float | int]:
        """Classes (the likeliest, the lowest of equals) or numbers. Rows are in the order of the spec."""
        inputs = np.asarray(rows, np.float64)[:, self._order]
        raw: NDArray[Any] = np.asarray(self._booster.predict(inputs, num_threads=1))
        if self._objective in ("multiclass", "multiclassova"):
            return [int(row) for row in raw.argmax(axis=1)]
        if self._objective == "binary":
            return [int(row > 0.5) for row in raw]
        return [float(row) for row in raw]


def same_prediction(found: object, expected: float, *, integer: bool) -> bool:
    """Classes are to be equal; numbers to nine digits, since a library's rounding may differ by machine."""
    if integer:
        return isinstance(found, int) and not isinstance(found, bool) and found == expected
    if not isinstance(found, float):
        return False
    return abs(found - expected) <= _RELATIVE_TOLERANCE * max(abs(found), abs(expected))
