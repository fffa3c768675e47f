"""OTLP/HTTP traces, `POST /v1/traces`: docs/api/ingest.md."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from obsd.api.errors import ErrorRenderer
from obsd.api.keys import TRACES
from obsd.ingest.otlp_answers import render_status
from obsd.ingest.otlp_http import Signal
from obsd.services.trace_collector import TraceCollector, describe_rejected_spans

PATHS: Final = ("/v1/traces", "/otlp/v1/traces")


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


SIGNAL: Final = Signal(
    PATHS,
    TRACES,
    store_traces,
    ("obsd.ingest.otlp_traces_json", "traces_request_from_json"),
    "rejectedSpans",
)


def routes() -> list[web.RouteDef]:
    return SIGNAL.routes()


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys(PATHS, render_status)
