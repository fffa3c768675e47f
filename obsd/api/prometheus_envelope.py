"""The envelope of Prometheus' HTTP API: success and errors in one JSON shape.

`{"status":"success","data":…,"warnings":[…],"infos":[…]}` or
`{"status":"error","errorType":"…","error":"…"}`. Data comes as encoded JSON, since results are
encoded where they were computed, off the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from obsd.api.errors import ErrorAnswer

TRUNCATED: Final = "results truncated due to limit"

_ERROR_TYPES: Final = {
    400: "bad_data",
    404: "not_found",
    405: "bad_data",
    406: "not_acceptable",
    413: "bad_data",
    415: "bad_data",
    422: "execution",
    499: "canceled",
    500: "internal",
    503: "unavailable",
}


def envelope(
    data: Iterable[bytes], warnings: Sequence[str] = (), infos: Sequence[str] = ()
) -> bytes:
    """The whole body around pieces of data that are JSON together; joined, and so copied, once."""
    pieces = [b'{"status":"success","data":', *data]
    if warnings:
        pieces += (b',"warnings":', msgspec.json.encode(warnings))
    if infos:
        pieces += (b',"infos":', msgspec.json.encode(infos))
    pieces.append(b"}")
    return b"".join(pieces)


def json_response(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def success(data: bytes) -> web.Response:
    """An answer with data that is JSON already, and small."""
    return json_response(envelope((data,)))


def render_error(answer: ErrorAnswer) -> web.Response:
    """An error as Prometheus' clients expect it."""
    if answer.type == "query_timeout":
        error_type = "timeout"
    else:
        error_type = _ERROR_TYPES.get(answer.status, answer.type)
    body = {"status": "error", "errorType": error_type, "error": answer.message}
    return web.Response(
        status=answer.status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=answer.headers,
    )
