"""Event times as text: `YYYY-MM-DDTHH:MM:SS[.1-9 digits](Z|+hh:mm|-hh:mm)`, nothing else."""

from __future__ import annotations

import calendar
import re
from datetime import date

_PATTERN = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = date(1970, 1, 1).toordinal()
_DAYS_OF_YEAR_0 = 366


def parse_rfc3339(text: str) -> int:
    """Milliseconds since 1970 UTC; digits after the third of the fraction are cut off. Raises ValueError."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 date and time")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("not a time of day")
    millis = int(((match[7] or "") + "000")[:3])
    minutes = _days(year, month, day) * 1440 + hour * 60 + minute - _offset(match)
    return (minutes * 60 + second) * 1000 + millis


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01. `date` begins with the year 1: the year 0, a leap year, is counted by hand."""
    if year > 0:
        return date(year, month, day).toordinal() - _EPOCH
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(4, month)[1]:
        raise ValueError("not a date")
    return date(4, month, day).toordinal() - date(4, 1, 1).toordinal() + 1 - _DAYS_OF_YEAR_0 - _EPOCH


def _offset(match: re.Match[str]) -> int:
    """Minutes east of UTC."""
    if match[8] is None:
        return 0
    hours, minutes = int(match[9]), int(match[10])
    if hours > 23 or minutes > 59:
        raise ValueError("not an offset from UTC")
    return (hours * 60 + minutes) * (-1 if match[8] == "-" else 1)
