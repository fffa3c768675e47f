"""What stands between the braces of a filter, and wherever else a span's fields are named.

Of one level the left operator is first, but of powers the right one; `&&` and `||` are of one level
as in Tempo, so that parentheses tell what a mixture of them means.
"""

from __future__ import annotations

from typing import Final, cast

from obsd.traceql import ast
from obsd.traceql.lexer import ATTRIBUTE, DURATION, FLOAT, INTEGER, INTRINSIC, STRING, WORD, Token
from obsd.traceql.token_stream import TokenStream, did_you_mean
from obsd.traceql.value import KIND_NAMES, STATUS_NAMES, Duration, negated

PRECEDENCE: Final = {
    "&&": 1,
    "||": 1,
    **dict.fromkeys((*ast.COMPARISONS, "=~", "!~"), 2),
    "+": 3,
    "-": 3,
    "*": 4,
    "/": 4,
    "%": 4,
    "^": 5,
}
_UNARY: Final = 4  # What follows `-` and `!` goes with them from there on: -a * b is -(a * b).
_WORDS: Final[dict[str, ast.Constant]] = {
    "true": True,
    "false": False,
    "minInt": -(1 << 63),
    "maxInt": (1 << 63) - 1,
    **{name: status for status, name in STATUS_NAMES.items()},
    **{name: kind for kind, name in KIND_NAMES.items()},
}
_NIL_ALONE: Final = "nil can only be compared, by = or !="
_BARE_INTRINSICS: Final = frozenset(name for name in ast.INTRINSICS if ":" not in name)


class FieldParser:
    """Expressions of one span's fields."""

    def __init__(self, stream: TokenStream) -> None:
        self._tokens = stream

    def expr(self, minimum: int = 1, *, nil: bool = False) -> ast.FieldExpr:
        """An expression of operators that bind at least so tightly; `nil` alone where it may be."""
        start = self._tokens.peek().span.start
        with self._tokens.nested():
            left = self._operand()
            while (level := PRECEDENCE.get(op := self._tokens.peek().kind, 0)) >= minimum:
                if isinstance(left, ast.Nil) and op not in {"=", "!="}:
                    raise self._tokens.error(left.span, _NIL_ALONE)
                self._tokens.next()
                right = self.expr(level if op == "^" else level + 1, nil=op in {"=", "!="})
                left = _combined(op, left, right, self._tokens.since(start))
        if isinstance(left, ast.Nil) and not nil:
            raise self._tokens.error(left.span, _NIL_ALONE)
        return left

    def _operand(self) -> ast.FieldExpr:
        token = self._tokens.peek()
        match token.kind:
            case "(":
                self._tokens.next()
                inner = self.expr()
                self._tokens.expect(")")
                return inner
            case "-":
                self._tokens.next()
                return _negative(self.expr(_UNARY), self._tokens.since(token.span.start))
            case "!":
                self._tokens.next()
                return ast.Not(self.expr(_UNARY), self._tokens.since(token.span.start))
        if token.kind == WORD and token.text == "nil":
            return ast.Nil(self._tokens.next().span)
        constant = self.constant()
        return self.named() if constant is None else constant

    def constant(self) -> ast.Static | None:
        """A constant, if one is next."""
        token = self._tokens.peek()
        value: ast.Constant
        match token.kind:
            case "string":
                value = token.text
            case "integer" | "float":
                value = token.number
            case "duration":
                value = Duration(token.number)
            case "word" if token.text in _WORDS:
                value = _WORDS[token.text]
            case _:
                return None
        assert token.kind in {STRING, INTEGER, FLOAT, DURATION, WORD}
        return ast.Static(value, self._tokens.next().span)

    def named(self) -> ast.Named:
        """An attribute or an intrinsic.

        Raises:
            TraceqlParseError: it is something else, or a name that is not known.
        """
        token = self._tokens.peek()
        if token.kind == ATTRIBUTE:
            assert token.attribute is not None
            self._tokens.next()
            return token.attribute
        if token.kind not in {WORD, INTRINSIC}:
            raise self._tokens.unexpected()
        name = ast.INTRINSICS.get(token.text)
        if name is None:
            raise self._tokens.error(token, self._unknown(token))
        self._tokens.next()
        return ast.Intrinsic(name, token.span)

    def _unknown(self, token: Token) -> str:
        if token.kind == INTRINSIC:
            return f"unknown intrinsic {token.text}{did_you_mean(token.text, ast.INTRINSICS)}"
        if token.text == "parent":
            return "parent is no value: name one of its attributes, such as parent.x"
        after = self._tokens.peek(1)
        if after.kind == ATTRIBUTE and after.span.start == token.span.end:
            dotted = self._tokens.text[token.span.start : after.span.end]
            return (
                f"unknown identifier {dotted}: attributes begin with a scope, "
                f"span.{dotted}, resource.{dotted}, or with a dot, .{dotted}"
            )
        hint = did_you_mean(token.text, {*_BARE_INTRINSICS, *_WORDS})
        return f"unknown identifier {token.text}{hint or f'; as an attribute it is .{token.text}'}"


def _negative(of: ast.FieldExpr, span: ast.Span) -> ast.FieldExpr:
    if isinstance(of, ast.Static) and (value := negated(of.value)) is not None:
        return ast.Static(cast(ast.Constant, value), span)
    return ast.Negative(of, span)


def _combined(op: str, left: ast.FieldExpr, right: ast.FieldExpr, span: ast.Span) -> ast.FieldExpr:
    if isinstance(left, ast.Nil) and isinstance(right, ast.Nil):
        return ast.Static(value=False, span=span)
    if isinstance(right, ast.Nil):
        return ast.Exists(left, op == "=", span)
    if isinstance(left, ast.Nil):
        return ast.Exists(right, op == "=", span)
    if op in {"&&", "||"}:
        logical = cast(ast.LogicalOp, op)
        if isinstance(left, ast.Logical) and left.op == logical:
            return ast.Logical(logical, (*left.of, right), span)
        return ast.Logical(logical, (left, right), span)
    return ast.Binary(cast(ast.BinaryOp, op), left, right, span)
