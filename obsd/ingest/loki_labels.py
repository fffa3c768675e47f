"""The labels of a Loki stream as a push spells them: `{app="api", env="prod"}`."""

from __future__ import annotations

import re
from typing import Final

from obsd.model.errors import BadInputError

_NAME: Final = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*", re.ASCII)
_VALUE: Final = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`([^`]*)`')
_AFTER: Final = re.compile(r"\s*(,\s*\}|,|\})")
_ESCAPE: Final = re.compile(
    r"\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_SINGLE: Final = {
    "a": 7,
    "b": 8,
    "f": 12,
    "n": 10,
    "r": 13,
    "t": 9,
    "v": 11,
    "\\": 92,
    "'": 39,
    '"': 34,
}


class InvalidLabelsError(BadInputError):
    """A text that is no set of labels."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        super().__init__(f"invalid labels {text[:120]!r}: expected {expected} at position {at + 1}")


def parse_labels(text: str) -> dict[str, str]:
    """Names and values.

    Raises:
        InvalidLabelsError: it is no such selector; only `=` can stand in it.
    """
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] != "{":
        raise InvalidLabelsError(text, start, '"{"')
    at = start + 1
    labels: dict[str, str] = {}
    if text[at:].strip() == "}":
        return labels
    while True:
        name = _NAME.match(text, at)
        if name is None:
            raise InvalidLabelsError(text, at, "a label's name and =")
        value = _VALUE.match(text, name.end())
        if value is None:
            raise InvalidLabelsError(text, name.end(), "a quoted value")
        if name[1] in labels:
            raise InvalidLabelsError(text, at, f"{name[1]} only once, not again")
        raw = value[2]
        labels[name[1]] = raw if raw is not None else _unquote(text, value[1], name.end())
        after = _AFTER.match(text, value.end())
        if after is None:
            raise InvalidLabelsError(text, value.end(), '"," or "}"')
        at = after.end()
        if after[1] != ",":
            if text[at:].strip():
                raise InvalidLabelsError(text, at, "the end")
            return labels


def _unquote(text: str, inner: str, at: int) -> str:
    """Go's escapes; octal and hexadecimal ones stand for bytes of UTF-8."""
    if "\\" not in inner:
        return inner
    out = bytearray()
    end = 0
    for escape in _ESCAPE.finditer(inner):
        out += inner[end : escape.start()].encode()
        end = escape.end()
        octal, byte, short, long, single = escape.groups()
        if octal is not None or byte is not None:
            number = int(octal, 8) if octal is not None else int(byte, 16)
            if number > 255:
                raise InvalidLabelsError(text, at, "an octal escape of a byte")
            out.append(number)
        elif short is not None or long is not None:
            number = int(short or long, 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise InvalidLabelsError(text, at, "an escape of a character")
            out += chr(number).encode()
        elif single in _SINGLE:
            out.append(_SINGLE[single])
        else:
            raise InvalidLabelsError(text, at, f"an escape that there is, not \\{single}")
    out += inner[end:].encode()
    return out.decode(errors="replace")
