"""Times as people give them: RFC 3339, Unix seconds, `now`, or relative to now (`-1h`)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from obsd.config.units import parse_duration_s

_UNIX = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_RELATIVE = re.compile(r"(?:now)? *([+-]) *(\S+)", re.ASCII)
_LATEST_S = 253_402_300_799  # The last second of year 9999, where RFC 3339 ends.


def parse_time_s(text: str, now_s: float) -> float:
    """Unix seconds.

    Raises:
        ValueError: it is no time.
    """
    stripped = text.strip()
    if stripped.lower() == "now":
        return now_s
    if _UNIX.fullmatch(stripped):
        seconds = float(stripped)
        if seconds <= _LATEST_S:
            return seconds
    elif relative := _RELATIVE.fullmatch(stripped.lower()):
        delta_s = parse_duration_s(relative[2])
        return now_s - delta_s if relative[1] == "-" else now_s + delta_s
    else:
        return _parse_rfc3339(stripped, text)
    raise ValueError(f"{text!r} is after the year 9999; times are in seconds")


def _parse_rfc3339(stripped: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(stripped)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: expected RFC 3339 (2026-01-31T12:00:00Z), Unix seconds,"
            " 'now', or a time relative to now such as -1h"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def format_time(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are some."""
    total_ms = math.floor(seconds * 1000 + 0.5)
    whole, milliseconds = divmod(total_ms, 1000)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"
