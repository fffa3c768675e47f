"""Zipkin's API, version 2: docs/api/zipkin.md.

What reads spans and answers questions is imported by the first request: at the start its time would
be felt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer, render_text
from obsd.api.keys import TRACES
from obsd.ingest.media_type import parse_media_type
from obsd.model.errors import BadInputError
from obsd.services.trace_collector import describe_rejected_spans

if TYPE_CHECKING:
    from obsd.ingest.zipkin_pieces import Pieces
    from obsd.ingest.zipkin_span import ZipkinSpan
    from obsd.services.pending_write import OnDurable
    from obsd.services.span_store import SpanStore, SpanWriteOutcome

PREFIX: Final = "/zipkin"
SPANS: Final = "/api/v2/spans"
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20
_PROTOBUF: Final = "application/x-protobuf"
# The first field of a list is a message; no JSON begins so.
_PROTOBUF_START: Final = b"\x0a"

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Receiver:
    """Takes spans for one application; event loop only."""

    def __init__(self) -> None:
        self._pieces: Pieces | None = None

    async def post_spans(self, request: web.Request) -> web.Response:
        """Store a list of spans, and answer when it is durable."""
        traces = request.app[TRACES]
        project_id = project_of(request)
        body = await read_body(
            request,
            max_compressed=MAX_COMPRESSED_BYTES,
            max_decompressed=MAX_DECOMPRESSED_BYTES,
            allowed=ANY_CODING,
        )
        media_type, _ = parse_media_type(request.headers.get("Content-Type", ""))
        is_protobuf = media_type == _PROTOBUF or body.startswith(_PROTOBUF_START)
        loop = asyncio.get_running_loop()
        spans = await loop.run_in_executor(traces.ingest_pool, _read, body, is_protobuf)
        if not spans:
            return web.Response(status=202)
        if self._pieces is None:
            from obsd.ingest.zipkin_pieces import Pieces

            self._pieces = Pieces(traces.new_budget)
        pieces, now_ns = self._pieces, traces.now_ns()

        def write(store: SpanStore, on_durable: OnDurable) -> SpanWriteOutcome:
            return pieces.write(project_id, spans, store, on_durable, now_ns)

        outcome = await traces.write_with(project_id, write)
        if outcome.rejected:
            raise BadInputError(describe_rejected_spans(outcome))
        return web.Response(status=202)


def _read(body: bytes, is_protobuf: bool) -> list[ZipkinSpan]:
    if is_protobuf:
        from obsd.ingest.zipkin_protobuf import read_protobuf_spans

        return read_protobuf_spans(body)
    from obsd.ingest.zipkin_json import read_json_spans

    return read_json_spans(body)


def _question(name: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        from obsd.ingest import zipkin_queries

        answer: Handler = getattr(zipkin_queries, name)
        return await answer(request)

    return handle


# Path below the prefix, and the function of `zipkin_queries` that answers.
QUESTIONS: Final = {
    "/api/v2/services": "services",
    "/api/v2/remoteServices": "remote_services",
    "/api/v2/spans": "span_names",
    "/api/v2/traces": "traces",
    "/api/v2/trace/{trace_id}": "trace",
    "/api/v2/traceMany": "trace_many",
    "/api/v2/dependencies": "dependencies",
    "/api/v2/autocompleteKeys": "autocomplete_keys",
    "/api/v2/autocompleteValues": "autocomplete_values",
    "/health": "health",
}


def routes() -> list[web.RouteDef]:
    receiver = Receiver()
    return [
        web.post(SPANS, receiver.post_spans),
        web.post(PREFIX + SPANS, receiver.post_spans),
        *(web.get(PREFIX + path, _question(name)) for path, name in QUESTIONS.items()),
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {SPANS: render_text, f"{PREFIX}/": render_text}
