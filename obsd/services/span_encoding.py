"""Spans as OTLP protobuf: the one form in which they enter an engine.

Receivers of other protocols put their fields together here. Messages:
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from obsd.model.log_record import Value
from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.services.log_encoding import key_values
from obsd.services.protobuf import bytes_field, uint_field, varint

_SERVICE_NAME: Final = "service.name"
_MAX_UINT32: Final = (1 << 32) - 1

# A field's key: its number and its wire type.
_START: Final = varint(7 << 3 | 1)
_END: Final = varint(8 << 3 | 1)
_FLAGS: Final = varint(16 << 3 | 5)
_LINK_FLAGS: Final = varint(6 << 3 | 5)
_EVENT_TIME: Final = varint(1 << 3 | 1)


@dataclass(slots=True)
class SpanGroup:
    """Encoded spans that one resource and instrumentation scope made."""

    resource: bytes
    scope: bytes = b""
    spans: list[bytes] = field(default_factory=list)
    resource_schema_url: str = ""
    scope_schema_url: str = ""


def span(
    *,
    trace_id: bytes,
    span_id: bytes,
    name: str,
    start_ns: int,
    end_ns: int,
    parent_id: bytes = b"",
    kind: int = SpanKind.UNSPECIFIED,
    attributes: Mapping[str, Value] | None = None,
    events: Iterable[SpanEvent] = (),
    links: Iterable[SpanLink] = (),
    status: int = StatusCode.UNSET,
    status_message: str = "",
    trace_state: str = "",
    flags: int = 0,
    dropped_attributes: int = 0,
    dropped_events: int = 0,
    dropped_links: int = 0,
) -> bytes:
    """A `Span`; what is 0 or empty is left out."""
    parts = [bytes_field(1, trace_id), bytes_field(2, span_id)]
    if trace_state:
        parts.append(_text(3, trace_state))
    if parent_id:
        parts.append(bytes_field(4, parent_id))
    parts.append(_text(5, name))
    parts.append(uint_field(6, kind))
    parts.append(_START + struct.pack("<Q", start_ns))
    parts.append(_END + struct.pack("<Q", end_ns))
    if attributes:
        parts.append(key_values(attributes, 9))
    parts.append(uint_field(10, dropped_attributes))
    parts += [bytes_field(11, _event(event)) for event in events]
    parts.append(uint_field(12, dropped_events))
    parts += [bytes_field(13, _link(link)) for link in links]
    parts.append(uint_field(14, dropped_links))
    if status or status_message:
        message = _text(2, status_message) if status_message else b""
        parts.append(bytes_field(15, message + uint_field(3, status)))
    if flags:
        parts.append(_FLAGS + struct.pack("<I", flags & _MAX_UINT32))
    return b"".join(parts)


def _event(event: SpanEvent) -> bytes:
    return (
        _EVENT_TIME
        + struct.pack("<Q", event.time_ns)
        + _text(2, event.name)
        + key_values(event.attributes, 3)
        + uint_field(4, event.dropped_attributes)
    )


def _link(link: SpanLink) -> bytes:
    parts = [
        bytes_field(1, bytes.fromhex(link.trace_id)),
        bytes_field(2, bytes.fromhex(link.span_id)),
    ]
    if link.trace_state:
        parts.append(_text(3, link.trace_state))
    parts.append(key_values(link.attributes, 4))
    parts.append(uint_field(5, link.dropped_attributes))
    if link.flags:
        parts.append(_LINK_FLAGS + struct.pack("<I", link.flags & _MAX_UINT32))
    return b"".join(parts)


def scope(scope: Scope) -> bytes:
    """An `InstrumentationScope`; empty for one that says nothing."""
    parts = []
    if scope.name:
        parts.append(_text(1, scope.name))
    if scope.version:
        parts.append(_text(2, scope.version))
    parts.append(key_values(scope.attributes, 3))
    parts.append(uint_field(4, scope.dropped_attributes))
    return b"".join(parts)


def _text(number: int, text: str) -> bytes:
    return bytes_field(number, text.encode("utf-8", "surrogatepass"))


def request(groups: Iterable[SpanGroup]) -> bytes:
    """An `ExportTraceServiceRequest`, which is `TracesData`, too."""
    return b"".join(bytes_field(1, _resource_spans(group)) for group in groups)


def _resource_spans(group: SpanGroup) -> bytes:
    spans = b"".join(bytes_field(2, each) for each in group.spans)
    scope_url = _text(3, group.scope_schema_url) if group.scope_schema_url else b""
    resource_url = _text(3, group.resource_schema_url) if group.resource_schema_url else b""
    scope_spans = bytes_field(2, bytes_field(1, group.scope) + spans + scope_url)
    return bytes_field(1, group.resource) + scope_spans + resource_url


def encode_spans(spans: Iterable[Span]) -> bytes:
    """Spans of the model; the service is among the resource's attributes then."""
    groups: dict[tuple[bytes, bytes, str, str], SpanGroup] = {}
    for each in spans:
        attributes = dict(each.resource)
        if each.service:
            attributes[_SERVICE_NAME] = each.service
        key = (
            key_values(attributes, 1),
            scope(each.scope),
            each.resource_schema_url,
            each.scope.schema_url,
        )
        groups.setdefault(key, SpanGroup(key[0], key[1], [], key[2], key[3])).spans.append(
            encode_span(each)
        )
    return request(groups.values())


def encode_span(each: Span) -> bytes:
    """A span of the model, without what it shares with others."""
    return span(
        trace_id=bytes.fromhex(each.trace_id),
        span_id=bytes.fromhex(each.span_id),
        parent_id=bytes.fromhex(each.parent_id),
        name=each.name,
        kind=each.kind,
        start_ns=each.start_ns,
        end_ns=each.end_ns,
        attributes=each.attributes,
        events=each.events,
        links=each.links,
        status=each.status,
        status_message=each.status_message,
        trace_state=each.trace_state,
        flags=each.flags,
        dropped_attributes=each.dropped_attributes,
        dropped_events=each.dropped_events,
        dropped_links=each.dropped_links,
    )
