"""Expressions of a span's fields, made into functions of a span of a trace.

A filter takes a span where its expression is true. Nothing is ever an error while a query runs: a
value of a type that an operator does not take is nothing, and what is nothing is not true.

Of events and links one that matches is enough, so that the field of these is `AnyOne` of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from obsd.model.log_record import Value as Sent
from obsd.traceql import ast
from obsd.traceql.check import type_of
from obsd.traceql.ids import with_whole_ids
from obsd.traceql.trace import NO_PARENT, Trace
from obsd.traceql.value import Duration, Value, combine, compares, negated, of_attribute

Getter = Callable[[Trace, int], "Value | AnyOne"]
Test = Callable[[Trace, int], bool]


class AnyOne(tuple["Value", ...]):
    """What the events or links of a span have for a field; one at least."""

    __slots__ = ()


def first(value: Value | AnyOne) -> Value:
    """A value to show, or to count by."""
    return value[0] if type(value) is AnyOne else value  # type: ignore[return-value]


def test_of(expr: ast.FieldExpr) -> Test:
    """Whether the expression is true of a span."""
    match expr:
        case ast.Logical("&&", of):
            tests = tuple(map(test_of, of))
            return lambda trace, at: all(test(trace, at) for test in tests)
        case ast.Logical("||", of):
            tests = tuple(map(test_of, of))
            return lambda trace, at: any(test(trace, at) for test in tests)
        case ast.Not(of_one):
            return _not(of_one)
        case ast.Exists(of_one, negated_):
            get = getter_of(of_one)
            return lambda trace, at: (get(trace, at) is None) == negated_
        case ast.Binary(op) if op not in ast.ARITHMETIC:
            whole = with_whole_ids(expr)
            return _comparison(op, getter_of(whole.left), getter_of(whole.right))
    get = getter_of(expr)
    return lambda trace, at: _compares("=", get(trace, at), right=True)


def _not(of: ast.FieldExpr) -> Test:
    if type_of(of) == "bool":
        test = test_of(of)
        return lambda trace, at: not test(trace, at)
    get = getter_of(of)
    return lambda trace, at: _compares("=", get(trace, at), right=False)


def _comparison(op: str, left: Getter, right: Getter) -> Test:
    return lambda trace, at: _compares(op, left(trace, at), right(trace, at))


def _compares(op: str, left: Value | AnyOne, right: Value | AnyOne) -> bool:
    if type(left) is AnyOne:
        return any(_compares(op, each, right) for each in left)
    if type(right) is AnyOne:
        return any(_compares(op, left, each) for each in right)
    return compares(op, left, right)  # type: ignore[arg-type]


def getter_of(expr: ast.FieldExpr) -> Getter:
    """The value of the expression of a span."""
    match expr:
        case ast.Attribute():
            return _attribute(expr)
        case ast.Intrinsic(name):
            return _INTRINSICS[name]
        case ast.Static(value):
            return lambda _trace, _at: value
        case ast.Nil():
            return lambda _trace, _at: None
        case ast.Negative(of):
            get = getter_of(of)
            return lambda trace, at: negated(first(get(trace, at)))
        case ast.Binary(op, left, right) if op in ast.ARITHMETIC:
            return _arithmetic(op, getter_of(left), getter_of(right))
    return test_of(expr)


def _arithmetic(op: str, left: Getter, right: Getter) -> Getter:
    return lambda trace, at: combine(op, first(left(trace, at)), first(right(trace, at)))


def constant_of(expr: ast.FieldExpr) -> Value:
    """The value of an expression without a field in it."""
    return first(getter_of(expr)(_NO_TRACE, 0))


_NO_TRACE: Final = Trace(())


def _attribute(attribute: ast.Attribute) -> Getter:
    if attribute.parent:
        own = _attribute(ast.Attribute(attribute.scope, attribute.name))
        return lambda trace, at: (
            None if (parent := trace.parents[at]) == NO_PARENT else own(trace, parent)
        )
    name = attribute.name
    match attribute.scope:
        case "span":
            return lambda trace, at: of_attribute(trace.spans[at].attributes.get(name))
        case "resource":
            return lambda trace, at: of_attribute(trace.spans[at].resource.get(name))
        case "instrumentation":
            return lambda trace, at: of_attribute(trace.spans[at].scope.attributes.get(name))
        case "event":
            return lambda trace, at: _any_one(
                event.attributes.get(name) for event in trace.spans[at].events
            )
        case "link":
            return lambda trace, at: _any_one(
                link.attributes.get(name) for link in trace.spans[at].links
            )
        case "":
            return lambda trace, at: of_attribute(_unscoped(trace, at, name))


def _unscoped(trace: Trace, at: int, name: str) -> Sent:
    span = trace.spans[at]
    own = span.attributes.get(name)
    return span.resource.get(name) if own is None else own


def _any_one(values: Iterable[Sent]) -> AnyOne | None:
    return AnyOne(of_attribute(each) for each in values if each is not None) or None


def _texts(values: Iterator[str]) -> AnyOne | None:
    return AnyOne(each for each in values if each) or None


_INTRINSICS: Final[dict[str, Getter]] = {
    "name": lambda trace, at: trace.spans[at].name,
    "status": lambda trace, at: trace.spans[at].status,
    "statusMessage": lambda trace, at: trace.spans[at].status_message,
    "kind": lambda trace, at: trace.spans[at].kind,
    "duration": lambda trace, at: Duration(trace.spans[at].duration_ns),
    "traceDuration": lambda trace, _at: Duration(trace.duration_ns),
    "rootName": lambda trace, _at: trace.spans[trace.root].name,
    "rootServiceName": lambda trace, _at: trace.spans[trace.root].service,
    "nestedSetParent": lambda trace, at: trace.nested_parent(at),
    "nestedSetLeft": lambda trace, at: trace.nested_sets[at][0],
    "nestedSetRight": lambda trace, at: trace.nested_sets[at][1],
    "span:childCount": lambda trace, at: len(trace.children[at]),
    "trace:id": lambda trace, at: trace.spans[at].trace_id,
    "span:id": lambda trace, at: trace.spans[at].span_id,
    "span:parentID": lambda trace, at: trace.spans[at].parent_id,
    "event:name": lambda trace, at: _texts(event.name for event in trace.spans[at].events),
    "event:timeSinceStart": lambda trace, at: (
        AnyOne(
            Duration(event.time_ns - trace.spans[at].start_ns) for event in trace.spans[at].events
        )
        or None
    ),
    "link:traceID": lambda trace, at: _texts(link.trace_id for link in trace.spans[at].links),
    "link:spanID": lambda trace, at: _texts(link.span_id for link in trace.spans[at].links),
    "instrumentation:name": lambda trace, at: trace.spans[at].scope.name,
    "instrumentation:version": lambda trace, at: trace.spans[at].scope.version,
}
assert set(_INTRINSICS) == set(ast.INTRINSICS.values())


def named_in(expr: ast.FieldExpr) -> Iterator[ast.Named]:
    """Every field that an expression names, from the left."""
    match expr:
        case ast.Attribute() | ast.Intrinsic():
            yield expr
        case ast.Exists(of) | ast.Not(of) | ast.Negative(of):
            yield from named_in(of)
        case ast.Binary(_, left, right):
            yield from named_in(left)
            yield from named_in(right)
        case ast.Logical(_, of_all):
            for each in of_all:
                yield from named_in(each)
