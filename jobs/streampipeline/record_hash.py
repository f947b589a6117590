"""43 bits that stand for a record; their sum over a window does not depend on the records' order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_PARTITION = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def record_hash(partition: npt.NDArray[np.integer], offset: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Hashes of the records at these partitions and offsets, each at least 0 and below 2^43."""
    z = partition.astype(np.int64).view(np.uint64) * _PARTITION + offset.astype(np.int64).view(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(21)).view(np.int64)
