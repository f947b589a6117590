"""JSON records to columns: an object (RFC 8259, UTF-8, no byte-order mark, at most 64 levels) each.

Of a name that occurs twice the last value counts. Only the fields of the pipeline are looked at; the rest
must be well-formed. The twin of `JsonReader.java`: what one takes, the other takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streampipeline.record_fields import FieldNames, Fields
from streampipeline.rfc3339 import parse_rfc3339

MAX_DEPTH = 64
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Integer(str):
    """The text of a JSON number without fraction and exponent."""

    __slots__ = ()


class Real(str):
    """The text of a JSON number with fraction or exponent."""

    __slots__ = ()


def _refuse_literal(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=Integer, parse_float=Real, parse_constant=_refuse_literal)


def _check_strings(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Half of a surrogate pair, written as an escape, is no character and has no UTF-8."""
    for name, value in pairs:
        name.encode()
        _check_string(value)
    return dict(pairs)


def _check_string(value: Any) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for item in value:
            _check_string(item)


_CHECKING_DECODER = json.JSONDecoder(
    parse_int=Integer,
    parse_float=Real,
    parse_constant=_refuse_literal,
    object_pairs_hook=_check_strings,
)


def parse_object(value: bytes) -> dict[str, Any]:
    """The object; numbers are `Integer` or `Real`. Raises ValueError, RecursionError (it nests too deep)."""
    text = value.decode()
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(text)
    decoded = (_CHECKING_DECODER if "\\u" in text else _DECODER).decode(text)
    if not isinstance(decoded, dict):
        raise ValueError("not an object")
    return decoded


def _check_depth(text: str) -> None:
    depth = 0
    for c in _STRING.sub("", text):
        if c in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deep")
        elif c in "}]":
            depth -= 1


class JsonRecords:
    """Reads batches of JSON values."""

    def __init__(self, names: FieldNames) -> None:
        self._names = names

    def read(self, values: Iterable[bytes | None], fields: Fields) -> npt.NDArray[np.int64]:
        """Read value i into place i of `fields`. Returns the places whose bytes are a value, ascending."""
        good: list[int] = []
        keys: list[str | None] = []
        for row, value in enumerate(values):
            if value is None:
                continue
            try:
                keys.append(self._read_one(row, value, fields))
            except (ValueError, RecursionError, KeyError):
                continue
            good.append(row)
        rows = np.array(good, np.int64)
        fields.set_key(rows, pa.array(keys, pa.large_string()))
        return rows

    def _read_one(self, row: int, value: bytes, fields: Fields) -> str | None:
        """Returns the key. Raises ValueError, RecursionError, KeyError (a field is missing)."""
        decoded = parse_object(value)
        key = _key(decoded[self._names.key])
        time = _time(decoded[self._names.time])
        if time is not None:
            fields.time[row] = time
            fields.has_time[row] = True
        for name in self._names.numbers:
            number = decoded[name]
            if isinstance(number, Integer | Real):
                fields.numbers[name][row] = float(number)
                fields.has_number[name][row] = True
            elif number is not None:
                raise ValueError("not a number")
        return key


def _key(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, Integer):
        number = _int64(value)
        if number is None:
            raise ValueError("an integer that no long holds")
        return str(number)
    if isinstance(value, str) and not isinstance(value, Real):
        return value
    raise ValueError("not a key")


def _time(value: Any) -> int | None:
    """Event time in ms; -1, which is out of range, for an integer that no int64 holds."""
    if value is None:
        return None
    if isinstance(value, Integer):
        number = _int64(value)
        return -1 if number is None else number
    if isinstance(value, str) and not isinstance(value, Real):
        return parse_rfc3339(value)
    raise ValueError("not a time")


def _int64(text: Integer) -> int | None:
    # JSON has no leading zeros: 20 characters hold every int64, and int() is slow, or refuses, far above.
    if len(text) > 20:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
