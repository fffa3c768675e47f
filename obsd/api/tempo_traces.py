"""Tempo's query API, single traces and the server itself: docs/api/tempo.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd import __version__
from obsd.api.auth import project_of
from obsd.api.errors import ErrorRenderer, NotFoundError
from obsd.api.json_body import json_response, rendered_response
from obsd.api.keys import TRACES
from obsd.api.otlp_json import base64_id, resource_spans
from obsd.api.tempo_params import PREFIX, PROTOBUF, render_error, wants_protobuf
from obsd.services.protobuf import bytes_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obsd.model.span import Span

TEMPO_VERSION: Final = "2.8.0"
"""Whose features these are. Grafana turns its own on by it; obsd's version is the revision."""


async def trace(request: web.Request) -> web.Response:
    """`GET …/traces/{id}`: OTLP `TracesData` as protobuf, or its JSON under `batches`."""
    if wants_protobuf(request):
        return web.Response(body=await _otlp(request), content_type=PROTOBUF)
    spans = await _spans(request)
    return await rendered_response(
        lambda: {"batches": resource_spans(spans, base64_id, names=True)}
    )


async def trace_v2(request: web.Request) -> web.Response:
    """`GET …/v2/traces/{id}`: a `TraceByIDResponse`, whose trace is always whole."""
    if wants_protobuf(request):
        body = bytes_field(1, await _otlp(request))
        return web.Response(body=body, content_type=PROTOBUF)
    spans = await _spans(request)
    return await rendered_response(
        lambda: {
            "trace": {"resourceSpans": resource_spans(spans, base64_id, names=True)},
            "metrics": {},
            "status": "COMPLETE",
            "message": "",
        }
    )


async def _otlp(request: web.Request) -> bytes:
    found = await request.app[TRACES].otlp(project_of(request), request.match_info["id"])
    if found is None:
        raise NotFoundError("trace not found")
    return found


async def _spans(request: web.Request) -> Sequence[Span]:
    spans = await request.app[TRACES].trace(project_of(request), request.match_info["id"])
    if not spans:
        raise NotFoundError("trace not found")
    return spans


async def echo(_request: web.Request) -> web.Response:
    """`GET …/echo`: Grafana's test of the data source."""
    return web.Response(text="echo")


async def ready(_request: web.Request) -> web.Response:
    """`GET /tempo/ready`, `/ready` on the listener of its own."""
    return web.Response(text="ready")


async def build_info(_request: web.Request) -> web.Response:
    """`GET …/status/buildinfo`: which features a client may count on."""
    return json_response(
        {
            "version": TEMPO_VERSION,
            "revision": f"obsd-{__version__}",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
    )


def error_renderers() -> dict[str, ErrorRenderer]:
    return {"/tempo/": render_error}


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PREFIX}/traces/{{id}}", trace),
        web.get(f"{PREFIX}/v2/traces/{{id}}", trace_v2),
        web.get(f"{PREFIX}/echo", echo),
        web.get("/tempo/ready", ready),
        web.get(f"{PREFIX}/status/buildinfo", build_info),
    ]
