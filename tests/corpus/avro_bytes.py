"""Avro's binary encoding by hand, for records that no library would write."""

from __future__ import annotations

import json
import struct
from typing import Any


def raw_varint(value: int, length: int = 0) -> bytes:
    """An unsigned varint, made longer than needed to reach `length` bytes."""
    out = bytearray()
    while value >= 0x80 or len(out) + 1 < length:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(value: int, length: int = 0) -> bytes:
    """An int or a long."""
    return raw_varint((value << 1) ^ (value >> 63), length)


def data(value: bytes) -> bytes:
    """Bytes, or a string's UTF-8."""
    return integer(len(value)) + value


def text(value: str) -> bytes:
    return data(value.encode())


def double(value: float) -> bytes:
    return struct.pack("<d", value)


def double_bits(bits: int) -> bytes:
    return struct.pack("<Q", bits)


def floating(value: float) -> bytes:
    return struct.pack("<f", value)


def record_schema(*fields: tuple[str, Any], name: str = "Reading") -> str:
    """A schema as JSON: fields are (name, type)."""
    return json.dumps({"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]})
