"""Strict reading of many Avro values at once: each step is taken for all values of a batch with NumPy.

Nothing is trusted: no length, no index, no text; a value must end where its bytes end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streampipeline_audit.avro_schema import Node, width

Rows = NDArray[np.int64]
"""Indices of the values of a batch that a step is taken for."""

_MAX_DEPTH = 64
"""Records, arrays and maps inside one another; a schema that holds itself could nest without end."""


class AvroBatch:
    """A batch of n values. `bad[i]` is set, for ever, when value i turns out not to be of the schema.

    Each reading method takes rows that are not bad, moves them on, and returns those still not bad.
    """

    def __init__(self, values: list[bytes], skip: int = 0) -> None:
        """Values of at least `skip` bytes each, of which the first `skip` are left out (shorter: bad)."""
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        self.end: Rows = np.cumsum(lengths)
        self.position: Rows = self.end - lengths + skip
        # One byte more than there are, so that looking one too far is harmless.
        self.data = np.frombuffer(b"".join(values) + b"\0", np.uint8)
        self.bad = lengths < skip
        self._high: Rows | None = None

    def good(self) -> Rows:
        """Rows that are not bad."""
        return np.flatnonzero(~self.bad)

    def expect_end(self, rows: Rows) -> None:
        """Mark rows that have bytes left over."""
        self._keep(rows, self.position[rows] == self.end[rows])

    def _keep(self, rows: Rows, fine: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the rows that are not fine. Returns `fine`."""
        if not fine.all():
            self.bad[rows[~fine]] = True
        return fine

    def _varint(self, rows: Rows, max_bytes: int) -> tuple[Rows, NDArray[np.uint64]]:
        position, end = self.position[rows], self.end[rows]
        value = np.zeros(len(rows), np.uint64)
        fine = np.ones(len(rows), np.bool_)
        going: Rows = np.arange(len(rows))
        for index in range(max_bytes):
            here = position[going]
            inside = here < end[going]
            byte = self.data[np.where(inside, here, 0)]
            more = byte >= 0x80
            # The tenth byte has room for one bit of 64; no byte may follow the last.
            wrong = ~inside
            if index == max_bytes - 1:
                wrong |= more
            if index == 9:
                wrong |= byte > 1
            fine[going[wrong]] = False
            value[going] |= (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * index)
            position[going] += 1
            going = going[more & ~wrong]
            if not going.size:
                break
        self.position[rows] = position
        self._keep(rows, fine)
        return rows[fine], value[fine]

    def read_long(self, rows: Rows) -> tuple[Rows, Rows]:
        """Zigzag varints of at most 10 bytes and 64 bits."""
        rows, raw = self._varint(rows, 10)
        return rows, (raw >> np.uint64(1)).astype(np.int64) ^ -(raw & np.uint64(1)).astype(np.int64)

    def read_int(self, rows: Rows) -> tuple[Rows, Rows]:
        """Zigzag varints of at most 5 bytes and 32 bits, as int64."""
        rows, raw = self._varint(rows, 5)
        fine = self._keep(rows, raw < np.uint64(2**32))
        rows, raw = rows[fine], raw[fine]
        return rows, (raw >> np.uint64(1)).astype(np.int64) ^ -(raw & np.uint64(1)).astype(np.int64)

    def read_index(self, rows: Rows, count: int) -> tuple[Rows, Rows]:
        """The index of a union's branch or of an enum's symbol, below `count`."""
        rows, value = self.read_int(rows)
        fine = self._keep(rows, (value >= 0) & (value < count))
        return rows[fine], value[fine]

    def read_fixed(self, rows: Rows, size: int | Rows) -> tuple[Rows, Rows]:
        """Pass over `size` bytes. Returns the rows and where the bytes begin."""
        begin = self.position[rows]
        fine = self._keep(rows, size <= self.end[rows] - begin)
        self.position[rows] = np.where(fine, begin + size, begin)
        return rows[fine], begin[fine]

    def read_double(self, rows: Rows) -> tuple[Rows, NDArray[np.float64]]:
        """Rows and numbers."""
        rows, begin = self.read_fixed(rows, 8)
        return rows, self.data[begin[:, None] + np.arange(8)].view("<f8")[:, 0].astype(np.float64)

    def read_float(self, rows: Rows) -> tuple[Rows, NDArray[np.float64]]:
        """Rows and numbers, widened."""
        rows, begin = self.read_fixed(rows, 4)
        narrow = self.data[begin[:, None] + np.arange(4)].view("<f4")[:, 0]
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            return rows, narrow.astype(np.float64)

    def read_bytes(self, rows: Rows) -> tuple[Rows, Rows, Rows]:
        """Returns rows, where the content begins, its length."""
        rows, length = self.read_long(rows)
        fine = self._keep(rows, length >= 0)
        rows, length = rows[fine], length[fine]
        kept, begin = self.read_fixed(rows, length)
        return kept, begin, self.position[kept] - begin

    def read_string(self, rows: Rows) -> tuple[Rows, Rows, Rows]:
        """Like `read_bytes`, the content being UTF-8."""
        rows, begin, length = self.read_bytes(rows)
        if self._high is None:
            self._high = np.concatenate(([0], np.cumsum(self.data >= 0x80)))
        fine = np.ones(len(rows), np.bool_)
        for i in np.flatnonzero(self._high[begin + length] != self._high[begin]):
            fine[i] = _is_utf8(self.data[begin[i] : begin[i] + length[i]].tobytes())
        self._keep(rows, fine)
        return rows[fine], begin[fine], length[fine]

    def skip(self, node: Node, rows: Rows, depth: int = 0) -> Rows:
        """Pass over a value of any type, checking all of it. `depth`: how many values it is inside of."""
        if not rows.size:
            return rows
        constant = width(node)
        if constant is not None:
            return self.read_fixed(rows, constant)[0]
        match node.kind:
            case "int" | "enum":
                return self.read_index(rows, len(node.symbols))[0] if node.symbols else self.read_int(rows)[0]
            case "long":
                return self.read_long(rows)[0]
            case "bytes":
                return self.read_bytes(rows)[0]
            case "string":
                return self.read_string(rows)[0]
            case "boolean":
                rows, begin = self.read_fixed(rows, 1)
                return rows[self._keep(rows, self.data[begin] <= 1)]
            case "union":
                for branch, branch_rows in self.branches(node, rows):
                    self.skip(branch, branch_rows, depth)
                return rows[~self.bad[rows]]
            case _:
                return self._skip_nested(node, rows, depth + 1)

    def _skip_nested(self, node: Node, rows: Rows, depth: int) -> Rows:
        if depth > _MAX_DEPTH:
            self.bad[rows] = True
            return rows[:0]
        if node.kind != "record":
            return self._skip_blocks(node, rows, depth)
        for _, part in node.fields:
            rows = self.skip(part, rows, depth)
        return rows

    def branches(self, node: Node, rows: Rows) -> list[tuple[Node, Rows]]:
        """Each branch of a union with the rows that hold a value of it."""
        rows, chosen = self.read_index(rows, len(node.branches))
        return [(branch, rows[chosen == i]) for i, branch in enumerate(node.branches)]

    def _skip_blocks(self, node: Node, rows: Rows, depth: int) -> Rows:
        """An array or a map: blocks of items, ended by a block of none."""
        going = rows
        while going.size:
            going, count = self.read_long(going)
            going, count = going[count != 0], count[count != 0]
            fine = self._keep(going, count != np.iinfo(np.int64).min)
            going, count = going[fine], count[fine]
            # A negative count is followed by the size of the block in bytes, which must be true.
            sized = going[count < 0]
            sized, size = self.read_long(sized)
            block_end = np.full(len(self.bad), -1, np.int64)
            block_end[sized] = self.position[sized] + size
            self._keep(sized, (size >= 0) & (size <= self.end[sized] - self.position[sized]))
            fine = ~self.bad[going]
            going, count = going[fine], np.abs(count[fine])
            going = self._skip_items(node, going, count, depth)
            told = block_end[going]
            going = going[self._keep(going, (told == -1) | (told == self.position[going]))]
        return rows[~self.bad[rows]]

    def _skip_items(self, node: Node, rows: Rows, count: Rows, depth: int) -> Rows:
        assert node.item is not None
        constant = width(node.item) if node.kind == "array" else None
        if constant is not None:
            # A count of which the product would overflow is more than there can be bytes.
            fine = self._keep(rows, (constant == 0) | (count <= self.end[rows] - self.position[rows]))
            return self.read_fixed(rows[fine], count[fine] * constant)[0]
        left = np.zeros(len(self.bad), np.int64)
        left[rows] = count
        going = rows
        while going.size:
            if node.kind == "map":
                going = self.read_string(going)[0]
            going = self.skip(node.item, going, depth)
            left[going] -= 1
            going = going[left[going] > 0]
        return rows[~self.bad[rows]]


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
