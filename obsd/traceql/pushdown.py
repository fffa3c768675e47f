"""What a query asks of single spans, said to the engine in its own tree.

Every span that a part of a query takes matches that part's predicate. Where the plan is `exact`,
the spans that match are those that it takes, and nobody has to look at them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from obsd.model.span import SpanKind, StatusCode
from obsd.model.span_predicate import (
    AllOf,
    AllSpans,
    AnyOf,
    CompareField,
    CompareOp,
    Constant,
    Field,
    FieldScope,
    HasField,
    NotSpan,
    SpanPredicate,
)
from obsd.traceql import ast
from obsd.traceql.check import refers_to_span, type_of
from obsd.traceql.fields import constant_of, named_in
from obsd.traceql.ids import with_whole_ids
from obsd.traceql.value import Opaque, compares

_NOTHING: Final = AnyOf(())
ROOT: Final = NotSpan(HasField(Field("intrinsic", "parent_id")))
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SCOPES: Final[dict[str, FieldScope]] = {
    "": "any",
    "span": "span",
    "resource": "resource",
    "event": "event",
    "link": "link",
    "instrumentation": "scope",
}
_INTRINSICS: Final = {
    "name": "name",
    "status": "status",
    "statusMessage": "status_message",
    "kind": "kind",
    "duration": "duration",
    "trace:id": "trace_id",
    "span:id": "span_id",
    "span:parentID": "parent_id",
    "event:name": "event.name",
    "link:traceID": "link.trace_id",
    "link:spanID": "link.span_id",
    "instrumentation:name": "scope.name",
    "instrumentation:version": "scope.version",
}
_OF_MANY: Final = frozenset({"event", "link"})
_TEXTS: Final = frozenset(  # The engine takes an empty one for one that is not there.
    {"name", "status_message", "parent_id", "scope.name", "scope.version"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A predicate of every span that is taken, and whether it takes no other."""

    predicate: SpanPredicate
    exact: bool


EVERYTHING: Final = Plan(AllSpans(), exact=True)
_UNKNOWN: Final = Plan(AllSpans(), exact=False)


@lru_cache(maxsize=1024)
def field_of(named: ast.Named) -> Field | None:
    """The engine's field; None where it has none, as of what only the whole trace tells."""
    if isinstance(named, ast.Intrinsic):
        name = _INTRINSICS.get(named.name)
        return None if name is None else Field("intrinsic", name)
    return None if named.parent else Field(_SCOPES[named.scope], named.name)


def _is_of_many(field: Field) -> bool:
    scope = field.name.partition(".")[0] if field.scope == "intrinsic" else field.scope
    return scope in _OF_MANY


def is_text(field: Field) -> bool:
    """Whether every span has a text for it, be it an empty one."""
    return field.scope == "intrinsic" and field.name in _TEXTS


# Conditions of a span


def plan_field(expr: ast.FieldExpr) -> Plan:
    """The plan of a filter's condition."""
    match expr:
        case ast.Logical("&&", of):
            return _all_of(map(plan_field, of))
        case ast.Logical("||", of):
            return _any_of(map(plan_field, of))
        case ast.Not(of_one):
            return _not(of_one)
        case ast.Exists(of_one, negated):
            return _exists(of_one, negated=negated)
        case ast.Binary(op) if op not in ast.ARITHMETIC:
            return _comparison(expr)
    if not refers_to_span(expr):
        taken = constant_of(expr) is True
        return EVERYTHING if taken else Plan(_NOTHING, exact=True)
    return _is(expr, value=True)


def _is(expr: ast.FieldExpr, *, value: bool) -> Plan:
    """Of a field alone, which is a condition where it is a boolean."""
    if isinstance(expr, ast.Attribute | ast.Intrinsic) and (field := field_of(expr)):
        return Plan(CompareField(field, "=", value), exact=True)
    return _UNKNOWN


def _not(of: ast.FieldExpr) -> Plan:
    if type_of(of) != "bool":
        return _is(of, value=False)
    plan = plan_field(of)
    if not plan.exact:
        return _UNKNOWN
    return Plan(_negated(plan.predicate), exact=True)


def _negated(predicate: SpanPredicate) -> SpanPredicate:
    match predicate:
        case NotSpan(of):
            return of
        case AllSpans():
            return _NOTHING
    return AllSpans() if predicate == _NOTHING else NotSpan(predicate)


def _exists(of: ast.FieldExpr, *, negated: bool) -> Plan:
    if isinstance(of, ast.Attribute | ast.Intrinsic) and (field := field_of(of)) is not None:
        if isinstance(of, ast.Intrinsic) and not _is_of_many(field):
            return Plan(_NOTHING, exact=True) if negated else EVERYTHING
        has = HasField(field)
        return Plan(NotSpan(has) if negated else has, exact=True)
    return _UNKNOWN


