"""OTLP traces decoded with OpenTelemetry's own classes into spans of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from obsd.model.errors import UndecodableError
from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode


@dataclass
class Decoded:
    spans: list[Span] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def refuse(self, reason: str, message: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        self.messages.append(message)


def plain(value: Any) -> Any:
    """An `AnyValue` as its Python value."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return pairs(value.kvlist_value.values)
    return getattr(value, kind)


def pairs(key_values: Any) -> dict[str, Any]:
    return {each.key: plain(each.value) for each in key_values}


def decode(body: bytes, now_ns: int = 0) -> Decoded:
    """Spans in order of appearance; what is missing of times is `now_ns`."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise UndecodableError(f"invalid protobuf: {error}") from None
    decoded = Decoded()
    for group in request.resource_spans:
        resource = pairs(group.resource.attributes)
        for scoped in group.scope_spans:
            scope = Scope(
                scoped.scope.name,
                scoped.scope.version,
                pairs(scoped.scope.attributes),
                scoped.scope.dropped_attributes_count,
                scoped.schema_url,
            )
            for each in scoped.spans:
                _add(decoded, each, resource, scope, group.schema_url, now_ns)
    return decoded


def is_id(found: bytes, size: int) -> bool:
    return len(found) == size and any(found)


def _add(
    decoded: Decoded,
    each: Any,
    resource: dict[str, Any],
    scope: Scope,
    schema_url: str,
    now_ns: int,
) -> None:
    if not is_id(each.trace_id, 16):
        decoded.refuse("invalid_trace_id", f"span {each.name!r}: invalid trace id")
        return
    if not is_id(each.span_id, 8):
        decoded.refuse("invalid_span_id", f"span {each.name!r}: invalid span id")
        return
    # Of two times one may be missing; then the span has no length.
    start_ns = each.start_time_unix_nano or each.end_time_unix_nano or now_ns
    end_ns = each.end_time_unix_nano or start_ns
    if end_ns < start_ns:
        decoded.messages.append(f"span {each.name!r} ends before it starts")
        end_ns = start_ns
    service = resource.get("service.name", "")
    decoded.spans.append(
        Span(
            trace_id=each.trace_id.hex(),
            span_id=each.span_id.hex(),
            parent_id=each.parent_span_id.hex() if is_id(each.parent_span_id, 8) else "",
            name=each.name,
            kind=SpanKind(each.kind if each.kind <= 5 else 0),
            start_ns=start_ns,
            end_ns=end_ns,
            service=service if isinstance(service, str) else "",
            status=StatusCode(each.status.code if each.status.code <= 2 else 0),
            status_message=each.status.message,
            attributes=pairs(each.attributes),
            resource=resource,
            scope=scope,
            events=tuple(
                SpanEvent(
                    event.time_unix_nano,
                    event.name,
                    pairs(event.attributes),
                    event.dropped_attributes_count,
                )
                for event in each.events
            ),
            links=tuple(
                SpanLink(
                    link.trace_id.hex(),
                    link.span_id.hex(),
                    link.trace_state,
                    pairs(link.attributes),
                    link.dropped_attributes_count,
                    link.flags,
                )
                for link in each.links
            ),
            trace_state=each.trace_state,
            flags=each.flags,
            dropped_attributes=each.dropped_attributes_count,
            dropped_events=each.dropped_events_count,
            dropped_links=each.dropped_links_count,
            resource_schema_url=schema_url,
        )
    )
