"""Label names that are not plain identifiers, as Prometheus escapes them in URLs.

`U__` and then the name: `__` stands for `_`, and `_2e_` for the character U+002E. A text that does
not follow this is a name as it stands.
"""

from __future__ import annotations

import re
from typing import Final

_PREFIX: Final = "U__"
_ESCAPE = re.compile(r"__|_([0-9a-fA-F]{1,6})_")
_MAX_CODE_POINT: Final = 0x10FFFF


def unescape_label_name(text: str) -> str:
    """The name that a part of a URL stands for."""
    if not text.startswith(_PREFIX):
        return text
    name: list[str] = []
    at, escaped = 0, text[len(_PREFIX) :]
    while at < len(escaped):
        if escaped[at] != "_":
            name.append(escaped[at])
            at += 1
            continue
        match = _ESCAPE.match(escaped, at)
        character = _character(match) if match else None
        if match is None or character is None:
            return text
        name.append(character)
        at = match.end()
    return "".join(name)


def _character(escape: re.Match[str]) -> str | None:
    if escape[1] is None:
        return "_"
    code_point = int(escape[1], 16)
    if code_point > _MAX_CODE_POINT or 0xD800 <= code_point <= 0xDFFF:
        return None
    return chr(code_point)
