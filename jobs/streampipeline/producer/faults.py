"""Records made wrong on purpose, chosen by the seed: the same run again has the same ones."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from streampipeline.producer.settings import Settings

OPEN_ENDED_SECONDS = 60.0
"""Without any end, faults fall into this much of the run's beginning."""


class Faults:
    """Which of the records are late, and before which of them poison is sent."""

    def __init__(self, settings: Settings, expected: int) -> None:
        chance = np.random.default_rng(settings.seed)
        self._late = sorted(chance.choice(expected, min(settings.late, expected), replace=False).tolist())
        self._poison = sorted(chance.integers(expected, size=settings.poison).tolist()) if expected else []

    def late(self, start: int, stop: int) -> list[int]:
        """Positions of the late ones among records `start` to `stop` - 1 of the run."""
        return self._late[bisect_left(self._late, start) : bisect_left(self._late, stop)]

    def poison(self, start: int, stop: int) -> list[int]:
        """For each poison among records `start` to `stop` - 1: the position of the record after it."""
        return self._poison[bisect_left(self._poison, start) : bisect_left(self._poison, stop)]


def poison_value(value: bytes, number: int) -> bytes | None:
    """Bytes that no decoder of the schema takes, made of a good value: the kinds take turns with `number`."""
    kinds: tuple[bytes | None, ...] = (
        value[:-3],
        value + b"\x00",
        b"\xff" * 20,
        b"\x06\xff\xfe\xfd" + value,
        b"",
        None,
    )
    return kinds[number % len(kinds)]


def expected_records(settings: Settings, length: int | None) -> int:
    """How many records the run is going to have, as far as can be known before."""
    rate = settings.rate
    bounds = [bound for bound in (length, settings.limit) if bound is not None]
    if settings.duration is not None and rate is not None:
        bounds.append(int(settings.duration * rate))
    return min(bounds, default=int(OPEN_ENDED_SECONDS * (rate or 0)))
