"""Tokens of TraceQL.

An attribute is one token with its scope: behind its dot everything belongs to its name, `-`, `/`
and `*` too, up to white space or one of `{}()=~!<>&|^,`; the rest can be had in quotes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from obsd.model.go_strings import to_valid_text, unquote
from obsd.traceql import ast
from obsd.traceql.ast import Span
from obsd.traceql.duration import parse_duration
from obsd.traceql.errors import TraceqlParseError

# Kinds of tokens that are no words or signs of their own.
WORD: Final = "word"
STRING: Final = "string"
INTEGER: Final = "integer"
FLOAT: Final = "float"
DURATION: Final = "duration"
ATTRIBUTE: Final = "attribute"
INTRINSIC: Final = "intrinsic"
END: Final = "end of query"

_SPACE: Final = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_NUMBER: Final = re.compile(r"(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?", re.ASCII)
_DURATION_REST: Final = re.compile(r"[\d.nuµμsmhdwy]*")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_RAW_STRING: Final = re.compile(r"`[^`]*`")
_SIGN: Final = re.compile(
    r"&&|\|\||&>>|&<<|&>|&<|&~|!>>|!<<|!>|!<|!~|!=|=~|>>|<<|>=|<=|[{}(),=<>~!|+\-*/%^]"
)
_SCOPE: Final = re.compile(r"(parent|resource|span|event|link|instrumentation)\.|\.")
_INNER_SCOPE: Final = re.compile(r"(resource|span)\.")
_SCOPED: Final = re.compile(r"(trace|span|event|link|instrumentation):(\w*)")
_NAME_PART: Final = re.compile(r'[^\s{}()=~!<>&|^,"]+')
_QUOTED_PART: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_NAME_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)

_MAX_INTEGER: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: a sign itself, or what kind it is.
        text: a word, a string without quotes and escapes, an intrinsic with its scope.
        number: an integer, a float, a duration in nanoseconds.
        attribute: what an attribute's token stands for.
    """

    kind: str
    span: Span
    text: str = ""
    number: int | float = 0
    attribute: ast.Attribute | None = None


def error_at(text: str, at: int, message: str) -> TraceqlParseError:
    """The error that points at an offset of the query."""
    line, column = Span(at, at).position(text)
    return TraceqlParseError(message, line, column)


def tokens(text: str) -> list[Token]:
    """All tokens, the end among them.

    Raises:
        TraceqlParseError: something is no token.
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


def leading_tokens(text: str) -> list[Token]:
    """The tokens before the first thing that is none, or before the end."""
    found: list[Token] = []
    at = 0
    try:
        while True:
            space = _SPACE.match(text, at)
            assert space is not None, "it may be empty"
            if space.end() == len(text):
                return found
            found.append(_token(text, space.end()))
            at = found[-1].span.end
    except TraceqlParseError:
        return found


def _token(text: str, at: int) -> Token:
    if text.startswith("/*", at):
        raise error_at(text, at, "comment not terminated")
    if text[at] in '"`':
        return _string(text, at)
    if number := _NUMBER.match(text, at):
        return _number(text, number)
    if scope := _SCOPE.match(text, at):
        return _attribute(text, scope)
    if scoped := _SCOPED.match(text, at):
        return Token(INTRINSIC, Span(at, scoped.end()), scoped.group())
    if word := _WORD.match(text, at):
        return Token(WORD, Span(at, word.end()), word.group())
    if sign := _SIGN.match(text, at):
        return Token(sign.group(), Span(at, sign.end()))
    if text[at] == "'":
        raise error_at(text, at, "strings are in double quotes or backquotes")
    raise error_at(text, at, f"syntax error: unexpected {text[at]!r}")


def _string(text: str, at: int) -> Token:
    pattern = _RAW_STRING if text[at] == "`" else _STRING
    found = pattern.match(text, at)
    if found is None:
        raise error_at(text, at, "literal not terminated")
    try:
        value = unquote(found.group())
    except ValueError as error:
        raise error_at(text, at, str(error)) from None
    return Token(STRING, Span(at, found.end()), to_valid_text(value))


def _number(text: str, number: re.Match[str]) -> Token:
    at = number.start()
    # What Go's scanner takes for a number decides where a duration's other units are looked for.
    rest = _DURATION_REST.match(text, number.end())
    assert rest is not None, "it may be empty"
    if rest.group() and (duration_ns := parse_duration(text[at : rest.end()])) is not None:
        return Token(DURATION, Span(at, rest.end()), number=duration_ns)
    span = Span(at, number.end())
    digits = number.group().replace("_", "")
    if digits.isdigit():
        # A text of digits that is too long for a number is too long for `int` to be quick.
        if len(digits) > 20 or int(digits) > _MAX_INTEGER:
            raise error_at(text, at, f"value out of range: {digits[:40]}")
        return Token(INTEGER, span, number=int(digits))
    value = float(digits)
    if math.isinf(value):
        raise error_at(text, at, f"value out of range: {digits[:40]}")
    return Token(FLOAT, span, number=value)


def _attribute(text: str, scope: re.Match[str]) -> Token:
    at, where, parent = scope.end(), scope[1] or "", False
    if where == "parent":
        where, parent = "", True
        if inner := _INNER_SCOPE.match(text, at):
            at, where = inner.end(), inner[1]
    name, end = _attribute_name(text, at)
    if not name:
        raise error_at(text, at, "an attribute's name is missing behind the dot")
    span = Span(scope.start(), end)
    attribute = ast.Attribute(ast.scope_of(where), name, parent=parent, span=span)
    return Token(ATTRIBUTE, span, attribute=attribute)


def _attribute_name(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while True:
        if part := _NAME_PART.match(text, at):
            parts.append(part.group())
            at = part.end()
        elif text.startswith('"', at):
            quoted = _QUOTED_PART.match(text, at)
            if quoted is None:
                raise error_at(text, at, 'unexpected end of query, expecting "')
            if any(escape not in '"\\' for escape in _NAME_ESCAPE.findall(quoted[1])):
                raise error_at(text, at, "invalid escape sequence")
            parts.append(_NAME_ESCAPE.sub(r"\1", quoted[1]))
            at = quoted.end()
        else:
            return to_valid_text("".join(parts)), at
