"""Label filters: `status >= 500 and (method = "GET" or took > 1.5s)`."""

from __future__ import annotations

from typing import Final, cast

from obsd.logql import ast
from obsd.logql.check import checked_matcher
from obsd.logql.lexer import BYTES, DURATION, IDENTIFIER, NUMBER, STRING, error_at
from obsd.logql.token_stream import TokenStream
from obsd.model.matcher import MatchOp

_OPS: Final = ("=", "!=", "=~", "!~", "==", ">", ">=", "<", "<=")
_MATCH_OPS: Final = {op.value: op for op in MatchOp}


class FilterParser:
    """Reads label filters, and what they share with other parts of the language."""

    def __init__(self, stream: TokenStream) -> None:
        self._tokens = stream

    def test(self) -> ast.LabelTest:
        """A filter; `and` binds tighter than `or`.

        A comma, or nothing, between two filters is an `and` as well, of everything behind it.
        """
        with self._tokens.nested():
            left = self._all_of()
            while self._tokens.take("or"):
                left = ast.OrFilter(left, self._all_of())
            return left

    def _all_of(self) -> ast.LabelTest:
        left = self._operand()
        while self._tokens.take("and"):
            left = ast.AndFilter(left, self._operand())
        return left

    def _operand(self) -> ast.LabelTest:
        left = self._single()
        if self._tokens.take(",") or self._tokens.peek().kind in {IDENTIFIER, "("}:
            return ast.AndFilter(left, self.test())
        return left

    def _single(self) -> ast.LabelTest:
        if self._tokens.take("("):
            inner = self.test()
            self._tokens.expect(")")
            return inner
        label = self._tokens.expect(IDENTIFIER, "(").text
        op = self._tokens.expect(*_OPS).kind
        token = self._tokens.peek()
        if op in _MATCH_OPS and token.kind == STRING:
            return ast.StringFilter(
                checked_matcher(_MATCH_OPS[op], label, self._tokens.next().text)
            )
        if op in {"=~", "!~"}:
            raise self._tokens.unexpected(expected=(STRING,))
        if op in {"=", "!="} and token.kind == "IP":
            return ast.IpFilter(label, op == "!=", self.ip())
        compare = cast(ast.CompareOp, "==" if op == "=" else op)
        if token.kind == DURATION:
            return ast.DurationFilter(label, compare, self._tokens.next().number)
        if token.kind == BYTES:
            return ast.BytesFilter(label, compare, self._tokens.next().number)
        return ast.NumberFilter(label, compare, self.number())

    def ip(self) -> str:
        """The pattern of `ip("…")`."""
        self._tokens.expect("IP")
        self._tokens.expect("(")
        pattern = self._tokens.expect(STRING).text
        self._tokens.expect(")")
        return pattern

    def number(self) -> float:
        """A number with its sign."""
        sign = self._tokens.take("+", "-")
        value = self.unsigned()
        return -value if sign is not None and sign.kind == "-" else value

    def unsigned(self) -> float:
        token = self._tokens.expect(NUMBER)
        try:
            is_hex = token.text[:2] in {"0x", "0X"}
            return float(int(token.text, 16) if is_hex else token.text)
        except OverflowError:
            message = f"invalid number {token.text}"
            raise error_at(self._tokens.text, token.span.start, message) from None
