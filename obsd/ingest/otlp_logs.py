"""OTLP/HTTP logs, `POST /v1/logs`: docs/api/logs.md."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from obsd.api.errors import ErrorRenderer
from obsd.api.keys import LOGS
from obsd.ingest.otlp_answers import render_status
from obsd.ingest.otlp_http import Signal
from obsd.services.log_aggregator import LogAggregator, describe_rejected

PATHS: Final = ("/v1/logs", "/otlp/v1/logs")


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


SIGNAL: Final = Signal(
    PATHS,
    LOGS,
    store_logs,
    ("obsd.ingest.otlp_json", "logs_request_from_json"),
    "rejectedLogRecords",
)


def routes() -> list[web.RouteDef]:
    return SIGNAL.routes()


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_status)
