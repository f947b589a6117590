"""The wanted fields of JSON values. Of the rest only that it is JSON matters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streampipeline_audit.event_time import rfc3339_ms
from streampipeline_audit.fields import Fields, Wanted

_INT64 = 2**63
_MAX_DEPTH = 64
"""Objects and arrays inside one another."""
_MANY_DIGITS = 400
"""A whole number of more digits is larger than any float64."""
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class _Undecodable(Exception):
    """The value is not one to be read."""


class JsonFields:
    """Reads batches of values."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def read(self, values: list[bytes]) -> Fields:
        """The wanted fields of n values."""
        count = len(values)
        undecodable = np.zeros(count, np.bool_)
        keys: list[str] = [""] * count
        time: NDArray[np.int64] = np.full(count, -1, np.int64)
        numbers = {name: np.full(count, np.nan) for name in self._wanted.numbers}
        for row, content in enumerate(values):
            try:
                record = _object(content)
                keys[row] = _key(record[self._wanted.key])
                time[row] = _time(record[self._wanted.event_time])
                for name, column in numbers.items():
                    column[row] = _number(record[name])
            except (_Undecodable, KeyError, ValueError, RecursionError):
                undecodable[row] = True
        key_missing = np.fromiter((not key for key in keys), np.bool_, count)
        return Fields(undecodable, key_missing, time, numbers, _picker(keys))


def _picker(keys: list[str]) -> Callable[[NDArray[np.int64]], pl.Series]:
    return lambda rows: pl.Series([keys[row] for row in rows.tolist()], dtype=pl.String)


def _object(content: bytes) -> dict[str, Any]:
    text = content.decode("utf-8")
    value = json.loads(text, parse_constant=_refuse, parse_int=_whole)
    if not isinstance(value, dict):
        raise _Undecodable
    if text.count("[") + text.count("{") > _MAX_DEPTH and _depth(text) > _MAX_DEPTH:
        raise _Undecodable
    if "\\u" in text and _HALF.search(_PAIR.sub("", text.replace("\\\\", "  "))):
        raise _Undecodable
    return value


def _refuse(_: str) -> NoReturn:
    raise _Undecodable


def _whole(digits: str) -> int:
    huge: int = 10**_MANY_DIGITS
    if len(digits) <= _MANY_DIGITS:
        return int(digits)
    return -huge if digits.startswith("-") else huge


def _depth(text: str) -> int:
    """Of a text that is JSON."""
    deepest = depth = 0
    for character in _TEXT.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _key(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) and not (_is_whole(value) and -_INT64 <= value < _INT64):
        raise _Undecodable
    return str(value)


def _time(value: Any) -> int:
    """Milliseconds; -1 for null and for what no int64 holds, which is out of range as well."""
    if value is None:
        return -1
    if isinstance(value, str):
        time = rfc3339_ms(value)
        if time is None:
            raise _Undecodable
        return time
    if not _is_whole(value):
        raise _Undecodable
    return int(value) if -_INT64 <= value < _INT64 else -1


def _number(value: Any) -> float:
    if value is None:
        return np.nan
    if not isinstance(value, float) and not _is_whole(value):
        raise _Undecodable
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
