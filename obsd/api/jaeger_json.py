"""Traces as Jaeger's UI reads them: docs/api/jaeger.md.

The mapping is OpenTelemetry's for Jaeger:
https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/jaeger/
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec

from obsd.api.log_entry import json_value
from obsd.model.span import SpanKind, StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from obsd.model.log_record import Value
    from obsd.model.span import Span, SpanEvent, SpanLink

Json = dict[str, object]

_US: Final = 1_000
_SERVICE: Final = "service.name"
UNKNOWN_SERVICE: Final = "unknown_service"


def trace_json(spans: Sequence[Span]) -> Json:
    """A trace; spans of one resource share a process."""
    processes: dict[str, Json] = {}
    by_resource: dict[bytes, str] = {}
    shown = []
    for span in spans:
        process = _process(span)
        key = msgspec.json.encode(process)
        process_id = by_resource.setdefault(key, f"p{len(by_resource) + 1}")
        processes[process_id] = process
        shown.append(_span(span, process_id))
    return {
        "traceID": spans[0].trace_id,
        "spans": shown,
        "processes": processes,
        "warnings": None,
    }


def _process(span: Span) -> Json:
    tags = {name: value for name, value in span.resource.items() if name != _SERVICE}
    return {"serviceName": span.service or UNKNOWN_SERVICE, "tags": _tags(tags.items())}


def _span(span: Span, process_id: str) -> Json:
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "flags": span.flags & 0xFF,
        "operationName": span.name,
        "references": list(_references(span)),
        "startTime": span.start_ns // _US,
        "duration": span.duration_ns // _US,
        "tags": _tags((*span.attributes.items(), *_own_tags(span))),
        "logs": [_log(event) for event in span.events],
        "processID": process_id,
        "warnings": None,
    }


def _references(span: Span) -> Iterator[Json]:
    if span.parent_id:
        yield _reference("CHILD_OF", span.trace_id, span.parent_id)
    for link in span.links:
        yield _link(link)


def _link(link: SpanLink) -> Json:
    return _reference("FOLLOWS_FROM", link.trace_id, link.span_id)


def _reference(kind: str, trace_id: str, span_id: str) -> Json:
    return {"refType": kind, "traceID": trace_id, "spanID": span_id}


def _own_tags(span: Span) -> Iterator[tuple[str, Value]]:
    """What Jaeger has as tags, and OpenTelemetry as fields; an attribute of the name goes first."""
    if span.kind is not SpanKind.UNSPECIFIED and "span.kind" not in span.attributes:
        yield "span.kind", span.kind.name.lower()
    if span.scope.name:
        yield "otel.scope.name", span.scope.name
    if span.scope.version:
        yield "otel.scope.version", span.scope.version
    if span.status is not StatusCode.UNSET:
        yield "otel.status_code", span.status.name
    if span.status_message:
        yield "otel.status_description", span.status_message
    if span.is_error and "error" not in span.attributes:
        yield "error", True
    if span.trace_state:
        yield "w3c.tracestate", span.trace_state


def _log(event: SpanEvent) -> Json:
    fields: dict[str, Value] = {"event": event.name} if event.name else {}
    fields |= event.attributes
    return {"timestamp": event.time_ns // _US, "fields": _tags(fields.items())}


def _tags(values: Iterable[tuple[str, Value]]) -> list[Json]:
    return [_tag(name, value) for name, value in values]


def _tag(name: str, value: Value) -> Json:
    match value:
        case bool():
            return {"key": name, "type": "bool", "value": value}
        case int():
            return {"key": name, "type": "int64", "value": value}
        case float():
            return {"key": name, "type": "float64", "value": json_value(value)}
        case bytes():
            return {"key": name, "type": "binary", "value": base64.b64encode(value).decode()}
        case str():
            return {"key": name, "type": "string", "value": value}
    text = "" if value is None else msgspec.json.encode(json_value(value)).decode()
    return {"key": name, "type": "string", "value": text}


def envelope(data: Sequence[object] | None, total: int | None = None) -> Json:
    """What every answer of the API is in."""
    count = total if total is not None else len(data or ())
    return {"data": data, "total": count, "limit": 0, "offset": 0, "errors": None}


def error_envelope(status: int, message: str) -> Json:
    """The same for an error."""
    return {
        "data": None,
        "total": 0,
        "limit": 0,
        "offset": 0,
        "errors": [{"code": status, "msg": message}],
    }
