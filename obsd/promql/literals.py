"""Numbers, durations and strings as PromQL writes them: text to value and back."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

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
_SIMPLE_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\",
    "'": "'", '"': '"',
}  # fmt: skip
_ESCAPE_DIGITS: Final = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
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


def unquote(text: str) -> str:
    """The string that a quoted literal stands for, by Go's rules.

    Escaped bytes that are no UTF-8 become lone surrogates, as the file system's do in Python.

    Raises:
        ValueError: an escape is unknown, cut short, or no valid code point.
    """
    quote_mark, inner = text[0], text[1:-1]
    if quote_mark == "`" or "\\" not in inner:
        return inner
    # Escapes of bytes may add up to one character, so bytes are what is put together.
    out = bytearray()
    position = 0
    while position < len(inner):
        character = inner[position]
        if character != "\\":
            out += character.encode()
            position += 1
            continue
        piece, position = _unescape(inner, position + 1, quote_mark)
        out += piece
    return out.decode("utf-8", errors="surrogateescape")


def _unescape(text: str, position: int, quote_mark: str) -> tuple[bytes, int]:
    """The bytes of the escape whose letter is at `position`, and where the text goes on."""
    letter = text[position : position + 1]
    if letter in _SIMPLE_ESCAPES and letter and (letter not in "'\"" or letter == quote_mark):
        return _SIMPLE_ESCAPES[letter].encode(), position + 1
    if letter in _ESCAPE_DIGITS:
        length, base = _ESCAPE_DIGITS[letter]
        start = position + 1
    elif letter and letter in "01234567":
        length, base, start = 3, 8, position
    else:
        raise ValueError("unknown escape sequence" if letter else "escape sequence not terminated")
    digits = text[start : start + length]
    if len(digits) < length:
        raise ValueError("escape sequence not terminated")
    try:
        code = int(digits, base)
    except ValueError:
        raise ValueError("illegal character in escape sequence") from None
    if letter in {"u", "U"}:
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return chr(code).encode(), start + length
    if code > 255:
        raise ValueError("escape sequence is an invalid Unicode code point")
    return bytes([code]), start + length


def quote(text: str) -> str:
    """A double-quoted literal that `unquote` reads back."""
    out = ['"']
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif character in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character])
        elif character.isprintable():
            out.append(character)
        elif ord(character) < 0x80 or 0xDC80 <= ord(character) <= 0xDCFF:
            out.append(f"\\x{ord(character) & 0xFF:02x}")
        elif ord(character) < 0x10000:
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(f"\\U{ord(character):08x}")
    out.append('"')
    return "".join(out)


def is_valid_text(text: str) -> bool:
    """Whether a string can be stored: without the surrogates of bytes that are no UTF-8."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)


def to_valid_text(text: str) -> str:
    """The string with U+FFFD in place of what is no UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def is_plain_label(name: str) -> bool:
    """Whether a label name needs no quotes."""
    return _LEGACY_LABEL.fullmatch(name) is not None


def is_plain_metric(name: str) -> bool:
    """Whether a metric name needs no quotes."""
    return _LEGACY_METRIC.fullmatch(name) is not None
