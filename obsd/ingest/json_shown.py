"""What error messages show of the JSON that came, and what decoding it can raise."""

from __future__ import annotations

from typing import Any, Final

import msgspec

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for what is no JSON, no UTF-8, or nested too deeply."""

_MAX_CHARS: Final = 80


def shown(value: Any) -> str:  # noqa: ANN401 - any JSON
    """A value in a few words: of arrays and objects, which may be huge and deep, only the kind."""
    match value:
        case list():
            return "an array"
        case dict():
            return "an object"
        case str():
            return repr(value[:_MAX_CHARS])
    return repr(str(value)[:_MAX_CHARS])
