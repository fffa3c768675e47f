"""Times in syslog messages: RFC 3339's, and those of RFC 3164, which lack year and zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
AHEAD_S: Final = 7 * 86_400
"""A date without a year that is further ahead than this is one of the past."""

_NS: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _NS
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


def rfc3339_ns(text: str, zone: tzinfo | None) -> int | None:
    """Nanoseconds since 1970, or None where it is no time; `zone` is for one that says none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, time, fraction, offset = match.groups()
    seconds = _rfc3339_s(date, time, offset or "", zone)
    return None if seconds is None else seconds * _NS + fraction_ns(fraction)


def bsd_ns(
    month: str,
    day: str,
    year: str | None,
    time: str,
    fraction: str | None,
    zone: tzinfo | None,
    now_ns: int,
) -> int | None:
    """The same for `Oct 11`, perhaps a year, and `22:14:15`; `zone` None is the machine's."""
    # The year that is meant depends on now, by days: within an hour the answer stays.
    hour_s = now_ns // _HOUR_NS * 3600
    seconds = _bsd_s(month, int(day), int(year) if year else 0, time, zone, hour_s)
    return None if seconds is None else seconds * _NS + fraction_ns(fraction)


def fraction_ns(digits: str | None) -> int:
    """Up to nine digits after a second's point."""
    return int(digits.ljust(9, "0")) if digits else 0


@lru_cache(maxsize=4096)
def _rfc3339_s(date: str, time: str, offset: str, zone: tzinfo | None) -> int | None:
    try:
        moment = datetime.fromisoformat(f"{date}T{_without_leap(time)}{offset.upper()}")
        return _since_epoch(moment if offset else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=4096)
def _bsd_s(
    month: str, day: int, year: int, time: str, zone: tzinfo | None, now_s: int
) -> int | None:
    hour, minute, second = _without_leap(time).split(":")
    this_year = datetime.fromtimestamp(now_s, UTC).year
    # The latest that is not too far ahead; eight years back there is a 29th of February.
    for guess in (year,) if year else range(this_year + 1, this_year - 9, -1):
        try:
            moment = datetime(
                guess, MONTHS.index(month) + 1, day, int(hour), int(minute), int(second),
                tzinfo=zone,
            )  # fmt: skip
            seconds = _since_epoch(moment)
        except (ValueError, OverflowError, OSError):
            continue
        if year or (seconds is not None and seconds <= now_s + AHEAD_S):
            return seconds
    return None


def _since_epoch(moment: datetime) -> int | None:
    """Without a zone it is the machine's; None before 1970, whence no log is."""
    seconds = int(moment.timestamp())
    return seconds if seconds >= 0 else None


def _without_leap(time: str) -> str:
    return f"{time[:6]}59" if time[6:] == "60" else time
