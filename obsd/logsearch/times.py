"""Times in a query: RFC 3339 with as much of it as one cares to write, Unix seconds, `-1h`."""

from __future__ import annotations

import re
from typing import Final

from obsd.model.rfc3339 import parse_rfc3339_ns

_UNITS_NS: Final = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_AGO: Final = re.compile(r"(?:now)?-((?:\d+(?:ms|[smhdw]))+)", re.ASCII)
_PART: Final = re.compile(r"(\d+)(ms|[smhdw])", re.ASCII)
_NS: Final = 1_000_000_000
_LATEST_S: Final = 9_000_000_000  # Nanoseconds of later times overflow 64 bits.


def parse_time_ns(value: float | str, now_ns: int) -> int:
    """Nanoseconds since 1970; a time without a zone is UTC.

    Raises:
        ValueError: it is no time.
    """
    if not isinstance(value, str):
        if abs(value) > _LATEST_S:
            raise ValueError("it is out of range; numbers are seconds since 1970")
        return value * _NS if isinstance(value, int) else round(value * _NS)
    if value == "now":
        return now_ns
    if ago := _AGO.fullmatch(value):
        return now_ns - sum(int(n) * _UNITS_NS[unit] for n, unit in _PART.findall(ago[1]))
    try:
        return parse_rfc3339_ns(value)
    except ValueError:
        raise ValueError(
            "expected a time: RFC 3339 such as 2026-01-31T12:00:00Z, a date, seconds since 1970,"
            " or -1h"
        ) from None
