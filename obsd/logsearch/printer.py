"""A syntax tree as the text that parses to it, in one canonical form."""

from __future__ import annotations

from typing import assert_never

from obsd.logsearch.ast import (
    Between,
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Has,
    Literal,
    MatchAll,
    Negation,
    Pattern,
    Query,
    Text,
)
from obsd.logsearch.syntax import FIELD, KEYWORDS, PLAIN_WORD, number_of


def format_query(query: Query) -> str:
    """One line if no text in the query has a line feed; `parse` makes the same tree of it."""
    match query:
        case MatchAll():
            return "*"
        case Text():
            return _prefix(query.field) + _text(query.text)
        case Pattern():
            return _prefix(query.field) + _pattern(query.pattern)
        case Expression():
            return f"{_prefix(query.field)}/{_slashes_escaped(query.pattern)}/"
        case Comparison():
            return f"{_prefix(query.field)}{query.op}{_literal(query.value)}"
        case Between():
            opening = "[" if query.low_included else "{"
            closing = "]" if query.high_included else "}"
            bounds = f"{_bound(query.low)} TO {_bound(query.high)}"
            return f"{_prefix(query.field)}{opening}{bounds}{closing}"
        case Has():
            return f"{_prefix(query.field)}*"
        case Negation():
            return f"-{_operand(query.of, (Conjunction, Disjunction, Negation))}"
        case Conjunction():
            return " AND ".join(_operand(each, (Disjunction,)) for each in query.of)
        case Disjunction():
            return " OR ".join(format_query(each) for each in query.of)
    assert_never(query)


def _operand(query: Query, in_parentheses: tuple[type, ...]) -> str:
    text = format_query(query)
    return f"({text})" if isinstance(query, in_parentheses) else text


def _prefix(field: str | None) -> str:
    if field is None:
        return ""
    return f"{field if FIELD.fullmatch(field) else quoted(field)}:"


def quoted(text: str) -> str:
    """In quotes, with what would end them escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(text: str) -> str:
    return text if PLAIN_WORD.fullmatch(text) and text not in KEYWORDS else quoted(text)


def _literal(value: Literal) -> str:
    if not isinstance(value, str):
        return repr(value)
    is_plain = PLAIN_WORD.fullmatch(value) and number_of(value) is None
    return value if is_plain else quoted(value)


def _bound(value: Literal | None) -> str:
    return "*" if value is None else _literal(value)


def _pattern(pattern: str) -> str:
    """Every character that could mean something else gets its backslash."""
    out = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
            out.append("\\" + pattern[at])
        elif character in "*?" or character.isalnum() or character == "_":
            out.append(character)
        else:
            out.append("\\" + character)
        at += 1
    return "".join(out)


def _slashes_escaped(pattern: str) -> str:
    out = []
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            out.append(pattern[at : at + 2])
            at += 2
            continue
        out.append("\\/" if pattern[at] == "/" else pattern[at])
        at += 1
    return "".join(out)