def _comparison(expr: ast.Binary) -> Plan:
    expr = with_whole_ids(expr)
    left, op, right = expr.left, expr.op, expr.right
    if not refers_to_span(left) and op not in {"=~", "!~"}:
        left, op, right = right, cast(ast.BinaryOp, _FLIPPED.get(op, op)), left
    if not refers_to_span(right):
        if isinstance(left, ast.Intrinsic) and left.name == "nestedSetParent":
            return _of_root(op, right)
        if isinstance(left, ast.Attribute | ast.Intrinsic):
            field = field_of(left)
            return _UNKNOWN if field is None else _with_constant(field, op, right)
        if not refers_to_span(left):
            taken = compares(op, constant_of(left), constant_of(right))
            return EVERYTHING if taken else Plan(_NOTHING, exact=True)
    return _of_all_there(expr)


def _of_root(op: str, right: ast.FieldExpr) -> Plan:
    """`nestedSetParent < 0` and its like: only a root has a number below zero."""
    value = constant_of(right)
    root, other = compares(op, -1, value), compares(op, 0, value)
    if root and not other and op in {"<", "<=", "="}:
        return Plan(ROOT, exact=True)
    if other and not root and op in {">", ">=", "!="}:
        return Plan(_negated(ROOT), exact=True)
    return _UNKNOWN


def _with_constant(field: Field, op: str, right: ast.FieldExpr) -> Plan:
    value = constant_of(right)
    if value is None or isinstance(value, tuple | Opaque):
        return Plan(_NOTHING, exact=True)
    if isinstance(value, StatusCode | SpanKind) and field.scope != "intrinsic":
        return Plan(_NOTHING, exact=True)
    constant: Constant = value
    if isinstance(value, int) and not isinstance(value, bool):
        constant = int(value)
    compare = CompareField(field, cast(CompareOp, op), constant)
    if _is_of_many(field):
        # A list in an event may have the other side beside what differs from it.
        of_list = op in {"!=", "!~"} and field.scope != "intrinsic"
        return Plan(compare, exact=not of_list)
    if field.scope == "intrinsic":
        if is_text(field) and compares(op, "", value):
            return Plan(AnyOf((compare, NotSpan(HasField(field)))), exact=True)
        return Plan(compare, exact=True)
    if op in {"!=", "!~"}:
        opposite: CompareOp = "=" if op == "!=" else "=~"
        none = NotSpan(CompareField(field, opposite, constant))
        return Plan(AllOf((compare, none)), exact=True)
    return Plan(compare, exact=True)


def _of_all_there(expr: ast.Binary) -> Plan:
    """Of fields with each other: whatever is compared has to be there, if it is an attribute."""
    if any(type_of(side) == "bool" for side in (expr.left, expr.right)):
        return _UNKNOWN
    fields = (field_of(named) for named in named_in(expr) if isinstance(named, ast.Attribute))
    has = tuple(HasField(field) for field in fields if field is not None)
    return Plan(AllOf(has) if has else AllSpans(), exact=False)


def _all_of(plans: Iterable[Plan]) -> Plan:
    kept = [plan for plan in plans if plan != EVERYTHING]
    exact = all(plan.exact for plan in kept)
    predicates = tuple(p.predicate for p in kept if not isinstance(p.predicate, AllSpans))
    if len(predicates) == 1:
        return Plan(predicates[0], exact)
    return Plan(AllOf(predicates) if predicates else AllSpans(), exact)


def _any_of(plans: Iterable[Plan]) -> Plan:
    kept = list(plans)
    exact = all(plan.exact for plan in kept)
    if any(isinstance(plan.predicate, AllSpans) for plan in kept):
        return Plan(AllSpans(), exact or EVERYTHING in kept)
    if len(kept) == 1:
        return kept[0]
    return Plan(AnyOf(tuple(plan.predicate for plan in kept)), exact)


# Sets of spans


def plan_pipeline(pipeline: ast.Pipeline) -> Plan:
    """The plan of the spans in the sets that a pipeline ends with."""
    return _all_of(_plan_stage(stage) for stage in pipeline.stages)


def _plan_stage(stage: ast.Stage) -> Plan:
    match stage:
        case ast.SpansetFilter(condition):
            return plan_field(condition)
        case ast.SpansetLogical(op, of):
            plan = _any_of(map(_plan_stage, of))
            return plan if op == "||" else Plan(plan.predicate, exact=False)
        case ast.Structural(op, left, right):
            sides = [_plan_stage(right)]
            if op.startswith("&"):
                sides.append(_plan_stage(left))
            return Plan(_any_of(sides).predicate, exact=False)
        case ast.Pipeline():
            return plan_pipeline(stage)
        case ast.ScalarFilter():
            return _UNKNOWN
        case ast.GroupBy() | ast.Select() | ast.Coalesce():
            return EVERYTHING
