"""OTLP/HTTP traces, `POST /v1/traces`: docs/api/ingest.md."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import read_body
from obsd.api.errors import ErrorRenderer
from obsd.api.keys import TRACES
from obsd.ingest.otlp_answers import JSON, body_type, render_status, success
from obsd.services.trace_collector import TraceCollector, describe_rejected_spans

PATHS: Final = ("/v1/traces", "/otlp/v1/traces")
MAX_COMPRESSED_BYTES: Final = 64 << 20  # As unpacked: bodies may come as they are.
MAX_DECOMPRESSED_BYTES: Final = 64 << 20
CODINGS: Final = frozenset({"identity", "gzip", "deflate", "zstd"})
_REJECTED: Final = "rejectedSpans"


async def export_traces(request: web.Request) -> web.Response:
    """Store a batch, and answer when it is durable."""
    media_type = body_type(request)
    project_id = project_of(request)
    body = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=CODINGS,
    )
    traces = request.app[TRACES]
    if media_type == JSON:
        from obsd.ingest.otlp_traces_json import traces_request_from_json

        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(traces.ingest_pool, traces_request_from_json, body)
    rejected, message = await store_traces(traces, project_id, body)
    return success(media_type, _REJECTED, rejected, message)


async def store_traces(traces: TraceCollector, project_id: str, body: bytes) -> tuple[int, str]:
    """Store an `ExportTraceServiceRequest`, and return once it is durable.

    Returns:
        How many spans were refused, and what the sender should know.
    """
    if not body:
        return 0, ""
    outcome = await traces.write(project_id, body)
    rejected = sum(outcome.rejected.values())
    return rejected, describe_rejected_spans(outcome) if rejected else "; ".join(outcome.messages)


def routes() -> list[web.RouteDef]:
    return [web.post(path, export_traces) for path in PATHS]


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_status)
