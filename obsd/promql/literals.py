"""Numbers, durations and strings as PromQL writes them: text to value and back."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from obsd.model.go_strings import quote

_UNIT_MS: Final = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_MAX_DURATION_MS: Final = (1 << 63) // 1_000_000
_DURATION_PARTS: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?"
)
_LEGACY_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def parse_number(text: str) -> float:
    """A decimal, hexadecimal, octal (leading 0), or exponent form, with `_` between digits.

    Raises:
        ValueError: the text is no number.
    """
    lowered = text.lower()
    if lowered in {"inf", "nan"}:
        return float(lowered)
    if lowered.startswith("0x"):
        return float(int(lowered, 16))
    digits = lowered.replace("_", "")
    if len(digits) > 1 and digits[0] == "0" and digits.isdigit() and not set(digits) & {"8", "9"}:
        return float(int(digits, 8))
    if "_" in lowered and not lowered.replace("_", "").isdigit():
        raise ValueError(text)
    return float(digits)


def parse_duration_ms(text: str) -> int:
    """A sum of units from large to small, such as `1h30m` or `0s`.

    Raises:
        ValueError: a unit is unknown, repeated or out of order, or the sum is too large.
    """
    found = _DURATION_PARTS.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"not a valid duration string: {quote(text)}")
    parts = zip(found.groups(), _UNIT_MS.values(), strict=True)
    total = sum(int(count) * unit for count, unit in parts if count)
    if total >= _MAX_DURATION_MS:
        raise ValueError("duration out of range")
    return total


def format_duration(duration_ms: int) -> str:
    """The shortest sum of units; years and weeks only where nothing remains below them."""
    if duration_ms == 0:
        return "0s"
    sign, rest = ("-", -duration_ms) if duration_ms < 0 else ("", duration_ms)
    parts = []
    for unit, unit_ms in _UNIT_MS.items():
        if unit in {"y", "w"} and rest % unit_ms != 0:
            continue
        count, rest = divmod(rest, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return sign + "".join(parts)


def format_number(value: float) -> str:
    """The shortest text that reads back as the same number, with an exponent for far magnitudes."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    digits = repr(float(value))
    if "e" in digits:
        mantissa, exponent = digits.split("e")
        if -7 <= int(exponent) < 21:
            return format(Decimal(digits), "f")
        sign = "-" if exponent.startswith("-") else "+"
        return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').zfill(2)}"
    return digits.removesuffix(".0")


def format_general(value: float) -> str:
    """As Go's `%g` prints a number: what messages show."""
    if math.isnan(value) or math.isinf(value):
        return format_number(value)
    digits = repr(float(value))
    if "e" in digits or not 1e-4 <= abs(value) < 1e21:
        exact = Decimal(digits)
        if value and not -4 <= exact.adjusted() < 21:
            mantissa, _, exponent = f"{exact.normalize():e}".partition("e")
            return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(2)}"
        return format_plain(value)
    return digits.removesuffix(".0")


def format_plain(value: float) -> str:
    """All digits, without an exponent: the shortest text that reads back as the same number."""
    if math.isnan(value) or math.isinf(value):
        return format_number(value)
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def is_plain_label(name: str) -> bool:
    """Whether a label name needs no quotes."""
    return _LEGACY_LABEL.fullmatch(name) is not None


def is_plain_metric(name: str) -> bool:
    """Whether a metric name needs no quotes."""
    return _LEGACY_METRIC.fullmatch(name) is not None
