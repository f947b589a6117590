"""The hash of a record: it depends on where the record stands, not on what it holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def record_hashes(partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Hashes of the records at (partitions[i], offsets[i]), each in [0, 2^43). Unsigned overflow is meant."""
    z = partitions.astype(np.uint64) * _STRIDE + offsets.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(21)).astype(np.int64)


def wrap_int64(value: int) -> int:
    """A sum as an int64 that overflows silently holds it: what the sinks store."""
    return (value + 2**63) % 2**64 - 2**63
