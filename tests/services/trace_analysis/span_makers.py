"""Spans with as few words as a case needs."""

from __future__ import annotations

from typing import Any

from obsd.model.span import Span, SpanKind, StatusCode

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(span_id: str, parent_id: str, start: int, end: int, **parts: Any) -> Span:
    """A span from `start` to `end`, milliseconds."""
    fields: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": span_id,
        "parent_id": parent_id,
        "name": span_id,
        "kind": SpanKind.INTERNAL,
        "start_ns": start * 1_000_000,
        "end_ns": end * 1_000_000,
        "service": "api",
    }
    return Span(**(fields | parts))


def failed(span_id: str, parent_id: str, start: int, end: int, **parts: Any) -> Span:
    return span(span_id, parent_id, start, end, status=StatusCode.ERROR, **parts)
