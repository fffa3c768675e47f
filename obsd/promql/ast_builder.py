"""Lark's reductions to nodes of `promql.ast`; what no grammar can say is refused here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from lark import Token, Transformer, v_args

from obsd.model.go_strings import to_valid_text, unquote
from obsd.model.labels import METRIC_NAME
from obsd.model.matcher import Matcher, MatchOp
from obsd.promql import ast
from obsd.promql.ast import Span
from obsd.promql.literals import parse_duration_ms, parse_number
from obsd.promql.spanned_error import SpannedError


def _start(token: Token) -> int:
    assert token.start_pos is not None
    return token.start_pos


def _end(token: Token) -> int:
    assert token.end_pos is not None
    return token.end_pos


def _span(token: Token) -> Span:
    return Span(_start(token), _end(token))


@dataclass(frozen=True, slots=True)
class _Args:
    exprs: tuple[ast.Expr, ...]
    end: int


@dataclass(frozen=True, slots=True)
class _Labels:
    names: tuple[str, ...]
    end: int


@dataclass(frozen=True, slots=True)
class _Grouping:
    without: bool
    labels: _Labels


@dataclass(frozen=True, slots=True)
class _Modifiers:
    matching: ast.Matching
    return_bool: bool


_DurationNode = ast.NumberLiteral | ast.DurationOp
_Modified = ast.VectorSelector | ast.MatrixSelector | ast.Subquery


@v_args(inline=True)
class AstBuilder(Transformer[Token, ast.Expr]):
    """Lark's reductions to `promql.ast`, one method a grammar rule; types are checked later."""

    def start(self, expr: ast.Expr) -> ast.Expr:
        return expr

    # Literals.

    def number(self, token: Token) -> ast.NumberLiteral:
        try:
            return ast.NumberLiteral(parse_number(token), span=_span(token))
        except ValueError:
            raise SpannedError(f'error parsing number: "{token}"', _span(token)) from None

    def duration_number(self, token: Token) -> ast.NumberLiteral:
        try:
            seconds = parse_duration_ms(token) / 1000
        except ValueError as error:
            raise SpannedError(str(error), _span(token)) from None
        return ast.NumberLiteral(seconds, is_duration=True, span=_span(token))

    def literal(self, number: ast.NumberLiteral) -> ast.NumberLiteral:
        return number

    def string(self, token: Token) -> ast.StringLiteral:
        try:
            return ast.StringLiteral(unquote(token), span=_span(token))
        except ValueError as error:
            raise SpannedError(str(error), _span(token)) from None

    # Operators.

    def paren(self, left: Token, expr: ast.Expr, right: Token) -> ast.Paren:
        return ast.Paren(expr, span=Span(_start(left), _end(right)))

    def unary(self, sign: Token, expr: ast.Expr) -> ast.Expr:
        span = Span(_start(sign), expr.span.end)
        if isinstance(expr, ast.NumberLiteral):
            value = -expr.value if sign == "-" else expr.value
            return ast.NumberLiteral(value, expr.is_duration, span=span)
        return ast.Unary(str(sign), expr, span=span)

    def binary(
        self, left: ast.Expr, op: Token, modifiers: _Modifiers, right: ast.Expr
    ) -> ast.Binary:
        return ast.Binary(
            str(op).lower(),
            left,
            right,
            modifiers.matching,
            modifiers.return_bool,
            span=Span(left.span.start, right.span.end),
        )

    def modifiers(
        self, return_bool: bool, matching: ast.Matching, fill: tuple[float | None, float | None]
    ) -> _Modifiers:
        left, right = fill
        if left is not None or right is not None:
            matching = replace(matching, fill_left=left, fill_right=right)
        return _Modifiers(matching, return_bool)

    def bool_modifier(self, token: Token | None) -> bool:
        return token is not None

    def on_modifier(
        self,
        keyword: Token | None,
        labels: _Labels | None,
        group: Token | None,
        include: _Labels | None,
    ) -> ast.Matching:
        if keyword is None or labels is None:
            return _ONE_TO_ONE
        card = ast.Card.ONE_TO_ONE
        if group is not None:
            many_left = group.type == "GROUP_LEFT"
            card = ast.Card.MANY_TO_ONE if many_left else ast.Card.ONE_TO_MANY
        return ast.Matching(
            card, keyword.type == "ON", labels.names, include.names if include else ()
        )

    def fill_modifier(self, *parts: Token | float | None) -> tuple[float | None, float | None]:
        left: float | None = None
        right: float | None = None
        present = [part for part in parts if part is not None]
        for keyword, value in zip(present[::2], present[1::2], strict=True):
            assert isinstance(keyword, Token)
            assert isinstance(value, float)
            if keyword.type in {"FILL", "FILL_LEFT"}:
                left = value
            if keyword.type in {"FILL", "FILL_RIGHT"}:
                right = value
        return left, right

    def fill_value(
        self, _left: Token, sign: Token | None, number: ast.NumberLiteral, _right: Token
    ) -> float:
        if math.isnan(number.value):
            return math.nan  # This very object, so that equal trees compare equal.
        return -number.value if sign == "-" else number.value

    # Selectors and their modifiers.

    def name_selector(self, name: Token) -> ast.VectorSelector:
        return ast.VectorSelector(str(name), (_name_matcher(str(name)),), span=_span(name))

    def brace_selector(self, name: Token | None, *parts: Token | Matcher | None) -> ast.Expr:
        left, right = parts[0], parts[-1]
        assert isinstance(left, Token)
        assert isinstance(right, Token)
        matchers = [part for part in parts if isinstance(part, Matcher)]
        span = Span(_start(left if name is None else name), _end(right))
        if name is not None:
            return ast.VectorSelector(str(name), (*matchers, _name_matcher(str(name))), span=span)
        return ast.VectorSelector("", tuple(matchers), span=span)

    def label_matcher(self, name: Token, op: Token, value: Token) -> Matcher:
        label = _unquoted(name) if name.type == "STRING" else str(name)
        return Matcher(MatchOp(str(op)), label, _unquoted(value))

    def name_matcher(self, name: Token) -> Matcher:
        return _name_matcher(_unquoted(name))

    def matrix(
        self, expr: ast.Expr, left: Token, duration: _DurationNode, right: Token
    ) -> ast.MatrixSelector:
        brackets = Span(_start(left), _end(right))
        if not isinstance(expr, ast.VectorSelector):
            raise SpannedError("ranges only allowed for vector selectors", brackets)
        if expr.offset != 0:
            raise SpannedError("no offset modifiers allowed before range", brackets)
        if expr.at is not None:
            raise SpannedError("no @ modifiers allowed before range", brackets)
        span = Span(expr.span.start, brackets.end)
        return ast.MatrixSelector(expr, _positive(duration), span=span)

    def subquery(
        self,
        expr: ast.Expr,
        _left: Token,
        duration: _DurationNode,
        _colon: Token,
        step: _DurationNode | None,
        right: Token,
    ) -> ast.Subquery:
        return ast.Subquery(
            expr,
            _positive(duration),
            None if step is None else _positive(step),
            span=Span(expr.span.start, _end(right)),
        )

    def offset(self, expr: ast.Expr, _offset: Token, duration: _DurationNode) -> ast.Expr:
        target = _modifiable(expr, "offset modifier")
        carrier = target.selector if isinstance(target, ast.MatrixSelector) else target
        if carrier.offset != 0:
            raise SpannedError("offset may not be set multiple times", expr.span)
        value = _milliseconds(duration)
        span = Span(expr.span.start, duration.span.end)
        if isinstance(target, ast.MatrixSelector):
            return replace(target, selector=replace(target.selector, offset=value), span=span)
        return replace(target, offset=value, span=span)

    def at_time(
        self, expr: ast.Expr, _at: Token, sign: Token | None, number: ast.NumberLiteral
    ) -> ast.Expr:
        seconds = -number.value if sign == "-" else number.value
        if not math.isfinite(seconds) or abs(seconds) >= 1 << 63:
            message = f"timestamp out of bounds for @ modifier: {seconds:f}"
            raise SpannedError(message, expr.span)
        return _with_at(expr, round(seconds * 1000), number.span.end)

    def at_anchor(
        self, expr: ast.Expr, _at: Token, anchor: Token, _left: Token, right: Token
    ) -> ast.Expr:
        return _with_at(expr, ast.AtAnchor(str(anchor).lower()), _end(right))

    def anchored(self, expr: ast.Expr, token: Token) -> ast.Expr:
        return _with_boundary(expr, token)

    def smoothed(self, expr: ast.Expr, token: Token) -> ast.Expr:
        return _with_boundary(expr, token)

    # Aggregations and calls.

    def aggregate_before(self, op: Token, grouping: _Grouping, args: _Args) -> ast.Aggregate:
        return _aggregate(op, grouping, args, args.end)

    def aggregate_after(self, op: Token, args: _Args, grouping: _Grouping | None) -> ast.Aggregate:
        return _aggregate(op, grouping, args, grouping.labels.end if grouping else args.end)

    def grouping(self, keyword: Token, labels: _Labels) -> _Grouping:
        return _Grouping(keyword.type == "WITHOUT", labels)

    def call(self, name: Token, args: _Args) -> ast.Call:
        function = str(name) if name.type == "IDENTIFIER" else str(name).lower()
        return ast.Call(function, args.exprs, span=Span(_start(name), args.end))

    def args(self, *parts: Token | ast.Expr | None) -> _Args:
        right = parts[-1]
        assert isinstance(right, Token)
        exprs = [p for p in parts if p is not None and not isinstance(p, Token)]
        return _Args(tuple(exprs), _end(right))

    def labels(self, *parts: Token | None) -> _Labels:
        right = parts[-1]
        assert right is not None
        names = [p for p in parts if p is not None and p.type not in {"LPAREN", "COMMA", "RPAREN"}]
        return _Labels(tuple(_label_name(name) for name in names), _end(right))

    # Durations.

    def duration_sign(self, sign: Token, node: _DurationNode) -> _DurationNode:
        span = Span(_start(sign), node.span.end)
        if isinstance(node, ast.NumberLiteral):
            value = -node.value if sign == "-" else node.value
            return replace(node, value=value, span=span)
        return ast.DurationOp("-", None, node, span=span) if sign == "-" else node

    def duration_binary(
        self, left: _DurationNode, op: Token, right: _DurationNode
    ) -> ast.DurationOp:
        if op in {"/", "%"} and isinstance(right, ast.NumberLiteral) and right.value == 0:
            what = "division" if op == "/" else "modulo"
            raise SpannedError(f"{what} by zero", _span(op))
        return ast.DurationOp(str(op), left, right, span=Span(left.span.start, right.span.end))

    def duration_name(self, name: Token, _left: Token, right: Token) -> ast.DurationOp:
        return ast.DurationOp(str(name).lower(), span=Span(_start(name), _end(right)))

    def duration_extreme(
        self,
        name: Token,
        _open: Token,
        left: _DurationNode,
        _comma: Token,
        right: _DurationNode,
        close: Token,
    ) -> ast.DurationOp:
        return ast.DurationOp(str(name).lower(), left, right, span=Span(_start(name), _end(close)))

    def duration_paren(self, left: Token, node: _DurationNode, right: Token) -> ast.DurationOp:
        span = Span(_start(left), _end(right))
        if isinstance(node, ast.NumberLiteral):
            return ast.DurationOp("+", None, node, wrapped=True, span=span)
        return replace(node, wrapped=True, span=span)


