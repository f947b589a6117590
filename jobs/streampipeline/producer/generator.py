"""Signals of nurses made up from a seed: random walks within the ranges that wristbands show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streampipeline.producer.batch import Batch, Floats

STEP_MS = 25
"""Time between two records of a nurse: 15 nurses give 600 records/s."""
STEPS = 40
"""Steps of one batch: one second of signals."""

# Of each signal (X, Y, Z, EDA, HR, TEMP): lowest and highest value, size of a step, resolution of the sensor.
LOWEST = np.array([-64.0, -64.0, -64.0, 0.05, 55.0, 28.0])
HIGHEST = np.array([64.0, 64.0, 64.0, 20.0, 150.0, 36.5])
STEP = np.array([0.8, 0.8, 0.8, 0.005, 0.15, 0.003])
RESOLUTION = np.array([8.0, 8.0, 8.0, 1e6, 100.0, 100.0])


class Generator:
    """Endless; the same seed and number of nurses give the same records."""

    def __init__(self, seed: int, nurses: int) -> None:
        self._seed = seed
        width = max(2, len(str(nurses)))
        self.keys = [f"N{number:0{width}d}" for number in range(1, nurses + 1)]
        self.length: int | None = None

    def span_ms(self, records: int) -> int:
        """Time from the common start to the last of the first `records` records."""
        return max(0, records - 1) // len(self.keys) * STEP_MS

    def batches(self) -> Iterator[Batch]:
        """All records, from the start, in the order of time."""
        random = np.random.default_rng(self._seed)
        nurses = len(self.keys)
        position: Floats = random.uniform(LOWEST, HIGHEST, (nurses, len(STEP)))
        key = np.tile(np.arange(nurses, dtype=np.int64), STEPS)
        at = np.repeat(np.arange(STEPS, dtype=np.int64) * STEP_MS, nurses)
        while True:
            steps = random.standard_normal((STEPS, nurses, len(STEP))) * STEP
            steps[0] += position
            walk = np.cumsum(steps, axis=0)
            position = walk[-1]
            values = np.round(_fold(walk) * RESOLUTION) / RESOLUTION
            yield Batch(key, at, values.reshape(-1, len(STEP)))
            at = at + STEPS * STEP_MS


def _fold(walk: Floats) -> Floats:
    """Reflect the walks at the ends of their ranges: bounded, and still smooth."""
    width = HIGHEST - LOWEST
    within = np.mod(walk - LOWEST, 2 * width)
    folded: Floats = LOWEST + np.minimum(within, 2 * width - within)
    return folded
