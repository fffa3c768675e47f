"""What a query asks of a trace's root, so that traces with another root need not be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from obsd.model.span_predicate import (
    AllOf,
    AnyOf,
    CompareField,
    CompareOp,
    Field,
    HasField,
    NotSpan,
    SpanPredicate,
)
from obsd.traceql import ast
from obsd.traceql.check import refers_to_span
from obsd.traceql.fields import constant_of
from obsd.traceql.value import compares

_FIELDS: Final = {
    "rootName": Field("intrinsic", "name"),
    "rootServiceName": Field("intrinsic", "service"),
}
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def root_condition(stage: ast.Stage) -> SpanPredicate | None:
    """A predicate of the root of every trace that a stage leaves spans of; None for any root."""
    match stage:
        case ast.SpansetFilter(condition):
            return _of_field(condition)
        case ast.SpansetLogical("&&", of) | ast.Pipeline(of):
            return _all_of(map(root_condition, of))
        case ast.SpansetLogical("||", of):
            return _any_of(map(root_condition, of))
        case ast.Structural(op, left, right):
            # Without a span to the left, `!>` takes all of the right.
            sides = (right,) if op.startswith("!") else (left, right)
            return _all_of(map(root_condition, sides))
    return None


def _of_field(expr: ast.FieldExpr) -> SpanPredicate | None:
    match expr:
        case ast.Logical("&&", of):
            return _all_of(map(_of_field, of))
        case ast.Logical("||", of):
            return _any_of(map(_of_field, of))
        case ast.Binary(op, ast.Intrinsic(name), right) if name in _FIELDS:
            return _compared(_FIELDS[name], op, right)
        case ast.Binary(op, left, ast.Intrinsic(name)) if name in _FIELDS:
            return _compared(_FIELDS[name], _FLIPPED.get(op, op), left)
    return None


def _compared(field: Field, op: str, other: ast.FieldExpr) -> SpanPredicate | None:
    value = None if refers_to_span(other) else constant_of(other)
    if not isinstance(value, str):
        return None
    compare = CompareField(field, cast(CompareOp, op), value)
    # An empty text is nothing to the engine.
    return AnyOf((compare, NotSpan(HasField(field)))) if compares(op, "", value) else compare


def _all_of(conditions: Iterable[SpanPredicate | None]) -> SpanPredicate | None:
    known = tuple(each for each in conditions if each is not None)
    if len(known) < 2:
        return known[0] if known else None
    return AllOf(known)


def _any_of(conditions: Iterable[SpanPredicate | None]) -> SpanPredicate | None:
    known = []
    for each in conditions:
        if each is None:
            return None
        known.append(each)
    return AnyOf(tuple(known))
