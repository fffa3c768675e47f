"""OTLP/HTTP metrics, `POST /v1/metrics`: docs/api/ingest.md."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import read_body
from obsd.api.errors import ErrorRenderer
from obsd.api.keys import METRICS
from obsd.ingest.otlp_answers import JSON, body_type, render_status, success
from obsd.services.metrics_collector import MetricsCollector

PATHS: Final = ("/v1/metrics", "/otlp/v1/metrics", "/api/v1/otlp/v1/metrics")
MAX_COMPRESSED_BYTES: Final = 64 << 20  # As unpacked: bodies may come as they are.
MAX_DECOMPRESSED_BYTES: Final = 64 << 20
CODINGS: Final = frozenset({"identity", "gzip", "deflate", "zstd"})
_REJECTED: Final = "rejectedDataPoints"


async def export_metrics(request: web.Request) -> web.Response:
    """Store a batch, and answer when it is durable."""
    media_type = body_type(request)
    project_id = project_of(request)
    body = await read_body(
        request,
        max_compressed=MAX_COMPRESSED_BYTES,
        max_decompressed=MAX_DECOMPRESSED_BYTES,
        allowed=CODINGS,
    )
    metrics = request.app[METRICS]
    if media_type == JSON:
        from obsd.ingest.otlp_metrics_json import metrics_request_from_json

        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(metrics.ingest_pool, metrics_request_from_json, body)
    rejected, message = await store_metrics(metrics, project_id, body)
    return success(media_type, _REJECTED, rejected, message)


async def store_metrics(metrics: MetricsCollector, project_id: str, body: bytes) -> tuple[int, str]:
    """Store an `ExportMetricsServiceRequest`, and return once it is durable.

    Returns:
        How many data points were refused, and what the sender should know.
    """
    outcome = await metrics.otlp.write(project_id, body)
    return sum(outcome.rejected.values()), outcome.describe()


def routes() -> list[web.RouteDef]:
    return [web.post(path, export_metrics) for path in PATHS]


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_status)
