"""What to say when a token cannot follow what was read: what was found, where, what would fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lark import Token

from obsd.promql.lexer import KEYWORDS

_OPERATOR_KINDS: Final = frozenset(
    [
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "MOD",
        "POW",
        "ATAN2",
        "LAND",
        "LOR",
        "LUNLESS",
        "EQLC",
        "NEQ",
        "GTE",
        "GTR",
        "LSS",
        "LTE",
        "TRIM_UPPER",
        "TRIM_LOWER",
        "EQL_REGEX",
        "NEQ_REGEX",
        "AT",
    ]
)
_AGGREGATION_KINDS: Final = frozenset(
    [
        "AVG",
        "BOTTOMK",
        "COUNT",
        "COUNT_VALUES",
        "GROUP",
        "MAX",
        "MIN",
        "QUANTILE",
        "STDDEV",
        "STDVAR",
        "SUM",
        "TOPK",
        "LIMITK",
        "LIMIT_RATIO",
    ]
)
_NAMED_KINDS: Final = {
    "IDENTIFIER": "identifier",
    "METRIC_IDENTIFIER": "metric identifier",
    "STRING": "string",
    "NUMBER": "number",
    "DURATION": "duration",
}
_MATCH_KINDS: Final = frozenset({"EQL", "NEQ", "EQL_REGEX", "NEQ_REGEX"})
_GROUPING_KINDS: Final = frozenset({"BY", "WITHOUT", "ON", "IGNORING", "GROUP_LEFT", "GROUP_RIGHT"})


def describe(token: Token | None) -> str:
    """A token as Prometheus' messages name it; None is the end of the query."""
    if token is None:
        return "end of input"
    if token.type in _OPERATOR_KINDS:
        return f"<op:{token}>"
    if token.type in _AGGREGATION_KINDS:
        return f"<aggr:{token}>"
    if token.type in _NAMED_KINDS:
        text = str(token)
        quoted = f'"{text}"' if token.type != "STRING" else text
        return f"{_NAMED_KINDS[token.type]} {quoted}"
    if token.type in KEYWORDS.values():
        return f"<{token}>"
    return f'"{token}"'


def unexpected(before: Sequence[Token], token: Token | None) -> str:
    """The message for a token that cannot follow the tokens `before` it."""
    context, expected = _context(before)
    message = f"unexpected {describe(token)}"
    if context:
        message += f" in {context}"
    if expected:
        message += f", expected {expected}"
    return message


def _context(before: Sequence[Token]) -> tuple[str, str]:
    """Which construct is open at the end of `before`, and what it lacks."""
    if not before:
        return "", "an expression"
    last = before[-1].type
    opener = _open_bracket(before)
    if opener is not None and before[opener].type == "LBRACE":
        return "label matching", _expected_in_braces(last)
    if opener is not None and before[opener].type == "LBRACKET":
        return _expected_in_brackets(before[opener:])
    if last in _GROUPING_KINDS:
        return "grouping opts", '"("'
    if opener is not None and opener > 0 and before[opener - 1].type in _GROUPING_KINDS:
        fits_label = last in {"LPAREN", "COMMA"}
        return "grouping opts", "label" if fits_label else '"," or ")"'
    if last == "OFFSET":
        return "offset", "number, duration, step(), or range()"
    if last == "AT":
        return "@", "timestamp"
    if last in _AGGREGATION_KINDS:
        return "aggregation", ""
    if last in _OPERATOR_KINDS or last in {"LPAREN", "COMMA", "BOOL"}:
        return "", "an expression"
    return "", "an operator or " + ("the end" if opener is None else '")"')


def _open_bracket(before: Sequence[Token]) -> int | None:
    """The index of the innermost bracket that is still open."""
    depth = 0
    for i in range(len(before) - 1, -1, -1):
        kind = before[i].type
        if kind in {"RPAREN", "RBRACE", "RBRACKET"}:
            depth += 1
        elif kind in {"LPAREN", "LBRACE", "LBRACKET"}:
            if depth == 0:
                return i
            depth -= 1
    return None


def _expected_in_braces(last: str) -> str:
    if last == "IDENTIFIER":
        return "label matching operator"
    if last in _MATCH_KINDS:
        return "string"
    return 'identifier or "}"' if last in {"LBRACE", "COMMA"} else '"," or "}"'


def _expected_in_brackets(inside: Sequence[Token]) -> tuple[str, str]:
    kinds = [token.type for token in inside]
    if kinds[-1] == "LBRACKET":
        return "subquery or range selector", "number, duration, step(), or range()"
    if kinds[-1] == "COLON":
        return "subquery selector", 'number, duration, step(), range(), or "]"'
    return ("subquery selector", '"]"') if "COLON" in kinds else ("subquery or range", '":" or "]"')
