"""The BentoML service. `python serve.py --port N`, or `bentoml serve service:StressModel --port N`.

It serves the folder that STREAMPIPELINE_MODEL_DIR names, or the model that ships with it.
"""

from __future__ import annotations

import os
from pathlib import Path

# BentoML reads it once, when it first could report.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

import bentoml
import numpy as np

from served_model import ServedModel, load_model
from wire import create_app

BUNDLED_MODEL = Path(__file__).resolve().parent / "models" / "nurse-stress"


def model_folder() -> Path:
    """The folder of the model to serve."""
    return Path(os.environ.get("STREAMPIPELINE_MODEL_DIR", BUNDLED_MODEL))


def _model() -> ServedModel:
    model = bentoml.get_current_service().model
    assert isinstance(model, ServedModel)
    return model


@bentoml.service(
    name="StressModel",
    workers=1,
    envs=[{"name": "BENTOML_DO_NOT_TRACK", "value": "True"}],
    # /metrics counts requests; a line for each batch would only hide the rest.
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(create_app(_model), path="/")
class StressModel:
    """One process that holds one model; /livez, /readyz and /metrics are BentoML's."""

    def __init__(self) -> None:
        """Raises ModelError."""
        self.model = load_model(model_folder())
        self._predict_once()

    def __is_ready__(self) -> bool:
        return self._predict_once()

    def _predict_once(self) -> bool:
        return len(self.model.predict(np.zeros((1, len(self.model.description.inputs))))) == 1
