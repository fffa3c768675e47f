"""Durations as queries have them: those of Prometheus, `1d12h`, and those of Go, `1.5s`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3_600 * 1_000_000_000,
    "d": 86_400 * 1_000_000_000,
    "w": 7 * 86_400 * 1_000_000_000,
    "y": 365 * 86_400 * 1_000_000_000,
}
_PROMETHEUS: Final = re.compile(
    r"(?:(\d+)(y))?(?:(\d+)(w))?(?:(\d+)(d))?(?:(\d+)(h))?(?:(\d+)(m))?(?:(\d+)(s))?(?:(\d+)(ms))?",
    re.ASCII,
)
_GO: Final = re.compile(r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_GO_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
MAX_NS: Final = (1 << 63) - 1  # 292 years.
_MAX_LENGTH: Final = 100


def parse_duration(text: str) -> int | None:
    """Nanoseconds; None for what is no duration, or is too long to be one."""
    if len(text) > _MAX_LENGTH:
        return None
    total = _prometheus(text)
    if total is None:
        total = _go(text)
    return None if total is None or total > MAX_NS else total


def _prometheus(text: str) -> int | None:
    found = _PROMETHEUS.fullmatch(text)
    if found is None or not text:
        return None
    groups = iter(found.groups())
    return sum(int(count) * _NS[unit] for count, unit in zip(groups, groups, strict=True) if count)


def _go(text: str) -> int | None:
    if _GO.fullmatch(text) is None:
        return None
    return sum(int(Decimal(count) * _NS[unit]) for count, unit in _GO_PART.findall(text))


def format_duration(duration_ns: int) -> str:
    """As Go prints it: `1h0m5s`, `1.5s`, `2µs`."""
    if duration_ns == 0:
        return "0s"
    sign, rest = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    for unit in ("ns", "µs", "ms"):
        if rest < 1000 * _NS[unit]:
            return f"{sign}{_decimal(rest, _NS[unit])}{unit}"
    hours, rest = divmod(rest, _NS["h"])
    minutes, rest = divmod(rest, _NS["m"])
    seconds = f"{_decimal(rest, _NS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(amount: int, scale: int) -> str:
    whole, fraction = divmod(amount, scale)
    if not fraction:
        return str(whole)
    digits = str(fraction).rjust(len(str(scale)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"
