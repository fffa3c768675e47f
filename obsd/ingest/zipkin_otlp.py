"""Zipkin's spans as OTLP, the one form in which spans are taken in, and spans as Zipkin's.

What Zipkin says and OTLP has no place for is in attributes whose names begin with `zipkin.`, so
that who asks by Zipkin's API finds what was sent.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec

from obsd.ingest.zipkin_span import Endpoint, ZipkinSpan
from obsd.model.log_record import Value
from obsd.model.log_text import text_of
from obsd.model.span import Scope, Span, SpanEvent, SpanKind, StatusCode
from obsd.services.log_encoding import RequestMemory, resource
from obsd.services.span_encoding import SpanGroup, request, scope, span

UNKNOWN_SERVICE: Final = "unknown_service"
SHARED: Final = "zipkin.shared"
INCOMPLETE: Final = "zipkin.incomplete"
"""What a span that came in pieces still lacks: `timestamp`, `duration`."""

_LOCAL_IPV4, _LOCAL_IPV6 = "network.local.address", "zipkin.local.ipv6"
_LOCAL_PORT: Final = "network.local.port"
_PEER_SERVICE: Final = "peer.service"
_PEER_IPV4, _PEER_IPV6 = "network.peer.address", "zipkin.remote.ipv6"
_PEER_PORT: Final = "network.peer.port"
_LOCAL: Final = (_LOCAL_IPV4, _LOCAL_IPV6, _LOCAL_PORT)
_PEER: Final = (_PEER_IPV4, _PEER_IPV6, _PEER_PORT)

# How OpenTelemetry's exporters for Zipkin put what is theirs into tags.
_SCOPE_NAME: Final = ("otel.scope.name", "otel.library.name")
_SCOPE_VERSION: Final = ("otel.scope.version", "otel.library.version")
_STATUS: Final = "otel.status_code"
_ERROR: Final = "error"

_OTLP_KINDS: Final = {
    "": SpanKind.INTERNAL,
    "CLIENT": SpanKind.CLIENT,
    "SERVER": SpanKind.SERVER,
    "PRODUCER": SpanKind.PRODUCER,
    "CONSUMER": SpanKind.CONSUMER,
}
_ZIPKIN_KINDS: Final = {kind: name for name, kind in _OTLP_KINDS.items()}


def encode(spans: Iterable[ZipkinSpan], now_ns: int) -> bytes:
    """An `ExportTraceServiceRequest`; `now_ns` for spans without any time.

    Raises:
        TooLargeError: it would take too much memory.
    """
    groups: dict[tuple[str, bytes], SpanGroup] = {}
    memory = RequestMemory()
    for each in spans:
        service = each.local.service or UNKNOWN_SERVICE
        own_scope = scope(_scope_of(each.tags))
        group = groups.get((service, own_scope))
        if group is None:
            group = SpanGroup(resource({"service.name": service}), own_scope)
            groups[service, own_scope] = group
        encoded = _encode_span(each, now_ns)
        memory.add(len(encoded))
        group.spans.append(encoded)
    return request(groups.values())


def _encode_span(each: ZipkinSpan, now_ns: int) -> bytes:
    start_ns, end_ns = _times(each, now_ns)
    status = StatusCode.UNSET
    if _ERROR in each.tags or each.tags.get(_STATUS) == "ERROR":
        status = StatusCode.ERROR
    elif each.tags.get(_STATUS) == "OK":
        status = StatusCode.OK
    message = each.tags.get(_ERROR, "")
    return span(
        trace_id=bytes.fromhex(each.trace_id),
        span_id=bytes.fromhex(each.span_id),
        parent_id=bytes.fromhex(each.parent_id),
        name=each.name,
        kind=_OTLP_KINDS[each.kind],
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=_attributes(each),
        events=[SpanEvent(us * 1000, value) for us, value in each.annotations],
        status=status,
        status_message="" if message == "true" else message,
    )


def _times(each: ZipkinSpan, now_ns: int) -> tuple[int, int]:
    """Where one is missing, from the first annotation, and to the last."""
    moments = [us for us, _ in each.annotations if us]
    start_us = each.timestamp_us or min(moments, default=0)
    if not start_us:
        return now_ns, now_ns + each.duration_us * 1000
    if each.duration_us:
        return start_us * 1000, (start_us + each.duration_us) * 1000
    return start_us * 1000, max([start_us, *moments]) * 1000


def _scope_of(tags: dict[str, str]) -> Scope:
    return Scope(_first(tags, _SCOPE_NAME), _first(tags, _SCOPE_VERSION))


def _first(tags: dict[str, str], names: tuple[str, ...]) -> str:
    return next((tags[name] for name in names if tags.get(name)), "")


def _attributes(each: ZipkinSpan) -> dict[str, Value]:
    hidden = {*_SCOPE_NAME, *_SCOPE_VERSION, _STATUS}
    found: dict[str, Value] = {k: v for k, v in each.tags.items() if k not in hidden}
    local, remote = each.local, each.remote
    missing: list[Value] = []
    if not each.timestamp_us:
        missing.append("timestamp")
    if not each.duration_us:
        missing.append("duration")
    extra: dict[str, Value] = {
        _LOCAL_IPV4: local.ipv4 or local.ipv6,
        _LOCAL_IPV6: local.ipv6 if local.ipv4 else "",
        _LOCAL_PORT: local.port,
        _PEER_SERVICE: remote.service,
        _PEER_IPV4: remote.ipv4 or remote.ipv6,
        _PEER_IPV6: remote.ipv6 if remote.ipv4 else "",
        _PEER_PORT: remote.port,
        SHARED: each.shared,
        INCOMPLETE: missing,
    }
    return found | {name: value for name, value in extra.items() if value}


def zipkin_span(each: Span) -> ZipkinSpan:
    """A span of the model as Zipkin has it."""
    missing = each.attributes.get(INCOMPLETE)
    lacks = missing if isinstance(missing, list) else []
    duration_us = 0 if "duration" in lacks else max(1, each.duration_ns // 1000)
    return ZipkinSpan(
        trace_id=each.trace_id,
        span_id=each.span_id,
        parent_id=each.parent_id,
        kind=_ZIPKIN_KINDS.get(each.kind, ""),
        name=each.name,
        timestamp_us=0 if "timestamp" in lacks else each.start_ns // 1000,
        duration_us=duration_us,
        local=_endpoint(each, "" if each.service == UNKNOWN_SERVICE else each.service, _LOCAL),
        remote=_endpoint(each, _text(each, _PEER_SERVICE), _PEER),
        annotations=tuple((event.time_ns // 1000, _annotation(event)) for event in each.events),
        tags=_tags(each),
        shared=each.attributes.get(SHARED) is True,
    )


def _endpoint(each: Span, service: str, names: tuple[str, str, str]) -> Endpoint:
    first = _text(each, names[0]) if _is_address(each, names) else ""
    is_ipv6 = ":" in first
    port = each.attributes.get(names[2])
    return Endpoint(
        service,
        "" if is_ipv6 else first,
        first if is_ipv6 else _text(each, names[1]),
        port if isinstance(port, int) else 0,
    )


def _is_address(each: Span, names: tuple[str, str, str]) -> bool:
    """Whether it is one, and no socket's path, say."""
    try:
        ipaddress.ip_address(_text(each, names[0]))
    except ValueError:
        return False
    return True


def _text(each: Span, name: str) -> str:
    value = each.attributes.get(name)
    return value if isinstance(value, str) else ""


def _annotation(event: SpanEvent) -> str:
    """The event's name; with its attributes as OpenTelemetry's exporters have them."""
    if not event.attributes:
        return event.name
    attributes = {name: text_of(value) for name, value in event.attributes.items()}
    return msgspec.json.encode({event.name: attributes}).decode()


def _tags(each: Span) -> dict[str, str]:
    hidden = {SHARED, INCOMPLETE, _PEER_SERVICE}
    for names in (_LOCAL, _PEER):
        if _is_address(each, names):
            hidden.update(names)
    tags = {name: text_of(value) for name, value in each.attributes.items() if name not in hidden}
    if each.scope.name:
        tags[_SCOPE_NAME[0]] = each.scope.name
    if each.scope.version:
        tags[_SCOPE_VERSION[0]] = each.scope.version
    if each.status is StatusCode.OK:
        tags[_STATUS] = "OK"
    elif each.status is StatusCode.ERROR:
        tags.setdefault(_ERROR, each.status_message or "true")
    return tags
