"""Predicates as the tuples that native code reads."""

from __future__ import annotations

from obsd.model.span_predicate import (
    AllOf,
    AllSpans,
    AnyOf,
    CompareField,
    HasField,
    NotSpan,
    SpanPredicate,
)

Encoded = tuple[object, ...]


def encode_predicate(predicate: SpanPredicate) -> Encoded:
    """The tuple of a predicate: what it is, then its parts."""
    match predicate:
        case AllSpans():
            return ("all",)
        case AllOf(of):
            return ("and", [encode_predicate(part) for part in of])
        case AnyOf(of):
            return ("or", [encode_predicate(part) for part in of])
        case NotSpan(of):
            return ("not", encode_predicate(of))
        case HasField(field):
            return ("has", field.scope, field.name)
        case CompareField(field, op, value):
            return ("compare", field.scope, field.name, op, value)
