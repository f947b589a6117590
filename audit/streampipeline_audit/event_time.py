"""Event times written as text."""

from __future__ import annotations

import re
from datetime import date

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])"
    r"(?:\.([0-9]{1,9}))?(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def rfc3339_ms(text: str) -> int | None:
    """Milliseconds since 1970 UTC of an RFC 3339 time, the rest cut off; None when it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        # Year 0 is a leap year like 2000, which lies 730,485 days after it.
        days = date(year or 2000, month, day).toordinal() - (0 if year else 730_485) - _EPOCH_DAY
    except ValueError:
        return None
    minutes = days * 1440 + hour * 60 + minute
    if sign:
        minutes -= (1 if sign == "+" else -1) * (int(offset_hours) * 60 + int(offset_minutes))
    return (minutes * 60 + second) * 1000 + int(((fraction or "") + "000")[:3])
