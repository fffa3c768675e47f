"""OTLP/HTTP logs, `POST /v1/logs`: docs/api/logs.md."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import read_body
from obsd.api.errors import ErrorRenderer
from obsd.api.keys import LOGS
from obsd.ingest.otlp_answers import JSON, body_type, render_status, success
from obsd.services.log_aggregator import LogAggregator, describe_rejected

PATHS: Final = ("/v1/logs", "/otlp/v1/logs")
MAX_COMPRESSED_BYTES: Final = 64 << 20  # As unpacked: bodies may come as they are.
MAX_DECOMPRESSED_BYTES: Final = 64 << 20
CODINGS: Final = frozenset({"identity", "gzip", "deflate", "zstd"})


async def export_logs(request: web.Request) -> web.Response:
    """Store a batch, and answer when it is durable."""
    media_type = body_type(request)
    project_id = project_of(request)
    body = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=CODINGS,
    )
    logs = request.app[LOGS]
    if media_type == JSON:
        from obsd.ingest.otlp_json import logs_request_from_json

        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(logs.ingest_pool, logs_request_from_json, body)
    rejected, message = await store_logs(logs, project_id, body)
    return success(media_type, _REJECTED, rejected, message)


async def store_logs(logs: LogAggregator, project_id: str, body: bytes) -> tuple[int, str]:
    """Store an `ExportLogsServiceRequest`, and return once it is durable.

    Returns:
        How many records were refused, and what the sender should know.
    """
    if not body:
        return 0, ""
    outcome = await logs.write(project_id, body)
    rejected = sum(outcome.rejected.values())
    return rejected, describe_rejected(outcome) if rejected else "; ".join(outcome.messages)


_REJECTED: Final = "rejectedLogRecords"


def routes() -> list[web.RouteDef]:
    return [web.post(path, export_logs) for path in PATHS]


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_status)
