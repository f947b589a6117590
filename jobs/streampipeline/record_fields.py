"""What a reader takes from a batch of records, and the names of the fields it takes it from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streampipeline.avro_schema import Role


@dataclass(frozen=True)
class FieldNames:
    """The fields that a pipeline reads; a field may be more than one of them."""

    key: str
    time: str
    numbers: tuple[str, ...]

    def all(self) -> frozenset[str]:
        """Every field, once."""
        return frozenset((self.key, self.time, *self.numbers))

    def role(self, name: str) -> Role:
        """What the field is read for."""
        return Role(name == self.key, name == self.time, name in self.numbers)


class Fields:
    """Columns for a batch of `count` records, empty at first: what a reader does not set is null."""

    def __init__(self, count: int, names: FieldNames) -> None:
        self.count = count
        self.time: npt.NDArray[np.int64] = np.zeros(count, np.int64)
        self.has_time: npt.NDArray[np.bool_] = np.zeros(count, bool)
        self.numbers: dict[str, npt.NDArray[np.float64]] = {n: np.zeros(count) for n in names.numbers}
        self.has_number: dict[str, npt.NDArray[np.bool_]] = {n: np.zeros(count, bool) for n in names.numbers}
        self.key: pa.LargeStringArray = pa.nulls(count, pa.large_string())

    def set_key(self, rows: npt.NDArray[np.int64], text: Any) -> None:
        """The keys of these rows, all that there are: a large_string array as long as `rows`."""
        if len(rows) == self.count:
            self.key = text
            return
        place = np.full(self.count, -1, np.int64)
        place[rows] = np.arange(len(rows))
        self.key = text.take(pa.array(place, mask=place < 0))

    def set_number(self, name: str, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> None:
        """The values of these rows in one of the fields that aggregates read."""
        self.numbers[name][rows] = values
        self.has_number[name][rows] = True
