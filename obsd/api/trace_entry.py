"""Traces and spans as the product API shows them: docs/api/traces.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from obsd.api.log_entry import json_value
from obsd.model.rfc3339 import format_rfc3339_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obsd.model.log_record import Value
    from obsd.model.span import Scope, Span, SpanEvent, SpanLink, TraceSummary


class ServiceEntry(msgspec.Struct):
    """A service's part in a trace."""

    spans: int
    errors: int


class TraceEntry(msgspec.Struct):
    """A trace in a list.

    Attributes:
        start: RFC 3339, to the nanosecond; `start_ns` is the same as a text of digits.
        duration_ms: from the first start to the last end.
    """

    trace_id: str
    root_service: str
    root_operation: str
    start: str
    start_ns: str
    duration_ms: float
    spans: int
    errors: int
    services: dict[str, ServiceEntry]


class EventEntry(msgspec.Struct):
    """An event of a span; `offset_ms` is from the span's start."""

    time: str
    offset_ms: float
    name: str
    attributes: dict[str, object]
    dropped_attributes: int


class LinkEntry(msgspec.Struct):
    """A link of a span."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: dict[str, object]
    dropped_attributes: int
    flags: int


class ScopeEntry(msgspec.Struct):
    """What made the span."""

    name: str
    version: str
    attributes: dict[str, object]
    dropped_attributes: int
    schema_url: str


class SpanEntry(msgspec.Struct):
    """A span, with everything that was sent."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    operation: str
    kind: str
    status: str
    status_message: str
    start: str
    start_ns: str
    end: str
    duration_ms: float
    attributes: dict[str, object]
    resource: dict[str, object]
    scope: ScopeEntry
    events: list[EventEntry]
    links: list[LinkEntry]
    trace_state: str
    flags: int
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    resource_schema_url: str


def trace_entry(summary: TraceSummary) -> TraceEntry:
    """The entry of a trace."""
    return TraceEntry(
        trace_id=summary.trace_id,
        root_service=summary.root_service,
        root_operation=summary.root_name,
        start=format_rfc3339_ns(summary.start_ns),
        start_ns=str(summary.start_ns),
        duration_ms=milliseconds(summary.duration_ns),
        spans=summary.spans,
        errors=summary.errors,
        services={
            name: ServiceEntry(part.spans, part.errors) for name, part in summary.services.items()
        },
    )


def span_entry(span: Span) -> SpanEntry:
    """The entry of a span."""
    return SpanEntry(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        service=span.service,
        operation=span.name,
        kind=span.kind.name.lower(),
        status=span.status.name.lower(),
        status_message=span.status_message,
        start=format_rfc3339_ns(span.start_ns),
        start_ns=str(span.start_ns),
        end=format_rfc3339_ns(span.end_ns),
        duration_ms=milliseconds(span.duration_ns),
        attributes=_values(span.attributes),
        resource=_values(span.resource),
        scope=_scope(span.scope),
        events=[_event(event, span.start_ns) for event in span.events],
        links=[_link(link) for link in span.links],
        trace_state=span.trace_state,
        flags=span.flags,
        dropped_attributes=span.dropped_attributes,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
        resource_schema_url=span.resource_schema_url,
    )


def milliseconds(duration_ns: int) -> float:
    """Nanoseconds as milliseconds."""
    return duration_ns / 1_000_000


def _values(values: Mapping[str, Value]) -> dict[str, object]:
    return {name: json_value(value) for name, value in values.items()}


def _scope(scope: Scope) -> ScopeEntry:
    return ScopeEntry(
        scope.name,
        scope.version,
        _values(scope.attributes),
        scope.dropped_attributes,
        scope.schema_url,
    )


def _event(event: SpanEvent, start_ns: int) -> EventEntry:
    return EventEntry(
        format_rfc3339_ns(event.time_ns),
        milliseconds(event.time_ns - start_ns),
        event.name,
        _values(event.attributes),
        event.dropped_attributes,
    )


def _link(link: SpanLink) -> LinkEntry:
    return LinkEntry(
        link.trace_id,
        link.span_id,
        link.trace_state,
        _values(link.attributes),
        link.dropped_attributes,
        link.flags,
    )
