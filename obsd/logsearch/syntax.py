"""What characters and words mean in a query, for the parser and the printer alike."""

from __future__ import annotations

import math
import re
from typing import Final

from obsd.logsearch.ast import Literal
from obsd.model.errors import QueryParseError

KEYWORDS: Final = frozenset({"AND", "OR", "NOT", "&&", "||"})

FIELD: Final = re.compile(r"[^\W\d][\w.@/-]*|@[\w.@/-]+")
"""A field's name that needs no quotes."""

PLAIN_WORD: Final = re.compile(r"\w[\w.@/-]*")
"""A word that can stand without quotes wherever a word can, if it is no keyword."""

NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

_INT64: Final = 1 << 63


def number_of(text: str) -> int | float | None:
    """The number that a word is, None for a word that is none."""
    if not NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdecimal() and len(text) <= 20:
        whole = int(text)
        if -_INT64 <= whole < _INT64:
            return whole
    value = float(text)
    return value if math.isfinite(value) else None


def literal_of(word: str) -> Literal:
    """A bound as written without quotes: a number where it is one."""
    number = number_of(word)
    return word if number is None else number


def error_at(text: str, at: int, message: str) -> QueryParseError:
    """The error that points at an offset of the query."""
    before = text[:at]
    return QueryParseError(message, before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1)
