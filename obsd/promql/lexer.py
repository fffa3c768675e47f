"""PromQL text to tokens.

A word is an operator, an aggregation, a name or a label depending on where it stands, so this is
written by hand: inside braces every word is a label name, inside brackets only durations and
arithmetic occur, and `fill` is a keyword only before a parenthesis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lark import Token
from lark.common import LexerConf
from lark.lexer import Lexer, LexerState

from obsd.model.errors import QueryParseError
from obsd.promql.ast import Span

KEYWORDS: Final = {
    "and": "LAND", "or": "LOR", "unless": "LUNLESS", "atan2": "ATAN2",
    "sum": "SUM", "avg": "AVG", "count": "COUNT", "min": "MIN", "max": "MAX", "group": "GROUP",
    "stddev": "STDDEV", "stdvar": "STDVAR", "topk": "TOPK", "bottomk": "BOTTOMK",
    "count_values": "COUNT_VALUES", "quantile": "QUANTILE", "limitk": "LIMITK",
    "limit_ratio": "LIMIT_RATIO",
    "offset": "OFFSET", "smoothed": "SMOOTHED", "anchored": "ANCHORED", "by": "BY",
    "without": "WITHOUT", "on": "ON", "ignoring": "IGNORING", "group_left": "GROUP_LEFT",
    "group_right": "GROUP_RIGHT", "fill": "FILL", "fill_left": "FILL_LEFT",
    "fill_right": "FILL_RIGHT", "bool": "BOOL",
    "start": "START", "end": "END", "step": "STEP", "range": "RANGE", "max_of": "MAX_OF",
    "min_of": "MIN_OF",
    "inf": "NUMBER", "nan": "NUMBER",
}  # fmt: skip
SYMBOLS: Final = {
    "==": "EQLC", "=~": "EQL_REGEX", "=": "EQL", "!=": "NEQ", "!~": "NEQ_REGEX", "<=": "LTE",
    "</": "TRIM_UPPER", "<": "LSS", ">=": "GTE", ">/": "TRIM_LOWER", ">": "GTR", "+": "ADD",
    "-": "SUB", "*": "MUL", "/": "DIV", "%": "MOD", "^": "POW", "@": "AT", ",": "COMMA",
    "(": "LPAREN", ")": "RPAREN", "[": "LBRACKET", "]": "RBRACKET", "{": "LBRACE", "}": "RBRACE",
    ":": "COLON",
}  # fmt: skip
_DURATION_WORDS: Final = frozenset({"step", "range", "max_of", "min_of"})

_SPACE: Final = r"(?P<SPACE>(?:[ \t\r\n]|\#[^\r\n]*)+)"
_STRING: Final = r"""(?P<STRING>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'|`[^`]*`)"""
_NUMERIC: Final = r"""
    (?P<DURATION>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdw]))*(?![a-zA-Z0-9_]))
  | (?P<NUMBER>(?:0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*
               |(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+(?:_\d+)*)?
               )(?![a-zA-Z0-9_.]))
"""
_OUTSIDE: Final = re.compile(
    rf"""{_SPACE}|(?P<WORD>[a-zA-Z_:][a-zA-Z0-9_:]*)|{_NUMERIC}|{_STRING}
    |(?P<SYMBOL>==|=(?!~)|!=|<=|</|<|>=|>/|>|[-+*/%^@,()\[\]{{}}])""",
    re.VERBOSE,
)
_IN_BRACES: Final = re.compile(
    rf"""{_SPACE}|(?P<WORD>[a-zA-Z_][a-zA-Z0-9_]*)|{_STRING}|(?P<SYMBOL>=~|=|!=|!~|[,}}])""",
    re.VERBOSE,
)
_IN_BRACKETS: Final = re.compile(
    rf"""{_SPACE}|(?P<WORD>[a-zA-Z_]+)|{_NUMERIC}|(?P<SYMBOL>[-+*/%^,():\]])""", re.VERBOSE
)
_NUMBER_RUN: Final = re.compile(r"[0-9a-zA-Z_.]+")
_OPEN_PARENTHESIS_NEXT: Final = re.compile(r"[ \t\r\n]*\(")


def error_at(text: str, span: Span, message: str) -> QueryParseError:
    """The error that points at a place in the query."""
    return QueryParseError(message, *span.position(text))


class PromqlLexer(Lexer):
    """What Lark asks of a lexer: tokens, one at a time, so that the first error of all wins."""

    __future_interface__ = 2

    def __init__(self, conf: LexerConf) -> None:
        """Lark hands its configuration over; a hand-written lexer needs none of it."""

    def lex(self, lexer_state: LexerState, parser_state: object) -> Iterator[Token]:
        return tokens(str(lexer_state.text.text))


def tokens(text: str) -> Iterator[Token]:
    """Every token of a query, with its place.

    Raises:
        QueryParseError: what follows is no token, or brackets do not balance.
    """
    pattern, depth, position = _OUTSIDE, 0, 0
    while position < len(text):
        found = pattern.match(text, position)
        if found is None:
            raise _no_token(text, position, pattern)
        start, position = position, found.end()
        kind, value = found.lastgroup, found.group()
        match kind:
            case "SPACE":
                continue
            case "WORD":
                kind = _word_kind(text, found, pattern)
            case "SYMBOL":
                kind = SYMBOLS[value]
                pattern = _after_symbol(value, pattern)
                depth += (value == "(") - (value == ")")
                if depth < 0:
                    raise error_at(text, Span(start, position), "unexpected right parenthesis ')'")
                if value == "]" and found.re is _OUTSIDE:
                    raise error_at(text, Span(start, position), "unexpected right bracket ']'")
            case _:
                pass
        yield Token(str(kind), value, start_pos=start, end_pos=position)
    _check_closed(text, pattern, depth)


def _word_kind(text: str, found: re.Match[str], pattern: re.Pattern[str]) -> str:
    word = found.group()
    lowered = word.lower()
    if pattern is _IN_BRACES:
        return "IDENTIFIER"
    if pattern is _IN_BRACKETS:
        if lowered not in _DURATION_WORDS:
            raise _no_token(text, found.start(), pattern)
        return KEYWORDS[lowered]
    kind = KEYWORDS.get(lowered)
    if kind is None:
        return "METRIC_IDENTIFIER" if ":" in word else "IDENTIFIER"
    if kind.startswith("FILL") and not _OPEN_PARENTHESIS_NEXT.match(text, found.end()):
        return "IDENTIFIER"
    return kind


def _after_symbol(symbol: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    match symbol:
        case "{":
            return _IN_BRACES
        case "[":
            return _IN_BRACKETS
        case "}" | "]":
            return _OUTSIDE
        case _:
            return pattern


def _check_closed(text: str, pattern: re.Pattern[str], depth: int) -> None:
    end = Span(len(text), len(text))
    if pattern is _IN_BRACES:
        raise error_at(text, end, "unexpected end of input inside braces")
    if pattern is _IN_BRACKETS:
        raise error_at(text, end, "unexpected end of input in duration expression")
    if depth:
        raise error_at(text, end, "unclosed left parenthesis")


def _no_token(text: str, position: int, pattern: re.Pattern[str]) -> QueryParseError:
    """Why nothing at `position` is a token."""
    character, following = text[position], text[position + 1 : position + 2]
    span = Span(position, position + 1)
    where = {_IN_BRACES: " inside braces", _IN_BRACKETS: " in duration expression"}.get(pattern, "")
    if character in "\"'" and pattern is not _IN_BRACKETS:
        return error_at(text, span, "unterminated quoted string")
    if character == "`" and pattern is not _IN_BRACKETS:
        return error_at(text, span, "unterminated raw string")
    if pattern is not _IN_BRACES and (character.isdigit() or character == "."):
        run = _NUMBER_RUN.match(text, position)
        if run is not None and character.isascii():
            return error_at(text, span, f'bad number or duration syntax: "{run.group()}"')
    if character in "!=" and pattern is not _IN_BRACKETS:
        message = f"unexpected character after '{character}'{where}: '{following or 'EOF'}'"
        return error_at(text, span, message)
    if character == "{" and pattern is _IN_BRACES:
        return error_at(text, span, "unexpected left brace '{'")
    return error_at(text, span, f"unexpected character{where}: '{character}'")
