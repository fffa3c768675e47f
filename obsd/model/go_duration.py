"""Durations as Go writes and reads them: `1.5s`, `100ms`, `5µs`, `1h2m3.5s`.

Source: https://pkg.go.dev/time#ParseDuration
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MAX_NS: Final = (1 << 63) - 1

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART: Final = re.compile(r"(\d{1,19}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_WHOLE: Final = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)", re.ASCII)
_MAX_LENGTH: Final = 200


def parse_go_duration_ns(text: str) -> int:
    """Nanoseconds.

    Raises:
        ValueError: it is no duration, or does not fit 63 bits.
    """
    match = _WHOLE.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise ValueError(f"invalid duration {text[:100]!r}: expected such as 1.5s, 100ms or 5us")
    total = sum(
        (Decimal(number) * _UNITS_NS[unit] for number, unit in _PART.findall(match[2])), Decimal(0)
    )
    if total > MAX_NS:
        raise ValueError(f"invalid duration {text[:100]!r}: it is out of range")
    return -int(total) if match[1] == "-" else int(total)


def format_go_duration(duration_ns: int) -> str:
    """The shortest of `h`, `m`, `s`, `ms`, `µs` and `ns` with at most two digits behind the dot."""
    sign, rest = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    if rest >= _UNITS_NS["m"]:
        hours, rest = divmod(rest, _UNITS_NS["h"])
        minutes, rest = divmod(rest, _UNITS_NS["m"])
        seconds = rest // _UNITS_NS["s"]
        return f"{sign}{f'{hours}h' if hours else ''}{minutes}m{seconds}s"
    for unit in ("s", "ms", "µs"):
        if rest >= _UNITS_NS[unit]:
            number = f"{rest / _UNITS_NS[unit]:.2f}".rstrip("0").rstrip(".")
            return f"{sign}{number}{unit}"
    return f"{sign}{rest}ns"
