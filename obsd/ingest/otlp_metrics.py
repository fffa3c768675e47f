"""OTLP/HTTP metrics, `POST /v1/metrics`: docs/api/ingest.md."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from obsd.api.errors import ErrorRenderer
from obsd.api.keys import METRICS
from obsd.ingest.otlp_answers import render_status
from obsd.ingest.otlp_http import Signal
from obsd.services.metrics_collector import MetricsCollector

PATHS: Final = ("/v1/metrics", "/otlp/v1/metrics", "/api/v1/otlp/v1/metrics")


async def store_metrics(metrics: MetricsCollector, project_id: str, body: bytes) -> tuple[int, str]:
    """Store an `ExportMetricsServiceRequest`, and return once it is durable.

    Returns:
        How many data points were refused, and what the sender should know.
    """
    outcome = await metrics.otlp.write(project_id, body)
    return sum(outcome.rejected.values()), outcome.describe()


SIGNAL: Final = Signal(
    PATHS,
    METRICS,
    store_metrics,
    ("obsd.ingest.otlp_metrics_json", "metrics_request_from_json"),
    "rejectedDataPoints",
)


def routes() -> list[web.RouteDef]:
    return SIGNAL.routes()


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_status)
