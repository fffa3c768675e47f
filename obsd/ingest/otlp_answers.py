"""What OTLP/HTTP answers, in the type of the request: successes, partial ones, and errors.

Specification: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from obsd.api.errors import ErrorAnswer, UnsupportedMediaTypeError
from obsd.ingest.media_type import parse_media_type
from obsd.services.protobuf import bytes_field, uint_field

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

# google.rpc.Code by HTTP status; what is not here is UNKNOWN.
_CODES: Final = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    405: 12,
    413: 8,
    415: 3,
    422: 3,
    429: 8,
    499: 1,
    500: 13,
    503: 14,
}
_UNKNOWN: Final = 2


def body_type(request: web.BaseRequest) -> str:
    """PROTOBUF or JSON.

    Raises:
        UnsupportedMediaTypeError: it is neither.
    """
    stated = request.headers.get("Content-Type", "")
    media_type, _ = parse_media_type(stated)
    if media_type in (PROTOBUF, JSON):
        return media_type
    raise UnsupportedMediaTypeError(
        f"unsupported Content-Type {stated!r}: expected {PROTOBUF} or {JSON}"
    )


def success(media_type: str, rejected_field: str, rejected: int, message: str) -> web.Response:
    """200; the sender must not send again what was rejected.

    Args:
        media_type: PROTOBUF or JSON.
        rejected_field: the JSON name of the message's field 1.
        rejected: how many were.
        message: why, or what else the sender should know; empty for nothing.
    """
    if media_type == JSON:
        partial = {rejected_field: str(rejected), "errorMessage": message}
        answer = {"partialSuccess": partial} if rejected or message else {}
        return web.Response(body=msgspec.json.encode(answer), content_type=JSON)
    return web.Response(body=success_message(rejected, message), content_type=PROTOBUF)


def success_message(rejected: int, message: str) -> bytes:
    """An `Export…ServiceResponse`, which is the same of every signal."""
    if not rejected and not message:
        return b""
    return bytes_field(1, uint_field(1, rejected) + bytes_field(2, message.encode()))


def rpc_code(status: int) -> int:
    """The `google.rpc.Code` of an HTTP status."""
    return _CODES.get(status, _UNKNOWN)


def render_status(answer: ErrorAnswer) -> web.Response:
    """A `google.rpc.Status`; in JSON where the request was no protobuf."""
    code = rpc_code(answer.status)
    if parse_media_type(answer.request_type)[0] == PROTOBUF:
        body = uint_field(1, code) + bytes_field(2, answer.message.encode())
        content_type = PROTOBUF
    else:
        body = msgspec.json.encode({"code": code, "message": answer.message})
        content_type = JSON
    return web.Response(
        status=answer.status, body=body, content_type=content_type, headers=answer.headers
    )
