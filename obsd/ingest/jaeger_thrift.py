"""Jaeger's collector: spans in Thrift over HTTP, and how much to sample: docs/receivers.md.

On the main port everything stands under a prefix, since `/api/traces` is a question elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer, render_text
from obsd.api.keys import TRACES
from obsd.ingest.media_type import parse_media_type
from obsd.model.errors import BadInputError
from obsd.services.trace_collector import describe_rejected_spans

PREFIX: Final = "/jaeger-thrift"
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20
_TYPES: Final = ("application/x-thrift", "application/vnd.apache.thrift.binary")
_FORMATS: Final = ("", "jaeger.thrift")
# Everything: what is kept is decided here, later, when whole traces are known.
_SAMPLING: Final = msgspec.json.encode(
    {"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 1.0}}
)


async def post_batch(request: web.Request) -> web.Response:
    """Store a batch, and answer when it is durable."""
    traces = request.app[TRACES]
    project_id = project_of(request)
    media_type, _ = parse_media_type(request.headers.get("Content-Type", ""))
    if media_type not in _TYPES:
        raise BadInputError(f"unsupported content type {media_type!r}: expected {_TYPES[0]}")
    if request.query.get("format", "") not in _FORMATS:
        raise BadInputError("unsupported format: expected jaeger.thrift")
    body = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=ANY_CODING,
    )
    from obsd.ingest.jaeger_batch import encode_batch

    loop = asyncio.get_running_loop()
    encoded = await loop.run_in_executor(traces.ingest_pool, encode_batch, body)
    if encoded:
        outcome = await traces.write(project_id, encoded)
        if outcome.rejected:
            raise BadInputError(describe_rejected_spans(outcome))
    return web.Response(status=202)


async def sampling(request: web.Request) -> web.Response:
    """What a client shall send: everything."""
    if len(request.query.getall("service", [])) != 1:
        raise BadInputError("'service' parameter must be provided once")
    return web.Response(body=_SAMPLING, content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [
        web.post(f"{PREFIX}/api/traces", post_batch),
        web.get(f"{PREFIX}/api/sampling", sampling),
        web.get(f"{PREFIX}/sampling", sampling),
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {f"{PREFIX}/": render_text}
