"""The types of a tree, as Prometheus checks them, and what only they decide: how vectors match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from typing import NoReturn

from obsd.model.go_strings import quote
from obsd.model.labels import METRIC_NAME
from obsd.model.matcher import Matcher, MatchOp
from obsd.model.regex import InvalidRegexError, compile_anchored
from obsd.promql import ast
from obsd.promql.ast import Span, ValueType
from obsd.promql.functions import FUNCTIONS
from obsd.promql.spanned_error import SpannedError


def check(expr: ast.Expr, text: str) -> ast.Expr:
    """The tree with `matching` settled, or None where a side is a scalar.

    Raises:
        SpannedError: what is wrong, and where.
    """
    return _Checker(text).check(expr)


def type_of(expr: ast.Expr) -> ValueType:
    """What a checked expression evaluates to."""
    match expr:
        case ast.NumberLiteral():
            return ValueType.SCALAR
        case ast.StringLiteral():
            return ValueType.STRING
        case ast.VectorSelector() | ast.Aggregate():
            return ValueType.VECTOR
        case ast.MatrixSelector() | ast.Subquery():
            return ValueType.MATRIX
        case ast.Call(function=function):
            return FUNCTIONS[function].returns
        case ast.Unary(expr=inner) | ast.Paren(expr=inner):
            return type_of(inner)
        case ast.Binary(left=left, right=right):
            scalar = type_of(left) is type_of(right) is ValueType.SCALAR
            return ValueType.SCALAR if scalar else ValueType.VECTOR


class _Checker:
    def __init__(self, text: str) -> None:
        self._text = text

    def check(self, expr: ast.Expr) -> ast.Expr:
        match expr:
            case ast.NumberLiteral() | ast.StringLiteral():
                return expr
            case ast.VectorSelector():
                return _check_selector(expr)
            case ast.MatrixSelector(selector=selector):
                _check_selector(selector)
                return expr
            case ast.Subquery(expr=inner):
                checked = self.check(inner)
                kind = type_of(checked)
                if kind is not ValueType.VECTOR:
                    _fail(
                        f"subquery is only allowed on instant vector, got {kind.value} instead",
                        expr.span,
                    )
                return replace(expr, expr=checked)
            case ast.Paren(expr=inner):
                return replace(expr, expr=self.check(inner))
            case ast.Unary(expr=inner):
                checked = self.check(inner)
                kind = type_of(checked)
                if kind not in {ValueType.SCALAR, ValueType.VECTOR}:
                    _fail(
                        "unary expression only allowed on expressions of type scalar or instant "
                        f'vector, got "{kind.value}"',
                        expr.span,
                    )
                return replace(expr, expr=checked)
            case ast.Call():
                return self._check_call(expr)
            case ast.Aggregate():
                return self._check_aggregate(expr)
            case ast.Binary():
                return self._check_binary(expr)

    def _check_call(self, call: ast.Call) -> ast.Call:
        signature = FUNCTIONS.get(call.function)
        if signature is None:
            _fail(_unknown_function(call.function), call.span)
        _check_arg_count(call)
        args = []
        for i, arg in enumerate(call.args):
            if call.function == "info" and i == 1:
                args.append(_check_info_selector(arg))
                continue
            checked = self.check(arg)
            wanted = signature.args[min(i, len(signature.args) - 1)]
            self._expect(checked, wanted, f'call to function "{call.function}"')
            args.append(checked)
        return replace(call, args=tuple(args))

    def _check_aggregate(self, node: ast.Aggregate) -> ast.Aggregate:
        expr = self.check(node.expr)
        self._expect(expr, ValueType.VECTOR, "aggregation expression")
        if node.param is None:
            return replace(node, expr=expr)
        param = self.check(node.param)
        wanted = ValueType.STRING if node.op == "count_values" else ValueType.SCALAR
        self._expect(param, wanted, "aggregation parameter")
        return replace(node, expr=expr, param=param)

    def _expect(self, expr: ast.Expr, wanted: ValueType, context: str) -> None:
        kind = type_of(expr)
        if kind is not wanted:
            _fail(f"expected type {wanted.value} in {context}, got {kind.value}", expr.span)

    def _check_binary(self, node: ast.Binary) -> ast.Binary:
        left, right = self.check(node.left), self.check(node.right)
        matching = node.matching or ast.Matching()
        kinds = (type_of(left), type_of(right))
        if node.return_bool and node.op not in ast.COMPARISONS:
            _fail(
                "bool modifier can only be used on comparison operators", self._operator_span(node)
            )
        both_scalar = kinds == (ValueType.SCALAR, ValueType.SCALAR)
        if node.op in ast.COMPARISONS and not node.return_bool and both_scalar:
            _fail("comparisons between scalars must use BOOL modifier", self._operator_span(node))
        for name in matching.labels:
            if matching.on and name in matching.include:
                _fail(
                    f"label {quote(name)} must not occur in ON and GROUP clause at once",
                    self._operator_span(node),
                )
        for side, kind in ((left, kinds[0]), (right, kinds[1])):
            if kind not in {ValueType.SCALAR, ValueType.VECTOR}:
                _fail(
                    "binary expression must contain only scalar and instant vector types",
                    side.span,
                )
        if kinds != (ValueType.VECTOR, ValueType.VECTOR):
            _check_scalar_sides(node, matching)
            return replace(node, left=left, right=right, matching=None)
        if node.op in ast.SET_OPERATORS:
            matching = _check_set_operator(node, matching)
        return replace(node, left=left, right=right, matching=matching)

    def _operator_span(self, node: ast.Binary) -> Span:
        start, end = node.left.span.end, node.right.span.start
        between = self._text[start:end]
        return Span(start + len(between) - len(between.lstrip()), end)


def _fail(message: str, span: Span) -> NoReturn:
    raise SpannedError(message, span)


def _check_selector(node: ast.VectorSelector) -> ast.VectorSelector:
    matchers = node.matchers
    if node.name:
        for matcher in matchers[:-1]:
            if matcher.name == METRIC_NAME:
                _fail(
                    f"metric name must not be set twice: {quote(node.name)} or "
                    f"{quote(matcher.value)}",
                    node.span,
                )
    _check_regexes(matchers, node.span)
    if not node.name and all(_matches_empty(matcher) for matcher in matchers):
        _fail("vector selector must contain at least one non-empty matcher", node.span)
    return node


def _check_regexes(matchers: Iterable[Matcher], span: Span) -> None:
    for matcher in matchers:
        if matcher.op in {MatchOp.REGEX, MatchOp.NOT_REGEX}:
            try:
                compile_anchored(matcher.value)
            except InvalidRegexError as error:
                _fail(str(error), span)


def _matches_empty(matcher: Matcher) -> bool:
    match matcher.op:
        case MatchOp.EQUAL:
            return not matcher.value
        case MatchOp.NOT_EQUAL:
            return bool(matcher.value)
        case MatchOp.REGEX:
            return compile_anchored(matcher.value).matches("")
        case MatchOp.NOT_REGEX:
            return not compile_anchored(matcher.value).matches("")


def _check_info_selector(arg: ast.Expr) -> ast.Expr:
    if not isinstance(arg, ast.VectorSelector):
        _fail("expected label selectors only", arg.span)
    if arg.name:
        _fail("expected label selectors only, got vector selector instead", arg.span)
    _check_regexes(arg.matchers, arg.span)
    return arg


def _unknown_function(name: str) -> str:
    message = f"unknown function with name {quote(name)}"
    near = difflib.get_close_matches(name.lower(), [*FUNCTIONS, *ast.AGGREGATIONS], n=1, cutoff=0.7)
    return f"{message}, did you mean {quote(near[0])}?" if near else message


def _check_arg_count(call: ast.Call) -> None:
    signature, got = FUNCTIONS[call.function], len(call.args)
    wanted, name = len(signature.args), quote(call.function)
    if signature.variadic == 0:
        if got != wanted:
            _fail(f"expected {wanted} argument(s) in call to {name}, got {got}", call.span)
        return
    least = wanted - 1
    if got < least:
        _fail(f"expected at least {least} argument(s) in call to {name}, got {got}", call.span)
    most = least + signature.variadic
    if signature.variadic > 0 and got > most:
        _fail(f"expected at most {most} argument(s) in call to {name}, got {got}", call.span)


def _check_scalar_sides(node: ast.Binary, matching: ast.Matching) -> None:
    if node.op in ast.SET_OPERATORS:
        _fail(f"set operator {quote(node.op)} not allowed in binary scalar expression", node.span)
    if matching.labels:
        _fail("vector matching only allowed between instant vectors", node.span)
    if matching.fill_left is not None or matching.fill_right is not None:
        _fail("filling in missing series only allowed between instant vectors", node.span)


def _check_set_operator(node: ast.Binary, matching: ast.Matching) -> ast.Matching:
    if matching.card is not ast.Card.ONE_TO_ONE:
        _fail(f"no grouping allowed for {quote(node.op)} operation", node.span)
    if matching.fill_left is not None or matching.fill_right is not None:
        _fail("filling in missing series not allowed for set operators", node.span)
    return replace(matching, card=ast.Card.MANY_TO_MANY)
