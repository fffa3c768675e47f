"""Predicates as the tuples that native code reads."""

from __future__ import annotations

from obsd import _native
from obsd.model.log_predicate import (
    And,
    Bound,
    Compare,
    Equals,
    Everything,
    Exists,
    Not,
    Or,
    Phrase,
    Predicate,
    Prefix,
    Range,
    Regex,
    Substring,
    Token,
    Wildcard,
)


def check_encoded(encoded: tuple[object, ...]) -> None:
    """See whether a tuple is a predicate.

    Raises:
        ValueError, TypeError, IndexError: it is none.
    """
    _native.log_page([], encoded, (0, 0), 0, True, None, lambda: None)


def encode_predicate(predicate: Predicate) -> tuple[object, ...]:
    """The tuple of a predicate: what it is, then its parts."""
    match predicate:
        case Everything():
            return ("everything",)
        case And(of):
            return ("and", [encode_predicate(part) for part in of])
        case Or(of):
            return ("or", [encode_predicate(part) for part in of])
        case Not(of):
            return ("not", encode_predicate(of))
        case Equals("level", value):
            return ("level", value.lower())
        case Exists("level"):
            return ("level", None)
        case Exists("time"):
            return ("everything",)
        case Compare(field, op, value):
            return _compare(field, op, value)
        case Range(field, low, high, low_included, high_included):
            return ("range", field, low, low_included, high, high_included)
        case Phrase(field, tokens):
            return ("phrase", field, list(tokens))
        case _:
            return _encode_text(predicate)


def _compare(field: str, op: str, value: Bound) -> tuple[object, ...]:
    included = "=" in op
    if op.startswith("<"):
        return ("range", field, None, False, value, included)
    return ("range", field, value, included, None, False)


def _encode_text(
    predicate: Token | Substring | Prefix | Wildcard | Regex | Equals | Exists,
) -> tuple[object, ...]:
    match predicate:
        case Token(field, text):
            return ("token", field, text)
        case Substring(field, text):
            return ("substring", field, text)
        case Prefix(field, text):
            return ("prefix", field, text)
        case Wildcard(field, pattern):
            return ("wildcard", field, pattern)
        case Regex(field, pattern):
            return ("regex", field, pattern)
        case Equals(field, value):
            return ("equals", field, value)
        case Exists(field):
            return ("exists", field)
