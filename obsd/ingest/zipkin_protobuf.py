"""Zipkin's spans in protobuf, `zipkin.proto3.ListOfSpans`.

Messages: https://github.com/openzipkin/zipkin-api/blob/master/zipkin.proto
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from obsd.ingest.zipkin_json import read_id, read_us
from obsd.ingest.zipkin_span import KINDS, MAX_SPANS, NOBODY, Endpoint, ZipkinSpan
from obsd.model.errors import TooLargeError, UndecodableError
from obsd.services.protobuf import BYTES, iter_fields

_KINDS: Final = ("", *KINDS)
_Fields = dict[int, int | bytes]


def read_protobuf_spans(body: bytes) -> list[ZipkinSpan]:
    """The spans of a list.

    Raises:
        UndecodableError: it is none, or where in it something is not as it should be.
        TooLargeError: there are too many spans.
    """
    spans: list[ZipkinSpan] = []
    for number, wire_type, value in iter_fields(body):
        if number == 1:
            if wire_type != BYTES or not isinstance(value, bytes):
                raise UndecodableError("a span is no message")
            if len(spans) == MAX_SPANS:
                raise TooLargeError("spans of a request", MAX_SPANS)
            spans.append(_read_span(value, f"spans[{len(spans)}]"))
    return spans


def _read_span(message: bytes, at: str) -> ZipkinSpan:
    fields: _Fields = {}
    annotations: list[tuple[int, str]] = []
    tags: dict[str, str] = {}
    for number, _, value in iter_fields(message):
        if number == 10:
            each = dict(_by_number(_message(value, at)))
            us = read_us(_number(each, 1, at), f"{at}.annotations")
            annotations.append((us, _text(each, 2, at)))
        elif number == 11:
            each = dict(_by_number(_message(value, at)))
            tags[_text(each, 1, at)] = _text(each, 2, at)
        else:
            fields[number] = value
    kind = _number(fields, 4, at)
    parent = _bytes(fields, 2, at)
    return ZipkinSpan(
        trace_id=read_id(_bytes(fields, 1, at).hex(), 32, f"{at}.trace_id"),
        span_id=read_id(_bytes(fields, 3, at).hex(), 16, f"{at}.id"),
        parent_id=read_id(parent.hex(), 16, f"{at}.parent_id") if parent.strip(b"\0") else "",
        kind=_KINDS[kind] if kind < len(_KINDS) else "",
        name=_text(fields, 5, at),
        timestamp_us=read_us(_number(fields, 6, at), f"{at}.timestamp"),
        duration_us=read_us(_number(fields, 7, at), f"{at}.duration"),
        local=_read_endpoint(_bytes(fields, 8, at), f"{at}.local_endpoint"),
        remote=_read_endpoint(_bytes(fields, 9, at), f"{at}.remote_endpoint"),
        annotations=tuple(annotations),
        tags=tags,
        shared=bool(_number(fields, 13, at)),
    )


def _read_endpoint(message: bytes, at: str) -> Endpoint:
    if not message:
        return NOBODY
    fields = dict(_by_number(message))
    ipv4, ipv6 = _bytes(fields, 2, at), _bytes(fields, 3, at)
    port = _number(fields, 4, at)
    if len(ipv4) not in (0, 4) or len(ipv6) not in (0, 16) or port > 0xFFFF:
        raise UndecodableError(f"{at}: an address or port that is none")
    return Endpoint(
        _text(fields, 1, at),
        str(ipaddress.IPv4Address(ipv4)) if ipv4 else "",
        str(ipaddress.IPv6Address(ipv6)) if ipv6 else "",
        port,
    )


def _by_number(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    for number, _, value in iter_fields(message):
        yield number, value


def _message(value: int | bytes, at: str) -> bytes:
    if not isinstance(value, bytes):
        raise UndecodableError(f"{at}: a field is no message")
    return value


def _bytes(fields: _Fields, number: int, at: str) -> bytes:
    return _message(fields.get(number, b""), f"{at}, field {number}")


def _number(fields: _Fields, number: int, at: str) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise UndecodableError(f"{at}, field {number}: expected a number")
    return value


def _text(fields: _Fields, number: int, at: str) -> str:
    try:
        return _bytes(fields, number, at).decode()
    except UnicodeDecodeError:
        raise UndecodableError(f"{at}, field {number}: a text that is no UTF-8") from None
