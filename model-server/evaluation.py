"""How well a model does on nurses it has never seen: each is left out in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.metrics import confusion_matrix, f1_score, recall_score  # type: ignore[import-untyped]
from sklearn.model_selection import LeaveOneGroupOut  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from recording import CLASSES, INPUTS, Windows

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]
Fit = Callable[[Rows, Labels, NDArray[np.float64]], Callable[[Rows], Labels]]
"""(rows, labels, weights) -> a function from rows to predicted class indices."""


@dataclass(frozen=True)
class Settings:
    """Everything that, with the windows, decides the model."""

    seed: int = 7
    rounds: int = 100
    leaves: int = 15


@dataclass(frozen=True)
class Score:
    """Figures of predictions against labels."""

    windows: int
    balanced_accuracy: float
    """Mean recall over the classes that occur among the labels."""
    macro_f1: float
    """Mean F1 over all classes; a class that is neither labelled nor predicted is left out."""
    confusion: NDArray[np.int64]
    """(classes, classes): labelled class by predicted class."""


@dataclass(frozen=True)
class Evaluation:
    """One method's figures: for each nurse left out, and over all their predictions together."""

    folds: dict[str, Score]
    overall: Score


def weights(labels: Labels, nurses: NDArray[np.str_]) -> NDArray[np.float64]:
    """(n,) weights of mean 1: each class counts the same, and within a class each nurse."""
    result: NDArray[np.float64] = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = labels == label
        present = np.unique(nurses[of_class])
        for nurse in present:
            group = of_class & (nurses == nurse)
            result[group] = 1 / (len(present) * group.sum())
    result /= result.mean()
    return result


def train_booster(rows: Rows, labels: Labels, weight: NDArray[np.float64], settings: Settings) -> lgb.Booster:
    """Train the model. Equal arguments (and versions) give equal models, byte for byte."""
    parameters = {
        "objective": "multiclass",
        "num_class": len(CLASSES),
        "num_leaves": settings.leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": 50,
        "lambda_l2": 1.0,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lgb.Dataset(rows, labels, weight=weight, feature_name=INPUTS)
    return lgb.train(parameters, data, num_boost_round=settings.rounds)


def methods(settings: Settings) -> dict[str, Fit]:
    """The model and what it has to beat, by the name a model card gives them."""

    def model(rows: Rows, labels: Labels, weight: NDArray[np.float64]) -> Callable[[Rows], Labels]:
        booster = train_booster(rows, labels, weight, settings)
        return lambda unseen: np.asarray(booster.predict(unseen)).argmax(axis=1)

    def logistic(rows: Rows, labels: Labels, weight: NDArray[np.float64]) -> Callable[[Rows], Labels]:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        fitted.fit(rows, labels, logisticregression__sample_weight=weight)
        return lambda unseen: np.asarray(fitted.predict(unseen), dtype=np.int64)

    def majority(rows: Rows, labels: Labels, weight: NDArray[np.float64]) -> Callable[[Rows], Labels]:
        most = np.bincount(labels).argmax()
        return lambda unseen: np.full(len(unseen), most, dtype=np.int64)

    return {"LightGBM (this model)": model, "Logistic regression": logistic, "Majority class": majority}


def evaluate(windows: Windows, fit: Fit) -> Evaluation:
    """Leave each nurse out in turn, train on the others, predict the one left out."""
    predicted = np.empty_like(windows.labels)
    folds: dict[str, Score] = {}
    for train, test in LeaveOneGroupOut().split(windows.rows, windows.labels, windows.nurses):
        labels = windows.labels[train]
        if len(np.unique(labels)) == 1:  # nothing to learn from, and logistic regression would refuse
            predicted[test] = labels[0]
        else:
            predict = fit(windows.rows[train], labels, weights(labels, windows.nurses[train]))
            predicted[test] = predict(windows.rows[test])
        folds[str(windows.nurses[test[0]])] = score(windows.labels[test], predicted[test])
    return Evaluation(folds, score(windows.labels, predicted))


def score(labels: Labels, predicted: Labels) -> Score:
    """Figures of (n,) predictions against (n,) labels."""
    recall = recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    return Score(
        windows=len(labels),
        balanced_accuracy=float(recall),
        macro_f1=float(f1_score(labels, predicted, average="macro", zero_division=0)),
        confusion=confusion_matrix(labels, predicted, labels=range(len(CLASSES))),
    )
