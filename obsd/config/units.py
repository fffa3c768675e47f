"""Durations and sizes as people write them: "1h30m", "30d", "64MiB"."""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
    "y": 31_536_000.0,
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])", re.ASCII)

_BYTES: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    **{f"{p}b": 1000 ** (i + 1) for i, p in enumerate("kmgt")},
    **{f"{p}ib": 1024 ** (i + 1) for i, p in enumerate("kmgt")},
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]{0,3})", re.ASCII)

FOREVER: Final = "forever"
_LONGEST_S: Final = 1000 * _SECONDS["y"]  # What ends beyond year 2970 should be "forever".


def parse_duration_s(text: str) -> float:
    """Seconds in a duration: a number with a unit (ms, s, m, h, d, w, y), once or more often.

    Raises:
        ValueError: it is no duration, or longer than 1000 years.
    """
    stripped = text.strip()
    if not _DURATION.fullmatch(stripped):
        raise ValueError(f"{text!r} is not a duration such as '15s', '1h30m' or '30d'")
    seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(stripped))
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than 1000 years")
    return round(seconds, 3)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration_s` reads as this, to the millisecond."""
    rest_ms = round(seconds * 1000)
    if rest_ms == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        unit_ms = round(_SECONDS[unit] * 1000)
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_size_bytes(text: str) -> int:
    """Bytes in a size: a number, plain or with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB.

    Raises:
        ValueError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{text!r} is not a size such as '64MiB', '1.5GB' or '4096'")
    return round(float(match[1]) * _BYTES[match[2]])


def format_size(size_bytes: int) -> str:
    """The shortest exact text in binary units, or plain bytes."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _BYTES[unit.lower()]
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)
