"""What a query restricts spans to, for lists of names and values that fit the rest of a query.

Whoever types a query sends it unfinished: what is whole in it counts, as in
`{ resource.service.name = "cart" && span.http. }`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from obsd.model.span_predicate import AllOf, AllSpans, SpanPredicate
from obsd.traceql import ast, lexer
from obsd.traceql.errors import TraceqlParseError
from obsd.traceql.lexer import ATTRIBUTE, INTRINSIC, WORD, Token
from obsd.traceql.parser import MAX_QUERY_LENGTH, parse
from obsd.traceql.pushdown import plan_pipeline

_COMPARISONS: Final = ast.COMPARISONS | {"=~", "!~"}
_NO_SPANSETS: Final = (ast.ScalarFilter, ast.GroupBy, ast.Select, ast.Coalesce)
_FIELDS: Final = frozenset({ATTRIBUTE, INTRINSIC, WORD})


def condition_of(text: str) -> SpanPredicate | None:
    """A predicate of the spans that a query takes; None where it does not restrict them."""
    try:
        query = parse(text)
    except TraceqlParseError:
        return _of_whole_parts(text)
    pipelines = list(_pipelines(query.expr))
    if len(pipelines) != 1:
        return None
    stages = tuple(map(_without_bare, pipelines[0].stages))
    return _restricting(plan_pipeline(ast.Pipeline(stages)).predicate)


def _without_bare(stage: ast.Stage) -> ast.Stage:
    """The stage without fields that stand alone: a name that is typed is no boolean yet."""
    match stage:
        case ast.SpansetFilter(condition):
            return ast.SpansetFilter(_compared(condition))
        case ast.SpansetLogical(op, of):
            kept = [each for each in map(_without_bare, of) if not isinstance(each, _NO_SPANSETS)]
            return ast.SpansetLogical(op, tuple(kept))
    return stage


def _compared(condition: ast.FieldExpr) -> ast.FieldExpr:
    everything = ast.Static(value=True)
    match condition:
        case ast.Attribute() | ast.Intrinsic():
            return everything
        case ast.Logical(op, of):
            return ast.Logical(op, tuple(map(_compared, of)))
    return condition


def _restricting(predicate: SpanPredicate) -> SpanPredicate | None:
    return None if isinstance(predicate, AllSpans) else predicate


def _pipelines(expr: ast.Pipeline | ast.MetricsExpr | float) -> Sequence[ast.Pipeline]:
    match expr:
        case ast.Pipeline():
            return [expr]
        case ast.MetricsPipeline(pipeline):
            return [pipeline]
        case ast.MetricsStages(of):
            return _pipelines(of)
        case ast.MetricsMath(_, left, right):
            return [*_pipelines(left), *_pipelines(right)]
    return []


def _of_whole_parts(text: str) -> SpanPredicate | None:
    """The comparisons of a filter that are whole, if all of them have to hold."""
    found = _leading_tokens(text)
    if any(token.kind in {"||", "!"} for token in found):
        return None
    predicates: list[SpanPredicate] = []
    for name, op, value in zip(found, found[1:], found[2:], strict=False):
        if name.kind not in _FIELDS or op.kind not in _COMPARISONS:
            continue
        comparison = text[name.span.start : value.span.end]
        try:
            query = parse(f"{{ {comparison} }}")
        except TraceqlParseError:
            continue
        assert isinstance(query.expr, ast.Pipeline), "braces are no metric"
        predicate = _restricting(plan_pipeline(query.expr).predicate)
        if predicate is not None:
            predicates.append(predicate)
    return AllOf(tuple(predicates)) if predicates else None


def _leading_tokens(text: str) -> list[Token]:
    """The tokens up to the end of the first filter, or to what is none."""
    if len(text) > MAX_QUERY_LENGTH:
        return []
    found = lexer.leading_tokens(text)
    closing = next((at for at, token in enumerate(found) if token.kind == "}"), len(found))
    return found[:closing] if found and found[0].kind == "{" else []
