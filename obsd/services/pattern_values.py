"""What stands in a hole of a pattern: of which type it is, and a summary of its values.

A type is a shape: it is told from the text alone. A hole has a type when 19 of 20 of its values
have; numbers among quantities of a unit do not count against it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

TOP_VALUES: Final = 10
MAX_ENUM: Final = 20
"""Values that a hole of words has at most when it is an enumeration."""

_SHARE: Final = 0.95
_QUANTILES: Final = (0.5, 0.9, 0.99)
_NUMBER: Final = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_HEX: Final = "[0-9a-fA-F]"
_OCTET: Final = r"\d{1,3}"

_SHAPES: Final = tuple(
    (name, re.compile(shape, re.ASCII))
    for name, shape in (
        ("number", rf"{_NUMBER}%?"),
        ("uuid", f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"),
        ("ip", rf"/?{_OCTET}(?:\.{_OCTET}){{3}}(?::\d{{1,5}}|/\d{{1,2}})?"),
        ("mac", f"{_HEX}{{2}}(?::{_HEX}{{2}}){{5}}"),
        ("ip", f"(?=.*::|(?:.*:){{7}}){_HEX}{{0,4}}(?::{_HEX}{{0,4}}){{2,7}}(?:%[a-z0-9]+)?"),
        ("duration", rf"<?{_NUMBER}\s*(?:ns|us|µs|ms|s|m|h|d|msecs?|usecs?|secs?|mins?|"
                     r"(?:milli|micro)?seconds?|millis|minutes?|hours?|days?)"),
        ("size", rf"{_NUMBER}\s*(?:[kKMGTP]i?B|B|bytes)"),
        ("timestamp", r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?"
                      r"(?:Z|[+-]\d\d:?\d\d)?)?|\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?|"
                      r"\d{1,4}/\d\d?/\d{1,4}"),
        ("hex", f"0[xX]{_HEX}+|(?=.*[0-9]){_HEX}{{6,}}"),
        ("url", r"[A-Za-z][A-Za-z0-9+.-]*://\S+"),
        ("path", r"(?:~|\.{1,2})?/\S*|[A-Za-z]:\\.*|\\\\.*"),
        ("email", r"[^\s@]+@[^\s@]+\.[^\s@]+"),
        ("host", r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+(?::\d{1,5})?"),
        ("word", r"[A-Za-z]+"),
        ("id", r"\S*\d\S*"),
    )
)  # fmt: skip

_SECONDS: Final[Mapping[str, float]] = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "usec": 1e-6, "usecs": 1e-6, "microsecond": 1e-6,
    "microseconds": 1e-6, "ms": 1e-3, "msec": 1e-3, "msecs": 1e-3, "millis": 1e-3,
    "millisecond": 1e-3, "milliseconds": 1e-3, "s": 1, "sec": 1, "secs": 1, "second": 1,
    "seconds": 1, "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60, "h": 3600,
    "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
_BYTES: Final[Mapping[str, float]] = {
    "B": 1, "bytes": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "PB": 1000**5, "KiB": 1 << 10, "kiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
    "TiB": 1 << 40, "PiB": 1 << 50,
}  # fmt: skip
_UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "number": {"": 1, "%": 1},
    "duration": _SECONDS,
    "size": _BYTES,
}
_QUANTITY: Final = re.compile(rf"<?({_NUMBER})\s*(\S*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberSummary:
    """Numbers, durations in seconds or sizes in bytes."""

    min: float
    max: float
    mean: float
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class HoleSummary:
    """One hole of a template.

    Attributes:
        name: the word before it, or "".
        type: number, duration, size, ip, mac, uuid, hex, url, path, email, host, timestamp, enum,
            word, id or text.
        unique: how many different values the examined records have.
        top: the most frequent values with their counts.
        numbers: of numbers, durations and sizes.
    """

    name: str
    type: str
    unique: int
    top: Sequence[tuple[str, int]]
    numbers: NumberSummary | None


def type_of(value: str) -> str:
    """The type of one value."""
    for name, shape in _SHAPES:
        if shape.fullmatch(value):
            return name
    return "text"


def hole_names(template: str) -> list[str]:
    """For each hole the word right before it: of `port <_>` and of `port=<_>` it is `port`."""
    parts = template.split("<_>")
    found = (re.search(r"(\w+)[\s:=]+[\"'(\[{]?$", part) for part in parts[:-1])
    return [word[1] if word else "" for word in found]


def summarize(name: str, values: Sequence[str]) -> HoleSummary:
    """A summary of what stands in a hole."""
    counts = Counter(values)
    kind = _type_of_all(counts)
    if kind in ("word", "id", "text") and 1 < len(counts) <= MAX_ENUM <= len(values) // 2:
        kind = "enum"
    numbers = _numbers(kind, values)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP_VALUES]
    return HoleSummary(name, kind, len(counts), top, numbers)


def _type_of_all(counts: Counter[str]) -> str:
    kinds: Counter[str] = Counter()
    for value, count in counts.items():
        kinds[type_of(value)] += count
    total = kinds.total()
    for kind in ("duration", "size", "hex"):
        # 250 is a number, and among 0x3f one more; of a place some hex digits are only digits.
        if kinds[kind] > 0 and kinds[kind] + kinds["number"] >= _SHARE * total:
            return kind
    kind, count = kinds.most_common(1)[0] if kinds else ("text", 0)
    return kind if count >= _SHARE * total else "text"


def _numbers(kind: str, values: Sequence[str]) -> NumberSummary | None:
    units = _UNITS.get(kind)
    if units is None:
        return None
    found = []
    for value in values:
        quantity = _QUANTITY.fullmatch(value)
        if quantity and (quantity[2] in units or not quantity[2]):
            found.append(float(quantity[1]) * units.get(quantity[2], 1))
    array = np.array([number for number in found if np.isfinite(number)])
    if not array.size:
        return None
    p50, p90, p99 = (float(q) for q in np.quantile(array, _QUANTILES))
    return NumberSummary(float(array.min()), float(array.max()), float(array.mean()), p50, p90, p99)
