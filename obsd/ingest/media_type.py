"""Media types in headers: `type/subtype; name=value; name="quoted value"` (RFC 9110, 8.3.1)."""

from __future__ import annotations

import re

_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*')
_ESCAPED = re.compile(r"\\(.)")


def parse_media_type(header: str) -> tuple[str, dict[str, str]]:
    """The type in lower case, and its parameters with names in lower case; the first wins."""
    media_type, semicolon, rest = header.partition(";")
    parameters: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(semicolon + rest):
        parameters.setdefault(name.lower(), _ESCAPED.sub(r"\1", quoted) or token)
    return media_type.strip().lower(), parameters
