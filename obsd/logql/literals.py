"""Numbers, durations and sizes: those of queries and those in lines, by the rules of Go.

Go's rules matter in lines: what is no number there becomes an error that queries ask about.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from obsd.model.go_strings import quote

_CACHED: Final = 65_536
_MAX_NS: Final = (1 << 63) - 1
_MAX_UINT64: Final = 1 << 64

_NS: Final = {
    "y": 365 * 86_400_000_000_000,
    "w": 7 * 86_400_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ns": 1,
}
_GO_UNITS: Final = frozenset(_NS) - {"y", "w", "d"}
_GO_PART: Final = re.compile(r"(\d*)(?:\.(\d*))?([^\d.]*)", re.ASCII)
_PROMETHEUS: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?",
    re.ASCII,
)
_FLOAT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SPECIAL: Final = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE | re.ASCII)
_HEX_FLOAT: Final = re.compile(
    r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?\d+", re.ASCII
)
_SIZE: Final = re.compile(r"([\d.,]*)\s*(.*)", re.ASCII | re.DOTALL)
_SIZES: Final = {
    "": 1,
    "b": 1,
    **{
        f"{prefix}{binary}{byte}": (1024 if binary else 1000) ** (power + 1)
        for power, prefix in enumerate("kmgtpe")
        for binary in ("", "i")
        for byte in ("", "b")
    },
}


def parse_prometheus_duration_ns(text: str) -> int:
    """A sum of units from large to small, such as `1h30m`, or `0`.

    Raises:
        ValueError: why it is none.
    """
    if text == "0":
        return 0
    found = _PROMETHEUS.fullmatch(text)
    if not text:
        raise ValueError("empty duration string")
    if found is None:
        raise ValueError(f"not a valid duration string: {quote(text)}")
    units = ("y", "w", "d", "h", "m", "s", "ms")
    parts = zip(found.groups(), units, strict=True)
    total = sum(int(count) * _NS[unit] for count, unit in parts if count)
    if total > _MAX_NS:
        raise ValueError("duration out of range")
    return total


@lru_cache(maxsize=_CACHED)
def parse_go_duration_ns(text: str) -> int:
    """Numbers with units, such as `1h15m30.918273645s` or `-1.5h`.

    Raises:
        ValueError: why it is none, in Go's words.
    """
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return 0
    total, at = 0, 0
    while at < len(rest):
        found = _GO_PART.match(rest, at)
        assert found is not None, "every part of the pattern may be empty"
        whole, fraction, unit = found.groups()
        if not whole and not fraction:
            raise ValueError(f"time: invalid duration {quote(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _GO_UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        scale = _NS[unit]
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        if total > _MAX_NS:
            raise ValueError(f"time: invalid duration {quote(text)}")
        at = found.end()
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    return -total if text.startswith("-") else total


@lru_cache(maxsize=_CACHED)
def parse_go_float(text: str) -> float:
    """A number as Go's `strconv.ParseFloat` takes it.

    Raises:
        ValueError: why it is none, in Go's words.
    """
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: value out of range")
        return value
    if _SPECIAL.fullmatch(text):
        return float(text)
    if _HEX_FLOAT.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            raise ValueError(
                f"strconv.ParseFloat: parsing {quote(text)}: value out of range"
            ) from None
    raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")


@lru_cache(maxsize=_CACHED)
def parse_bytes(text: str) -> int:
    """A size such as `5.3MB`, `42 KiB` or `10`, of which a `k` is 1000 and a `Ki` 1024.

    Raises:
        ValueError: why it is none.
    """
    found = _SIZE.fullmatch(text)
    assert found is not None, "every part of the pattern may be empty"
    number = parse_go_float(found[1].replace(",", ""))
    scale = _SIZES.get(found[2].strip().lower())
    if scale is None:
        raise ValueError(f"unhandled size name: {found[2].strip().lower()}")
    size = number * scale
    if size >= _MAX_UINT64:
        raise ValueError(f"too large: {text}")
    return int(size)


def format_duration_ns(duration_ns: int) -> str:
    """The shortest sum of units that the parser takes for a duration literal, or a range."""
    if duration_ns == 0:
        return "0s"
    sign, rest = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    if rest % _NS["ms"] or sign:
        return sign + _go_duration(rest)
    parts = []
    for unit in ("y", "w", "d", "h", "m", "s", "ms"):
        if unit in {"y", "w"} and rest % _NS[unit] != 0:
            continue
        count, rest = divmod(rest, _NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_go_duration(duration_ns: int) -> str:
    """As Go prints a duration: `1h0m5s`, `1.5s`, `2µs`."""
    if duration_ns == 0:
        return "0s"
    sign, rest = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    for unit in ("ns", "µs", "ms"):
        if rest < 1000 * _NS[unit] and rest < _NS["s"]:
            return f"{sign}{_decimal(rest, _NS[unit])}{unit}"
    hours, rest = divmod(rest, _NS["h"])
    minutes, rest = divmod(rest, _NS["m"])
    seconds = f"{_decimal(rest, _NS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _go_duration(rest_ns: int) -> str:
    parts = []
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, rest_ns = divmod(rest_ns, _NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def _decimal(amount: int, scale: int) -> str:
    whole, fraction = divmod(amount, scale)
    if not fraction:
        return str(whole)
    digits = str(fraction).rjust(len(str(scale)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"


def format_bytes(size: int) -> str:
    """The largest decimal unit that divides a size, so that it reads back."""
    for unit, scale in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 1000)):
        if size and size % scale == 0:
            return f"{size // scale}{unit}"
    return f"{size}B"


def format_number(value: float) -> str:
    """All digits, without an exponent: the shortest text that reads back as the same number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
