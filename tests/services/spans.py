"""Spans for tests, with everything that is not named."""

from __future__ import annotations

from typing import Any

from obsd.model.span import Span, SpanKind

NOW_MS = 1_800_000_000_000
NOW_NS = NOW_MS * 1_000_000
SECOND_NS = 1_000_000_000


def make_span(trace: int = 1, number: int = 1, **parts: Any) -> Span:
    """A root of the service `web` that takes a second; ids are made of numbers."""
    service = parts.get("service", "web")
    fields: dict[str, Any] = {
        "trace_id": f"{trace:032x}",
        "span_id": f"{number:016x}",
        "parent_id": "",
        "name": "GET /",
        "kind": SpanKind.SERVER,
        "start_ns": NOW_NS,
        "end_ns": NOW_NS + SECOND_NS,
        "service": service,
        "resource": {"service.name": service} if service else {},
    }
    return Span(**(fields | parts))
