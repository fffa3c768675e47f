"""The rules of `obsd.model.span_predicate` in the plainest form: one span at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final

import re2

from obsd.model import span_predicate as sp
from obsd.model.span import Span

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(predicate: sp.SpanPredicate, span: Span) -> bool:
    match predicate:
        case sp.AllSpans():
            return True
        case sp.AllOf():
            return all(matches(each, span) for each in predicate.of)
        case sp.AnyOf():
            return any(matches(each, span) for each in predicate.of)
        case sp.NotSpan():
            return not matches(predicate.of, span)
        case sp.HasField():
            return bool(found(span, predicate.field))
        case sp.CompareField():
            return any(
                compares(value, predicate.op, predicate.value)
                for value in values(span, predicate.field)
            )


def compares(value: Any, op: str, wanted: sp.Constant) -> bool:
    """Whether one value that is no list compares so."""
    if op in ("=~", "!~"):
        if not isinstance(value, str) or not isinstance(wanted, str):
            return False
        options = re2.Options()
        options.dot_nl = True
        return (re2.fullmatch(wanted, value, options) is not None) == (op == "=~")
    return _kind(value) is not None and _kind(value) is _kind(wanted) and _ORDER[op](value, wanted)


def _kind(value: Any) -> type | None:
    match value:
        case bool():
            return bool
        case int() | float():
            return float
        case str():
            return str
    return None


def values(span: Span, field: sp.Field) -> Iterator[Any]:
    """What the field has; elements of lists one by one."""
    for value in found(span, field):
        yield from _elements(value)


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _elements(each)
    elif value is not None:
        yield value


def found(span: Span, field: sp.Field) -> list[Any]:
    """Whatever is there under this field: of events and links one for each that has it."""
    match field.scope:
        case "span":
            there = [span.attributes.get(field.name)]
        case "resource":
            there = [span.resource.get(field.name)]
        case "scope":
            there = [span.scope.attributes.get(field.name)]
        case "event":
            there = [event.attributes.get(field.name) for event in span.events]
        case "link":
            there = [link.attributes.get(field.name) for link in span.links]
        case "any":
            own = span.attributes.get(field.name)
            there = [span.resource.get(field.name) if own is None else own]
        case "intrinsic":
            there = [value for value in intrinsic(span, field.name) if value != ""]
    return [value for value in there if value is not None]


def intrinsic(span: Span, name: str) -> list[Any]:
    match name:
        case "name" | "service" | "status_message" | "trace_id" | "span_id" | "parent_id":
            return [getattr(span, name)]
        case "kind" | "status":
            return [int(getattr(span, name))]
        case "duration":
            return [span.duration_ns]
        case "start":
            return [span.start_ns]
        case "scope.name":
            return [span.scope.name]
        case "scope.version":
            return [span.scope.version]
        case "event.name":
            return [event.name for event in span.events]
        case "link.trace_id":
            return [link.trace_id for link in span.links]
        case "link.span_id":
            return [link.span_id for link in span.links]
    return []
