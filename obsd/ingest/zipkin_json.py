"""Zipkin's spans in JSON: read, and written for who asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from obsd.ingest.json_shown import NOT_JSON, shown
from obsd.ingest.json_stream import iter_objects
from obsd.ingest.zipkin_span import KINDS, MAX_SPANS, NOBODY, Endpoint, ZipkinSpan
from obsd.model.errors import TooLargeError, UndecodableError

_HEX: Final = frozenset("0123456789abcdef")
_MAX_US: Final = ((1 << 63) - 1) // 1000
_ZEROS: Final = "0" * 16
_AT_ONCE_BYTES: Final = 4 << 20
"""What is read as a whole; of more, one span after the other, which takes longer."""


class _Endpoint(msgspec.Struct, rename="camel"):
    service_name: str | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    port: int | None = None


class _Annotation(msgspec.Struct):
    timestamp: int = 0
    value: str = ""


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str
    id: str
    parent_id: str | None = None
    kind: str | None = None
    name: str | None = None
    timestamp: int | None = None
    duration: int | None = None
    local_endpoint: _Endpoint | None = None
    remote_endpoint: _Endpoint | None = None
    annotations: list[_Annotation] | None = None
    tags: dict[str, msgspec.Raw] | None = None
    shared: bool | None = None


_SPANS: Final = msgspec.json.Decoder(list[_Span])
_SPAN: Final = msgspec.json.Decoder(_Span)
_ANY: Final = msgspec.json.Decoder()


def read_json_spans(body: bytes) -> list[ZipkinSpan]:
    """The spans of an array.

    Raises:
        UndecodableError: where in the body something is not as it should be.
        TooLargeError: there are too many spans, or one is too large.
    """
    try:
        spans = _SPANS.decode(body) if len(body) <= _AT_ONCE_BYTES else _iter_spans(body)
        return [_read_span(span, f"$[{index}]") for index, span in enumerate(spans)]
    except NOT_JSON as error:
        raise UndecodableError(f"the body is no list of Zipkin's spans: {error}") from None


def _iter_spans(body: bytes) -> Iterator[_Span]:
    if not body.lstrip().startswith(b"["):
        raise UndecodableError("the body is no list of Zipkin's spans")
    for number, text in enumerate(iter_objects(body)):
        if number == MAX_SPANS:
            raise TooLargeError("spans of a request", MAX_SPANS)
        if len(text) > _AT_ONCE_BYTES:
            raise TooLargeError("bytes of a span", _AT_ONCE_BYTES)
        yield _SPAN.decode(text)


def _read_span(span: _Span, at: str) -> ZipkinSpan:
    kind = span.kind or ""
    if kind and kind not in KINDS:
        raise _wrong(f"{at}.kind", f"one of {', '.join(KINDS)}", kind)
    return ZipkinSpan(
        trace_id=read_id(span.trace_id, 32, f"{at}.traceId"),
        span_id=read_id(span.id, 16, f"{at}.id"),
        parent_id=read_id(span.parent_id, 16, f"{at}.parentId") if span.parent_id else "",
        kind=kind,
        name=span.name or "",
        timestamp_us=read_us(span.timestamp or 0, f"{at}.timestamp"),
        duration_us=read_us(span.duration or 0, f"{at}.duration"),
        local=_read_endpoint(span.local_endpoint, f"{at}.localEndpoint"),
        remote=_read_endpoint(span.remote_endpoint, f"{at}.remoteEndpoint"),
        annotations=tuple(
            (read_us(each.timestamp, f"{at}.annotations"), each.value)
            for each in span.annotations or ()
        ),
        tags={key: _text(value) for key, value in (span.tags or {}).items()},
        shared=bool(span.shared),
    )


def _read_endpoint(endpoint: _Endpoint | None, at: str) -> Endpoint:
    if endpoint is None:
        return NOBODY
    port = endpoint.port or 0
    if not 0 <= port <= 0xFFFF:
        raise _wrong(f"{at}.port", "a port", port)
    return Endpoint(endpoint.service_name or "", endpoint.ipv4 or "", endpoint.ipv6 or "", port)


def read_id(text: str, digits: int, at: str) -> str:
    """Hexadecimal digits in lower case, with zeros in front where there are too few.

    Raises:
        UndecodableError: they are none, or too many, or all zero.
    """
    found = text.lower()
    if not 0 < len(found) <= digits or not _HEX.issuperset(found) or not found.strip("0"):
        raise _wrong(at, f"up to {digits} hexadecimal digits, not all of them 0", text)
    return found.rjust(digits, "0")


def read_us(number: int, at: str) -> int:
    """Microseconds that can be told in nanoseconds.

    Raises:
        UndecodableError: they cannot.
    """
    if not 0 <= number <= _MAX_US:
        raise _wrong(at, "microseconds", number)
    return number


def _text(value: msgspec.Raw) -> str:
    """Tags are texts; some senders have numbers and booleans among them."""
    text = bytes(value)
    return _ANY.decode(text) if text.startswith(b'"') else text.decode()


def _wrong(at: str, expected: str, found: object) -> UndecodableError:
    return UndecodableError(f"{at}: expected {expected}, found {shown(found)}")


def span_json(span: ZipkinSpan) -> dict[str, Any]:
    """The span as an object; what is not known is left out."""
    found: dict[str, Any] = {
        # Whoever sent 16 digits finds 16.
        "traceId": span.trace_id.removeprefix(_ZEROS),
        "id": span.span_id,
        "parentId": span.parent_id,
        "kind": span.kind,
        "name": span.name,
        "timestamp": span.timestamp_us,
        "duration": span.duration_us,
        "localEndpoint": _endpoint_json(span.local),
        "remoteEndpoint": _endpoint_json(span.remote),
        "annotations": [{"timestamp": us, "value": value} for us, value in span.annotations],
        "tags": span.tags,
        "shared": span.shared,
    }
    return {key: value for key, value in found.items() if value}


def _endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    found = {
        "serviceName": endpoint.service,
        "ipv4": endpoint.ipv4,
        "ipv6": endpoint.ipv6,
        "port": endpoint.port,
    }
    return {key: value for key, value in found.items() if value}
