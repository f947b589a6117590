"""Which records have a dead letter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class DeadLetters:
    """Which records have a dead letter: sorted offsets by partition, 8 bytes each."""

    def __init__(self, offsets: dict[int, NDArray[np.int64]]) -> None:
        self._offsets = {partition: np.unique(listed) for partition, listed in offsets.items()}

    def contain(self, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether record (partitions[i], offsets[i]) has one."""
        result = np.zeros(len(offsets), np.bool_)
        for partition, known in self._offsets.items():
            chosen = partitions == partition
            at = np.searchsorted(known, offsets[chosen])
            result[chosen] = known[np.minimum(at, len(known) - 1)] == offsets[chosen] if len(known) else False
        return result
