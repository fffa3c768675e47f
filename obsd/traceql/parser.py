"""TraceQL text to a checked syntax tree, by recursive descent.

One loop over operators reads sets of spans, numbers of sets, and metrics, since all of them can
stand in parentheses; what an operator takes is decided by what its sides turn out to be.

https://grafana.com/docs/tempo/latest/traceql/
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, cast

from obsd.traceql import ast, lexer
from obsd.traceql.ast import Span
from obsd.traceql.check import check
from obsd.traceql.errors import TraceqlParseError
from obsd.traceql.field_parser import PRECEDENCE, FieldParser
from obsd.traceql.lexer import END, FLOAT, INTEGER, WORD, Token, error_at
from obsd.traceql.token_stream import TokenStream, did_you_mean
from obsd.traceql.value import Duration, combine, negated

CACHED_QUERIES: Final = 4096
MAX_CACHED_LENGTH: Final = 10_000
MAX_QUERY_LENGTH: Final = 131_072  # As Tempo has it.

_LEVELS: Final = {**PRECEDENCE, **dict.fromkeys(ast.STRUCTURAL, 2)}
_AGGREGATES: Final = frozenset({"count", "avg", "min", "max", "sum"})
_STAGES: Final = frozenset({"by", "select", "coalesce"})
_SECOND: Final = frozenset({"topk", "bottomk"})
_METRICS: Final = ast.METRICS | {"compare"}
_FUNCTIONS: Final = _AGGREGATES | _STAGES | _SECOND | _METRICS | {"with"}
_SPANSETS: Final = (ast.SpansetFilter, ast.SpansetLogical, ast.Structural, ast.Pipeline)
_SCALARS: Final = (ast.Aggregate, ast.PipelineScalar, ast.ScalarArithmetic, ast.Static)
_METRIC_NODES: Final = (ast.MetricsPipeline, ast.MetricsStages, ast.MetricsMath)
_NS_IN_S: Final = 1_000_000_000

_Node = ast.Stage | ast.ScalarExpr | ast.MetricsExpr


def parse(text: str) -> ast.Query:
    """The checked tree of a query; repeated queries cost a dictionary lookup.

    Raises:
        TraceqlParseError: where and why the text is no TraceQL.
    """
    return _parse(text) if len(text) > MAX_CACHED_LENGTH else _cached_parse(text)


def parse_field(text: str) -> ast.Named:
    """An attribute or an intrinsic alone, as names of tags have it.

    Raises:
        TraceqlParseError: it is something else.
    """
    stream = _open(text)
    named = FieldParser(stream).named()
    if stream.peek().kind != END:
        raise stream.unexpected()
    return named


def _open(text: str) -> TokenStream:
    if len(text) > MAX_QUERY_LENGTH:
        message = f"the query is too long ({len(text)} of at most {MAX_QUERY_LENGTH} characters)"
        raise error_at(text, 0, message)
    return TokenStream(text, lexer.tokens(text))


def _parse(text: str) -> ast.Query:
    stream = _open(text)
    query = _Parser(stream).query()
    check(query, text)
    return query


_cached_parse = lru_cache(maxsize=CACHED_QUERIES)(_parse)


class _Parser:
    def __init__(self, stream: TokenStream) -> None:
        self._tokens = stream
        self._fields = FieldParser(stream)

    def query(self) -> ast.Query:
        first = self._tokens.peek()
        root = self._pipe()
        hints: tuple[tuple[str, ast.Constant], ...] = ()
        while self._tokens.take_word("with"):
            hints = self._hints()
        if self._tokens.peek().kind != END:
            raise self._tokens.unexpected()
        if isinstance(root, ast.Pipeline | ast.MetricsPipeline | ast.MetricsStages):
            return ast.Query(root, hints)
        if isinstance(root, ast.MetricsMath):
            return ast.Query(root, hints)
        if isinstance(root, _SCALARS):
            raise self._tokens.error(first, "a number alone is no query: compare it with another")
        return ast.Query(ast.Pipeline((root,), self._tokens.since(first.span.start)), hints)

    def _hints(self) -> tuple[tuple[str, ast.Constant], ...]:
        self._tokens.expect("(")
        hints: list[tuple[str, ast.Constant]] = []
        while True:
            name = self._tokens.expect(WORD).text
            self._tokens.expect("=")
            value = self._fields.constant()
            if value is None:
                raise self._tokens.unexpected()
            hints.append((name, value.value))
            if self._tokens.expect(",", ")").kind == ")":
                return tuple(hints)

    # Pipelines

    def _pipe(self) -> _Node:
        """Stages up to the end or a parenthesis; one stage alone is itself."""
        start = self._tokens.peek().span.start
        first = self._stage()
        if isinstance(first, _METRIC_NODES):
            return self._second_stages(first, start)
        stages: list[ast.Stage] = []
        node: _Node = first
        while self._tokens.peek().kind == "|":
            stages.append(self._as_stage(node))
            self._tokens.next()
            if self._tokens.is_call(_METRICS):
                return self._metrics(tuple(stages), start)
            node = self._stage()
            if isinstance(node, _METRIC_NODES):
                raise self._tokens.unexpected()
        if not stages:
            return node
        if isinstance(node, ast.Aggregate) and self._tokens.peek().kind == ")":
            pipeline = ast.Pipeline(tuple(stages), self._tokens.since(start))
            return ast.PipelineScalar(pipeline, node, pipeline.span)
        stages.append(self._as_stage(node))
        return ast.Pipeline(tuple(stages), self._tokens.since(start))

    def _as_stage(self, node: _Node) -> ast.Stage:
        if isinstance(node, _SCALARS):
            raise self._tokens.error(node.span, "a number is no stage: compare it with another")
        assert not isinstance(node, _METRIC_NODES)
        return node

    def _stage(self) -> _Node:
        token = self._tokens.peek()
        if not self._tokens.is_call(_STAGES):
            return self._expr()
        self._tokens.next()
        self._tokens.expect("(")
        if token.text == "by":
            of = self._fields.expr()
            self._tokens.expect(")")
            return ast.GroupBy(of, self._tokens.since(token.span.start))
        if token.text == "select":
            fields = self._field_list()
            return ast.Select(fields, self._tokens.since(token.span.start))
        self._tokens.expect(")")
        return ast.Coalesce(self._tokens.since(token.span.start))

    def _field_list(self) -> tuple[ast.Named, ...]:
        fields: list[ast.Named] = []
        while True:
            fields.append(self._fields.named())
            if self._tokens.expect(",", ")").kind == ")":
                return tuple(fields)

    # Operators between sets of spans, numbers and metrics

    def _expr(self, minimum: int = 1) -> _Node:
        start = self._tokens.peek().span.start
        with self._tokens.nested():
            left = self._operand()
            while (level := _LEVELS.get((op := self._tokens.peek()).kind, 0)) >= minimum:
                self._tokens.next()
                right = self._expr(level if op.kind == "^" else level + 1)
                left = self._combined(op, left, right, self._tokens.since(start))
        return left

    def _operand(self) -> _Node:
        token = self._tokens.peek()
        match token.kind:
            case "{":
                return self._filter()
            case "(":
                return self._parenthesized()
            case "-":
                self._tokens.next()
                return self._negative(self._operand(), token)
            case "integer" | "float" | "duration":
                constant = self._fields.constant()
                assert constant is not None
                return constant
        if self._tokens.is_call(_AGGREGATES):
            return self._aggregate()
        raise self._no_operand(token)

    def _no_operand(self, token: Token) -> TraceqlParseError:
        if token.kind != WORD:
            return self._tokens.unexpected()
        if token.text in _FUNCTIONS:
            if self._tokens.peek(1).kind != "(":
                return self._tokens.unexpected(self._tokens.peek(1), ("(",))
            return self._tokens.error(token, f"{token.text}() cannot stand here")
        message = f"unknown function {token.text}{did_you_mean(token.text, _FUNCTIONS)}"
        return self._tokens.error(token, message)

    def _negative(self, node: _Node, token: Token) -> ast.Static:
        if not isinstance(node, ast.Static):
            raise self._tokens.error(token, "only a constant can be negative here")
        value = negated(node.value)
        assert value is not None, "constants here are numbers"
        return ast.Static(cast(ast.Constant, value), self._tokens.since(token.span.start))

    def _filter(self) -> ast.SpansetFilter:
        start = self._tokens.expect("{").span.start
        if self._tokens.take("}"):
            return ast.SpansetFilter(ast.Static(value=True), self._tokens.since(start))
        condition = self._fields.expr()
        self._tokens.expect("}")
        return ast.SpansetFilter(condition, self._tokens.since(start))

    def _parenthesized(self) -> _Node:
        start = self._tokens.expect("(").span.start
        with self._tokens.nested():
            inner = self._pipe()
        self._tokens.expect(")")
        if isinstance(inner, ast.ScalarFilter | ast.GroupBy | ast.Select | ast.Coalesce):
            return ast.Pipeline((inner,), self._tokens.since(start))
        return inner

    def _aggregate(self) -> ast.Aggregate:
        token = self._tokens.next()
        op = cast(ast.AggregateOp, token.text)
        self._tokens.expect("(")
        of = None if op == "count" else self._fields.expr()
        self._tokens.expect(")")
        return ast.Aggregate(op, of, self._tokens.since(token.span.start))

    def _combined(self, op: Token, left: _Node, right: _Node, span: Span) -> _Node:
        if isinstance(left, _SPANSETS) and isinstance(right, _SPANSETS):
            return self._spansets(op, left, right, span)
        if isinstance(left, _SCALARS) and isinstance(right, _SCALARS):
            return self._scalars(op, left, right, span)
        if isinstance(left, _METRIC_NODES) and op.kind in ast.COMPARISONS:
            if isinstance(right, ast.Static):
                return _behind(left, self._metrics_filter(op, right), span)
        elif isinstance(left, _METRIC_NODES) or isinstance(right, _METRIC_NODES):
            return self._math(op, left, right, span)
        raise self._tokens.unexpected(op)

    def _spansets(
        self, op: Token, left: ast.SpansetExpr, right: ast.SpansetExpr, span: Span
    ) -> ast.SpansetExpr:
        if op.kind in {"&&", "||"}:
            logical = cast(ast.LogicalOp, op.kind)
            if isinstance(left, ast.SpansetLogical) and left.op == logical:
                return ast.SpansetLogical(logical, (*left.of, right), span)
            return ast.SpansetLogical(logical, (left, right), span)
        if op.kind not in ast.STRUCTURAL:
            raise self._tokens.unexpected(op)
        return ast.Structural(cast(ast.StructuralOp, op.kind), left, right, span)

    def _scalars(
        self, op: Token, left: ast.ScalarExpr, right: ast.ScalarExpr, span: Span
    ) -> ast.ScalarExpr | ast.ScalarFilter:
        constant = isinstance(left, ast.Static) and isinstance(right, ast.Static)
        if op.kind in ast.COMPARISONS and not constant:
            return ast.ScalarFilter(cast(ast.CompareOp, op.kind), left, right, span)
        if op.kind not in ast.ARITHMETIC:
            raise self._tokens.unexpected(op)
        arithmetic = cast(ast.ArithmeticOp, op.kind)
        if isinstance(left, ast.Static) and isinstance(right, ast.Static):
            return self._folded(op, left, right, span)
        return ast.ScalarArithmetic(arithmetic, left, right, span)

    def _folded(self, op: Token, left: ast.Static, right: ast.Static, span: Span) -> ast.Static:
        if isinstance(left.value, Duration) or isinstance(right.value, Duration):
            raise self._tokens.error(op, "durations cannot be used in arithmetic of constants")
        value = combine(op.kind, left.value, right.value)
        if value is None:
            raise self._tokens.error(op, "division by zero")
        return ast.Static(cast(ast.Constant, value), span)

    # Metrics

    def _metrics(self, stages: tuple[ast.Stage, ...], start: int) -> ast.MetricsExpr:
        pipeline = ast.Pipeline(stages, self._tokens.since(start))
        token = self._tokens.peek()
        aggregate: ast.MetricsAggregate | ast.Compare
        aggregate = self._compare() if token.text == "compare" else self._over_time()
        node = ast.MetricsPipeline(pipeline, aggregate, self._tokens.since(start))
        return self._second_stages(node, start)

    def _over_time(self) -> ast.MetricsAggregate:
        token = self._tokens.next()
        op = cast(ast.MetricOp, token.text)
        self._tokens.expect("(")
        of = None if op in {"rate", "count_over_time"} else self._fields.named()
        quantiles: list[float] = []
        if op == "quantile_over_time":
            while self._tokens.expect(",", *((")",) if quantiles else ())).kind == ",":
                quantiles.append(float(self._tokens.expect(INTEGER, FLOAT).number))
        else:
            self._tokens.expect(")")
        by: tuple[ast.Named, ...] = ()
        if self._tokens.take_word("by"):
            self._tokens.expect("(")
            by = self._field_list()
        span = self._tokens.since(token.span.start)
        return ast.MetricsAggregate(op, of, tuple(quantiles), by, span)

    def _compare(self) -> ast.Compare:
        start = self._tokens.next().span.start
        self._tokens.expect("(")
        selection = self._filter()
        numbers: list[int] = []
        while self._tokens.expect(",", ")").kind == ",":
            numbers.append(int(self._tokens.expect(INTEGER).number))
        span = self._tokens.since(start)
        match numbers:
            case []:
                return ast.Compare(selection, span=span)
            case [top]:
                return ast.Compare(selection, top, span=span)
            case [top, start_ns, end_ns]:
                return ast.Compare(selection, top, start_ns, end_ns, span)
        message = "compare() takes a selection, how many values, and from when to when"
        raise self._tokens.error(span, message)

    def _second_stages(self, node: ast.MetricsExpr, start: int) -> ast.MetricsExpr:
        while True:
            token = self._tokens.peek()
            if token.kind in ast.COMPARISONS:
                self._tokens.next()
                value = self._expr(_LEVELS["+"])
                if not isinstance(value, ast.Static):
                    raise self._tokens.error(value.span, "metrics compare with a number alone")
                stage: ast.SecondStage = self._metrics_filter(token, value)
            elif token.kind == "|":
                self._tokens.next()
                stage = self._topk()
            else:
                return node
            node = _behind(node, stage, self._tokens.since(start))

    def _metrics_filter(self, op: Token, value: ast.Static) -> ast.MetricsFilter:
        number = value.value
        assert isinstance(number, int | float), "constants here are numbers"
        if isinstance(number, Duration):
            number = number / _NS_IN_S
        kind = cast(ast.CompareOp, op.kind)
        return ast.MetricsFilter(kind, float(number), Span(op.span.start, value.span.end))

    def _topk(self) -> ast.TopK:
        token = self._tokens.peek()
        if not self._tokens.is_call(_SECOND):
            if token.kind == WORD and token.text not in _FUNCTIONS:
                raise self._no_operand(token)
            raise self._tokens.unexpected(expected=("topk(…)", "bottomk(…)"))
        self._tokens.next()
        self._tokens.expect("(")
        count = int(self._tokens.expect(INTEGER).number)
        self._tokens.expect(")")
        op: ast.TopOp = "topk" if token.text == "topk" else "bottomk"
        return ast.TopK(op, count, self._tokens.since(token.span.start))

    def _math(self, op: Token, left: _Node, right: _Node, span: Span) -> ast.MetricsMath:
        if op.kind not in {"+", "-", "*", "/"}:
            raise self._tokens.unexpected(op)
        sign = cast(ast.MathOp, op.kind)
        return ast.MetricsMath(sign, self._side(op, left), self._side(op, right), span)

    def _side(self, op: Token, node: _Node) -> ast.MetricsExpr | float:
        if isinstance(node, _METRIC_NODES):
            return node
        if not isinstance(node, ast.Static):
            raise self._tokens.unexpected(op)
        if isinstance(node.value, Duration):
            message = "a duration cannot be used in the arithmetic of metrics"
            raise self._tokens.error(node.span, message)
        assert isinstance(node.value, int | float), "constants here are numbers"
        return float(node.value)


def _behind(node: ast.MetricsExpr, stage: ast.SecondStage, span: Span) -> ast.MetricsStages:
    if isinstance(node, ast.MetricsStages):
        return ast.MetricsStages(node.of, (*node.stages, stage), span)
    return ast.MetricsStages(node, (stage,), span)
