"""What a query's parts may be: types of operators, and limits.

An attribute can be of any type, so that only constants and intrinsics tell before a query runs.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from obsd.model.regex import InvalidRegexError, compile_anchored
from obsd.model.span import SpanKind, StatusCode
from obsd.traceql import ast
from obsd.traceql.errors import TraceqlParseError
from obsd.traceql.lexer import error_at
from obsd.traceql.printer import print_field, print_named
from obsd.traceql.value import Duration

Type = Literal["any", "string", "int", "float", "bool", "duration", "status", "kind"]

MAX_DEPTH: Final = 200
MAX_COMPARE_VALUES: Final = 1000  # As Tempo has it.

_NUMERIC: Final = frozenset({"int", "float", "duration"})
_INTRINSIC_TYPES: Final[dict[str, Type]] = {
    "status": "status",
    "kind": "kind",
    "duration": "duration",
    "traceDuration": "duration",
    "event:timeSinceStart": "duration",
    "nestedSetParent": "int",
    "nestedSetLeft": "int",
    "nestedSetRight": "int",
    "span:childCount": "int",
}


def type_of(expr: ast.FieldExpr) -> Type:
    """What a value of an expression is, as far as that is known without a span."""
    match expr:
        case ast.Attribute() | ast.Nil():
            return "any"
        case ast.Intrinsic(name):
            return _INTRINSIC_TYPES.get(name, "string")
        case ast.Static(value):
            return _constant_type(value)
        case ast.Exists() | ast.Not() | ast.Logical():
            return "bool"
        case ast.Negative(of):
            return type_of(of)
        case ast.Binary(op, left, right):
            if op not in ast.ARITHMETIC:
                return "bool"
            known = type_of(left)
            return type_of(right) if known == "any" else known


def _constant_type(value: ast.Constant) -> Type:
    match value:
        case bool():
            return "bool"
        case StatusCode():
            return "status"
        case SpanKind():
            return "kind"
        case Duration():
            return "duration"
        case int():
            return "int"
        case float():
            return "float"
    return "string"


def refers_to_span(expr: ast.FieldExpr) -> bool:
    """Whether there is a field of the span in it."""
    match expr:
        case ast.Attribute() | ast.Intrinsic():
            return True
        case ast.Static() | ast.Nil():
            return False
        case ast.Exists(of) | ast.Not(of) | ast.Negative(of):
            return refers_to_span(of)
        case ast.Binary(_, left, right):
            return refers_to_span(left) or refers_to_span(right)
        case ast.Logical(_, of):
            return any(map(refers_to_span, of))


def check(query: ast.Query, text: str) -> None:
    """Look at every part of a query.

    Raises:
        TraceqlParseError: what cannot mean anything, and where.
    """
    _check_depth(query, text)
    checker = _Checker(text)
    if isinstance(query.expr, ast.Pipeline):
        checker.pipeline(query.expr)
    else:
        checker.metrics(query.expr)


def _check_depth(query: ast.Query, text: str) -> None:
    """Whoever walks the tree later may recurse."""
    rest: list[tuple[Any, int]] = [(query.expr, 1)]
    while rest:
        node, depth = rest.pop()
        if isinstance(node, tuple):
            rest += [(each, depth) for each in node]
            continue
        if not hasattr(node, "span"):
            continue
        if depth > MAX_DEPTH:
            raise error_at(text, node.span.start, "the query is nested too deeply")
        rest += [
            (getattr(node, name), depth + 1) for name in type(node).__slots__ if name != "span"
        ]


class _Checker:
    def __init__(self, text: str) -> None:
        self._text = text

    def _error(self, span: ast.Span, message: str) -> TraceqlParseError:
        return error_at(self._text, span.start, message)

    # Fields

    def field(self, expr: ast.FieldExpr) -> None:
        match expr:
            case ast.Exists(of, negated, span):
                self.field(of)
                if negated and isinstance(of, ast.Intrinsic):
                    shown = print_named(of)
                    raise self._error(span, f"{shown} = nil is never true: an intrinsic is there")
            case ast.Not(of, span):
                self.field(of)
                if type_of(of) not in {"any", "bool"}:
                    raise self._illegal(span, expr)
            case ast.Negative(of, span):
                self.field(of)
                if type_of(of) not in {"any", *_NUMERIC}:
                    raise self._illegal(span, expr)
            case ast.Binary():
                self.field(expr.left)
                self.field(expr.right)
                self._binary(expr)
            case ast.Logical(_, operands):
                for each in operands:
                    self.field(each)
                    if type_of(each) not in {"any", "bool"}:
                        message = f"{print_field(each)} is neither true nor false"
                        raise self._error(each.span, message)

    def _illegal(self, span: ast.Span, expr: ast.FieldExpr) -> TraceqlParseError:
        shown = print_field(expr)
        return self._error(span, f"illegal operation for the given type: {shown}")

    def _binary(self, expr: ast.Binary) -> None:
        left, right = type_of(expr.left), type_of(expr.right)
        if expr.op in {"=~", "!~"}:
            self._regex(expr)
        if "any" not in {left, right} and left != right and not {left, right} <= _NUMERIC:
            shown = print_field(expr)
            message = f"binary operations must operate on the same type: {shown}"
            raise self._error(expr.span, message)
        if not (_takes(expr.op, left) and _takes(expr.op, right)):
            shown = print_field(expr)
            raise self._error(expr.span, f"illegal operation for the given types: {shown}")

    def _regex(self, expr: ast.Binary) -> None:
        if not isinstance(expr.right, ast.Static) or not isinstance(expr.right.value, str):
            message = f"{expr.op} takes a text to its right: {print_field(expr)}"
            raise self._error(expr.right.span, message)
        try:
            compile_anchored(expr.right.value)
        except InvalidRegexError as error:
            raise self._error(expr.right.span, f"invalid regex: {error}") from None

    def _of_span(self, expr: ast.FieldExpr, what: str) -> None:
        self.field(expr)
        if not refers_to_span(expr):
            message = f"{what} must reference the span: {print_field(expr)}"
            raise self._error(expr.span, message)

    # Sets of spans

    def pipeline(self, pipeline: ast.Pipeline) -> None:
        if isinstance(pipeline.stages[0], ast.Coalesce):
            raise self._error(pipeline.stages[0].span, "coalesce() cannot be the first stage")
        for stage in pipeline.stages:
            self.stage(stage)

    def stage(self, stage: ast.Stage) -> None:
        match stage:
            case ast.SpansetFilter():
                self._filter(stage)
            case ast.SpansetLogical(_, operands):
                for each in operands:
                    self.stage(each)
            case ast.Structural(_, left, right):
                self.stage(left)
                self.stage(right)
            case ast.Pipeline():
                self.pipeline(stage)
            case ast.ScalarFilter(_, left_number, right_number):
                self.scalar(left_number)
                self.scalar(right_number)
            case ast.GroupBy(of):
                self._of_span(of, "grouping field expressions")

    def _filter(self, spans: ast.SpansetFilter) -> None:
        self.field(spans.condition)
        if type_of(spans.condition) not in {"any", "bool"}:
            shown = print_field(spans.condition)
            message = f"a filter's expression must be true or false: {shown}"
            raise self._error(spans.condition.span, message)

    def scalar(self, scalar: ast.ScalarExpr) -> None:
        match scalar:
            case ast.Aggregate(_, of) if of is not None:
                self._of_span(of, "aggregate field expressions")
                if type_of(of) not in {"any", *_NUMERIC}:
                    message = f"{scalar.op}() takes numbers and durations: {print_field(of)}"
                    raise self._error(of.span, message)
            case ast.PipelineScalar(pipeline, aggregate):
                self.pipeline(pipeline)
                self.scalar(aggregate)
            case ast.ScalarArithmetic(_, left, right):
                self.scalar(left)
                self.scalar(right)

    # Metrics

    def metrics(self, expr: ast.MetricsExpr | float) -> None:
        match expr:
            case ast.MetricsPipeline(pipeline, aggregate):
                self.pipeline(pipeline)
                if isinstance(aggregate, ast.Compare):
                    self._compare(aggregate)
                else:
                    self._aggregate(aggregate)
            case ast.MetricsStages(of, stages):
                self._no_compare(of)
                self.metrics(of)
                for stage in stages:
                    if isinstance(stage, ast.TopK) and stage.count <= 0:
                        raise self._error(stage.span, "limit must be greater than 0")
            case ast.MetricsMath(_, left, right):
                for side in (left, right):
                    self._no_compare(side)
                    self.metrics(side)

    def _no_compare(self, expr: ast.MetricsExpr | float) -> None:
        if isinstance(expr, ast.MetricsPipeline) and isinstance(expr.aggregate, ast.Compare):
            message = "compare() cannot be used with functions of metrics or arithmetic"
            raise self._error(expr.aggregate.span, message)

    def _aggregate(self, aggregate: ast.MetricsAggregate) -> None:
        buckets = aggregate.op in {"histogram_over_time", "quantile_over_time"}
        limit = ast.MAX_GROUPS - 1 if buckets else ast.MAX_GROUPS
        if len(aggregate.by) > limit:
            message = f"metrics group by at most {limit} fields, not {len(aggregate.by)}"
            raise self._error(aggregate.span, message)
        if aggregate.of is not None and type_of(aggregate.of) not in {"any", *_NUMERIC}:
            message = f"{aggregate.op}() takes numbers and durations: {print_named(aggregate.of)}"
            raise self._error(aggregate.of.span, message)
        for quantile in aggregate.quantiles:
            if not 0 <= quantile <= 1:
                message = f"quantile must be between 0 and 1: {quantile}"
                raise self._error(aggregate.span, message)

    def _compare(self, compare: ast.Compare) -> None:
        self._filter(compare.selection)
        if not 1 <= compare.top <= MAX_COMPARE_VALUES:
            message = (
                "compare() top number of values must be an integer between 1 and "
                f"{MAX_COMPARE_VALUES}"
            )
            raise self._error(compare.span, message)
        if (compare.start_ns or compare.end_ns) and not 0 < compare.start_ns < compare.end_ns:
            message = "compare() end timestamp must be greater than start timestamp"
            raise self._error(compare.span, message)


def _takes(op: str, kind: Type) -> bool:
    if kind == "any":
        return True
    if op in {"=", "!="}:
        return True
    if op in {"=~", "!~"}:
        return kind == "string"
    if op in ast.ARITHMETIC:
        return kind in _NUMERIC
    return kind in _NUMERIC or kind == "string"