_ONE_TO_ONE: Final = ast.Matching()


def _unquoted(token: Token) -> str:
    try:
        return to_valid_text(unquote(token))
    except ValueError as error:
        raise SpannedError(str(error), _span(token)) from None


def _name_matcher(name: str) -> Matcher:
    return Matcher(MatchOp.EQUAL, METRIC_NAME, name)


def _label_name(token: Token) -> str:
    name = _unquoted(token) if token.type == "STRING" else str(token)
    if not name or (":" in name and token.type != "STRING"):
        raise SpannedError(f'invalid label name for grouping: "{name}"', _span(token))
    return name


def _milliseconds(node: _DurationNode) -> ast.Duration:
    """A literal's milliseconds, or the operation as it is."""
    if isinstance(node, ast.DurationOp):
        return node
    if not math.isfinite(node.value) or abs(node.value) > (1 << 63) / 1e9:
        raise SpannedError("duration out of range", node.span)
    return round(node.value * 1000)


def _positive(node: _DurationNode) -> ast.Duration:
    if isinstance(node, ast.NumberLiteral) and node.value <= 0:
        raise SpannedError("duration must be greater than 0", node.span)
    return _milliseconds(node)


def _modifiable(expr: ast.Expr, modifier: str) -> _Modified:
    if isinstance(expr, ast.VectorSelector | ast.MatrixSelector | ast.Subquery):
        return expr
    raise SpannedError(
        f"{modifier} must be preceded by an instant vector selector or range vector selector "
        "or a subquery",
        expr.span,
    )


