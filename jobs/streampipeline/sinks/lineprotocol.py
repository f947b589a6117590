"""InfluxDB's line protocol, built column by column: Point objects are too slow for a catch-up.

In a tag value InfluxDB 2 reads a backslash as itself unless a comma, an equals sign or a space follows. All
three are escaped here, so that a key reads back as it was, with three exceptions: empty, containing a line
feed, ending in a backslash (it would escape what follows). `holdable` finds those; they must not be
written.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from streampipeline.points import KEY_COLUMN

TAGS = KEY_COLUMN + 1
"""The first two columns of a point, `pipeline` and the key, are its tags."""

NOT_FIELDS = frozenset({"window_start", "window_end", "epoch", "written_ns"})

RESERVED = frozenset({"time", "_measurement", "_field"})
"""Names that InfluxDB refuses as a tag or, worse, silently leaves out as a field."""

NOT_HOLDABLE = r"\n|\\\z|\A\z"


def holdable(points: pa.Table) -> pa.ChunkedArray[Any]:
    """Which points have a key that InfluxDB can hold as a tag value: bool, one for each point."""
    lost = pc.match_substring_regex(points.column(KEY_COLUMN), NOT_HOLDABLE)
    kept: pa.ChunkedArray[Any] = pc.call_function("invert", [lost])
    return kept


def check_names(measurement: str, columns: list[str]) -> None:
    """Raises ValueError when InfluxDB cannot hold a measurement or columns of these names."""
    for name in (measurement, *columns):
        if not name or "\n" in name or name.endswith("\\"):
            raise ValueError(f"InfluxDB cannot hold the name {name!r}")
    if measurement.startswith("#"):
        raise ValueError(f"InfluxDB would read the measurement {measurement!r} as a comment")
    reserved = RESERVED.intersection(columns)
    if reserved:
        raise ValueError(f"InfluxDB keeps the names {', '.join(sorted(reserved))} for itself")


def lines(points: pa.Table, measurement: str) -> list[str]:
    """One line for each point (`points.points_schema`), in their order; its time is the window's start in ms.

    Keys must be `holdable`, names must have passed `check_names`.
    """
    names = points.column_names
    tags = [(_escape_name(name), _escape_tag(points[name])) for name in names[:TAGS]]
    fields = [
        (_escape_name(name), _field_text(points[name])) for name in names[TAGS:] if name not in NOT_FIELDS
    ]
    pieces: list[pa.ChunkedArray[Any] | str] = []
    separator = _escape_measurement(measurement) + ","
    for name, text in sorted(tags, key=itemgetter(0)):
        pieces += [f"{separator}{name}=", text]
        separator = ","
    separator = " "
    for name, text in fields:
        pieces += [f"{separator}{name}=", text]
        separator = ","
    pieces += [" ", pc.cast(points["window_start"], pa.string())]
    return cast("list[str]", _join(*pieces).to_pylist())


def _join(*pieces: pa.ChunkedArray[Any] | str) -> pa.ChunkedArray[Any]:
    """Columns and constants, concatenated row by row."""
    arguments = [*map(_datum, pieces), pa.scalar("")]
    joined: pa.ChunkedArray[Any] = pc.call_function("binary_join_element_wise", arguments)
    return joined


def _datum(piece: pa.ChunkedArray[Any] | str) -> pa.ChunkedArray[Any] | pa.Scalar[Any]:
    return pa.scalar(piece) if isinstance(piece, str) else piece


def _escape_measurement(name: str) -> str:
    return name.replace(",", "\\,").replace(" ", "\\ ")


def _escape_name(name: str) -> str:
    return _escape_measurement(name).replace("=", "\\=")


def _escape_tag(values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    for special in (",", " ", "="):
        values = pc.replace_substring(values, special, "\\" + special)
    return values


def _field_text(values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """The values as InfluxDB reads them; a float by the shortest text that reads back as the same bits."""
    if pa.types.is_string(values.type):
        escaped = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
        return _join('"', escaped, '"')
    text = pc.cast(values, pa.string())
    return _join(text, "i") if pa.types.is_integer(values.type) else text
