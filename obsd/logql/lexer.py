"""Tokens of LogQL.

A word is a function only where a parenthesis or a grouping follows; else it may be a label's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from obsd.logql import ast
from obsd.logql.ast import Span
from obsd.logql.errors import LogqlParseError
from obsd.logql.literals import parse_bytes, parse_go_duration_ns, parse_prometheus_duration_ns
from obsd.model.go_strings import to_valid_text, unquote

# Kinds of tokens that are no words or signs of their own, by the names in messages.
IDENTIFIER: Final = "IDENTIFIER"
STRING: Final = "STRING"
NUMBER: Final = "NUMBER"
DURATION: Final = "DURATION"
BYTES: Final = "BYTES"
RANGE: Final = "RANGE"
FLAG: Final = "FUNCTION_FLAG"
END: Final = "$end"

KEYWORDS: Final = frozenset(
    {
        "and", "bool", "by", "decolorize", "drop", "group_left", "group_right", "ignoring", "json",
        "keep", "label_format", "line_format", "logfmt", "offset", "on", "or", "pattern", "regexp",
        "unless", "unpack", "unwrap", "without",
    }
)  # fmt: skip
CONVERSIONS: Final = frozenset({"bytes", "duration", "duration_seconds"})
FUNCTIONS: Final = (
    ast.RANGE_OPERATIONS | ast.VECTOR_OPERATIONS | CONVERSIONS | {"vector", "label_replace", "ip"}
)
"""Words that are tokens where they are called; their kinds are in capitals."""
FLAGS: Final = frozenset({"--strict", "--keep-empty"})

_SPACE: Final = re.compile(r"(?:\s|#[^\n]*)*")
_WORD: Final = re.compile(r"[^\W\d]\w*")
_NUMBER: Final = re.compile(
    r"0[xX][0-9a-fA-F]+|(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII
)
_DURATION_REST: Final = re.compile(r"[\d.nuµmshdwy]+")
_BYTES_REST: Final = re.compile(r"[\d.BikKMGTP]+")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_RAW_STRING: Final = re.compile(r"`[^`]*`")
_SIGN: Final = re.compile(r"\|=|\|~|\|>|!=|!~|!>|=~|==|>=|<=|[{}(),=|<>+\-*/%^.\]]")
_FLAG: Final = re.compile(r"--[^\W\d_]+(?:-[^\W\d_]*)*")
_CALLED: Final = re.compile(r"\s*(?:\(|(?:by|without)\s*\()", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: a sign or a word of the language itself, or what kind it is.
        text: an identifier, or a string without quotes and escapes; a number's digits.
        number: a duration in nanoseconds, a size in bytes.
    """

    kind: str
    span: Span
    text: str = ""
    number: int = 0


def error_at(text: str, at: int, message: str) -> LogqlParseError:
    """The error that points at an offset of the query."""
    line, column = Span(at, at).position(text)
    return LogqlParseError(message, line, column)


def tokens(text: str) -> list[Token]:
    """All tokens, the end among them.

    Raises:
        LogqlParseError: something is no token.
    """
    found: list[Token] = []
    at = 0
    while True:
        space = _SPACE.match(text, at)
        assert space is not None, "it may be empty"
        at = space.end()
        if at == len(text):
            found.append(Token(END, Span(at, at)))
            return found
        token = _token(text, at)
        found.append(token)
        at = token.span.end


def _token(text: str, at: int) -> Token:
    character = text[at]
    if character in "\"`'":
        return _string(text, at)
    if character == "[":
        return _range(text, at)
    if word := _WORD.match(text, at):
        return _word(text, word)
    if number := _NUMBER.match(text, at):
        return _number(text, number)
    if character == "-":
        flag = _FLAG.match(text, at)
        if flag and flag.group() in FLAGS:
            return Token(FLAG, Span(at, flag.end()), flag.group())
        if duration := _duration(text, at, at + 1):
            return duration
    if sign := _SIGN.match(text, at):
        return Token(sign.group(), Span(at, sign.end()))
    raise error_at(text, at, f"syntax error: unexpected {IDENTIFIER}")


def _word(text: str, word: re.Match[str]) -> Token:
    span = Span(word.start(), word.end())
    lowered = word.group().lower()
    if lowered in FUNCTIONS:
        called = _CALLED.match(text, word.end()) is not None
        kind = f"{lowered.upper()}_CONV" if lowered in CONVERSIONS else lowered.upper()
        return Token(kind if called else IDENTIFIER, span, word.group())
    return Token(lowered if lowered in KEYWORDS else IDENTIFIER, span, word.group())


def _number(text: str, number: re.Match[str]) -> Token:
    at, end = number.start(), number.end()
    if duration := _duration(text, at, end):
        return duration
    if size := _size(text, at, end):
        return size
    return Token(NUMBER, Span(at, end), number.group().replace("_", ""))


def _size(text: str, at: int, end: int) -> Token | None:
    rest = _BYTES_REST.match(text, end)
    if rest is None:
        return None
    try:
        return Token(BYTES, Span(at, rest.end()), number=parse_bytes(text[at : rest.end()]))
    except ValueError:
        return None


def _duration(text: str, at: int, end: int) -> Token | None:
    rest = _DURATION_REST.match(text, end)
    if rest is None:
        return None
    literal = text[at : rest.end()]
    if not literal[-1].isalpha():  # Without a unit it is a number, also where Go takes it.
        return None
    for parse in (parse_prometheus_duration_ns, parse_go_duration_ns):
        try:
            return Token(DURATION, Span(at, rest.end()), number=parse(literal))
        except ValueError:
            continue
    return None


def _range(text: str, at: int) -> Token:
    end = text.find("]", at)
    if end < 0:
        raise error_at(text, at, "missing closing ']' in duration")
    try:
        duration_ns = parse_prometheus_duration_ns(text[at + 1 : end].strip())
    except ValueError as error:
        raise error_at(text, at, str(error)) from None
    if duration_ns == 0:
        raise error_at(text, at, "duration must be greater than 0")
    return Token(RANGE, Span(at, end + 1), number=duration_ns)


def _string(text: str, at: int) -> Token:
    pattern = _RAW_STRING if text[at] == "`" else _STRING
    found = pattern.match(text, at)
    if found is None:
        if text[at] == "'":
            message = "syntax error: strings are in double quotes or backquotes"
            raise error_at(text, at, message)
        raise error_at(text, at, "literal not terminated")
    try:
        value = unquote(found.group())
    except ValueError as error:
        raise error_at(text, at, str(error)) from None
    return Token(STRING, Span(at, found.end()), to_valid_text(value))