def _with_at(expr: ast.Expr, at: ast.At, end: int) -> ast.Expr:
    target = _modifiable(expr, "@ modifier")
    carrier = target.selector if isinstance(target, ast.MatrixSelector) else target
    if carrier.at is not None:
        raise SpannedError("@ <timestamp> may not be set multiple times", expr.span)
    span = Span(expr.span.start, end)
    if isinstance(target, ast.MatrixSelector):
        return replace(target, selector=replace(target.selector, at=at), span=span)
    return replace(target, at=at, span=span)


def _with_boundary(expr: ast.Expr, token: Token) -> ast.Expr:
    name = token.type.lower()
    if isinstance(expr, ast.Subquery):
        raise SpannedError(f"{name} modifier is not supported for subqueries", expr.span)
    if not isinstance(expr, ast.VectorSelector | ast.MatrixSelector):
        raise SpannedError(f"{name} modifier not implemented", expr.span)
    selector = expr.selector if isinstance(expr, ast.MatrixSelector) else expr
    other = selector.smoothed if name == "anchored" else selector.anchored
    if other:
        message = "anchored and smoothed modifiers cannot be used together"
        raise SpannedError(message, expr.span)
    span = Span(expr.span.start, _end(token))
    if name == "anchored":
        selector = replace(selector, anchored=True)
    else:
        selector = replace(selector, smoothed=True)
    if isinstance(expr, ast.MatrixSelector):
        return replace(expr, selector=selector, span=span)
    return replace(selector, span=span)


def _aggregate(op: Token, grouping: _Grouping | None, args: _Args, end: int) -> ast.Aggregate:
    name = str(op).lower()
    span = Span(_start(op), end)
    wanted = 2 if name in ast.AGGREGATIONS_WITH_PARAM else 1
    if not args.exprs:
        raise SpannedError("no arguments for aggregate expression provided", span)
    if len(args.exprs) != wanted:
        raise SpannedError(
            "wrong number of arguments for aggregate expression provided, "
            f"expected {wanted}, got {len(args.exprs)}",
            span,
        )
    return ast.Aggregate(
        name,
        args.exprs[-1],
        args.exprs[0] if wanted == 2 else None,
        grouping.labels.names if grouping else (),
        grouping is not None and grouping.without,
        span=span,
    )
