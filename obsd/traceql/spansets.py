"""Pipelines over the spans of one trace: filters, relations, groups and numbers of sets.

A pipeline starts with one set, all spans of the trace, and gives what is left of it: no set, or
one, or several behind `by()`. Spans of a set are places in the trace, in ascending order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from obsd.traceql import ast
from obsd.traceql.fields import Getter, first, getter_of, test_of
from obsd.traceql.printer import print_field, print_scalar
from obsd.traceql.relations import RELATIONS
from obsd.traceql.trace import Trace
from obsd.traceql.value import Duration, Value, combine, compares, is_numeric

Stage = Callable[[Trace, "Sequence[Spanset]"], "Sequence[Spanset]"]
Number = Callable[[Trace, "Spanset"], Value]


@dataclass(frozen=True, slots=True)
class Spanset:
    """Some spans of a trace, and what stages said of them.

    Attributes:
        spans: places in the trace, ascending; one at least.
        attributes: groups' values and numbers, by their text in the query.
    """

    spans: tuple[int, ...]
    attributes: tuple[tuple[str, Value], ...] = ()

    def having(self, spans: Iterable[int]) -> Sequence[Spanset]:
        """A set of these spans with the same attributes; none if there are none."""
        kept = tuple(spans)
        return (Spanset(kept, self.attributes),) if kept else ()


def whole(trace: Trace) -> Sequence[Spanset]:
    """What a pipeline starts with."""
    return (Spanset(tuple(range(len(trace.spans)))),)


def pipeline_of(pipeline: ast.Pipeline) -> Stage:
    """A function from a trace and its sets to those that are left."""
    stages = tuple(map(_stage, pipeline.stages))

    def run(trace: Trace, sets: Sequence[Spanset]) -> Sequence[Spanset]:
        for stage in stages:
            if not sets:
                break
            sets = stage(trace, sets)
        return sets

    return run


def _stage(stage: ast.Stage) -> Stage:
    match stage:
        case ast.SpansetFilter(condition):
            return _filter(condition)
        case ast.SpansetLogical(op, of):
            return _logical(op, tuple(map(_stage, of)))
        case ast.Structural(op, left, right):
            return _structural(op, _stage(left), _stage(right))
        case ast.Pipeline():
            return pipeline_of(stage)
        case ast.ScalarFilter():
            return _scalar_filter(stage)
        case ast.GroupBy(of_field):
            return _group(f"by({print_field(of_field)})", getter_of(of_field))
        case ast.Coalesce():
            return lambda _trace, sets: _coalesced(sets)
        case ast.Select():
            return lambda _trace, sets: sets


def _filter(condition: ast.FieldExpr) -> Stage:
    test = test_of(condition)

    def run(trace: Trace, sets: Sequence[Spanset]) -> Sequence[Spanset]:
        return [
            kept
            for each in sets
            for kept in each.having(at for at in each.spans if test(trace, at))
        ]

    return run


def _spans_of(sets: Sequence[Spanset]) -> set[int]:
    return {at for each in sets for at in each.spans}


def _logical(op: ast.LogicalOp, of: Sequence[Stage]) -> Stage:
    def run(trace: Trace, sets: Sequence[Spanset]) -> Sequence[Spanset]:
        found: list[Spanset] = []
        for each in sets:
            sides = [_spans_of(side(trace, (each,))) for side in of]
            if op == "||" or all(sides):
                found += each.having(sorted(set().union(*sides)))
        return found

    return run


def _structural(op: ast.StructuralOp, left: Stage, right: Stage) -> Stage:
    relation = RELATIONS[op]

    def run(trace: Trace, sets: Sequence[Spanset]) -> Sequence[Spanset]:
        found: list[Spanset] = []
        for each in sets:
            ends = _spans_of(right(trace, (each,)))
            if ends:
                starts = _spans_of(left(trace, (each,)))
                found += each.having(sorted(relation(trace, starts, ends)))
        return found

    return run


def _group(name: str, get: Getter) -> Stage:
    def run(trace: Trace, sets: Sequence[Spanset]) -> Sequence[Spanset]:
        found: list[Spanset] = []
        for each in sets:
            groups: dict[Hashable, tuple[Value, list[int]]] = {}
            for at in each.spans:
                value = first(get(trace, at))
                groups.setdefault(key_of(value), (value, []))[1].append(at)
            for value, spans in groups.values():
                found.append(Spanset(tuple(spans), (*each.attributes, (name, value))))
        return found

    return run


def key_of(value: Value) -> Hashable:
    """What two values are alike by: 1 is not true, and NaN is like NaN."""
    if type(value) is str:  # Most are, and this is asked of each distinct one.
        return value
    return type(value), "NaN" if isinstance(value, float) and math.isnan(value) else value


def _coalesced(sets: Sequence[Spanset]) -> Sequence[Spanset]:
    return (Spanset(tuple(sorted(_spans_of(sets)))),)


# Numbers of sets


def _scalar_filter(stage: ast.ScalarFilter) -> Stage:
    left, right = _number(stage.left), _number(stage.right)
    names = [(print_scalar(each), _number(each)) for each in _numbers_in(stage)]

    def run(trace: Trace, sets: Sequence[Spanset]) -> Sequence[Spanset]:
        found = []
        for each in sets:
            if compares(stage.op, left(trace, each), right(trace, each)):
                said = tuple((name, number(trace, each)) for name, number in names)
                found.append(Spanset(each.spans, (*each.attributes, *said)))
        return found

    return run


def _numbers_in(scalar: ast.ScalarFilter | ast.ScalarExpr) -> list[ast.ScalarExpr]:
    match scalar:
        case ast.Aggregate() | ast.PipelineScalar():
            return [scalar]
        case ast.ScalarArithmetic(_, left, right) | ast.ScalarFilter(_, left, right):
            return [*_numbers_in(left), *_numbers_in(right)]
    return []


def _number(scalar: ast.ScalarExpr) -> Number:
    match scalar:
        case ast.Static(value):
            return lambda _trace, _set: value
        case ast.ScalarArithmetic(op, left, right):
            first_, second = _number(left), _number(right)
            return lambda trace, each: _combine(op, first_(trace, each), second(trace, each))
        case ast.Aggregate("count"):
            return lambda _trace, each: len(each.spans)
        case ast.Aggregate(op, of):
            assert of is not None, "the parser wants it"
            return _aggregate(op, getter_of(of))
        case ast.PipelineScalar(pipeline, aggregate):
            return _of_pipeline(pipeline_of(pipeline), _number(aggregate))


def _combine(op: str, left: Value, right: Value) -> Value:
    """Arithmetic of sets' numbers, of which a quotient is never a whole one: it is a share."""
    if op == "/" and type(left) is int and type(right) is int:
        return combine(op, float(left), right)
    return combine(op, left, right)


def _of_pipeline(run: Stage, number: Number) -> Number:
    """The number of another pipeline over the same spans; of groups, that of all of them."""

    def of(trace: Trace, each: Spanset) -> Value:
        sets = run(trace, (each,))
        return number(trace, _coalesced(sets)[0])

    return of


def _aggregate(op: ast.AggregateOp, get: Getter) -> Number:
    def of(trace: Trace, each: Spanset) -> Value:
        found = (first(get(trace, at)) for at in each.spans)
        values: list[int | float] = [v for v in found if is_numeric(v)]  # type: ignore[misc]
        return _AGGREGATES[op](values) if values else None

    return of


def _sum(values: Sequence[int | float]) -> Value:
    if all(type(value) is Duration for value in values):
        return Duration(sum(values))
    return sum(values) if all(type(value) is int for value in values) else math.fsum(values)


def _avg(values: Sequence[int | float]) -> Value:
    total = _sum(values)
    if isinstance(total, Duration):
        return Duration(total // len(values))
    assert isinstance(total, int | float), "a sum of numbers is one"
    return total / len(values)


_AGGREGATES: Final[dict[str, Callable[[Sequence[int | float]], Value]]] = {
    "sum": _sum,
    "avg": _avg,
    "min": min,
    "max": max,
}
