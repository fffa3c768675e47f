"""The HTTP application: routes, what stands around them, and how it is served."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from obsd.api import keys
from obsd.api.auth import Authenticator
from obsd.api.cors import Cors
from obsd.api.edge import Edge, Handler, install_hot_path
from obsd.api.errors import ErrorRenderer, ErrorRenderers
from obsd.api.state import ServerState
from obsd.config import Config

if TYPE_CHECKING:
    from obsd.services.arrivals import ArrivalRate
    from obsd.services.error_tracking.tracker import ErrorTracker
    from obsd.services.log_aggregator import LogAggregator
    from obsd.services.log_metrics.log_metrics import LogMetrics
    from obsd.services.metrics_collector import MetricsCollector
    from obsd.services.projects import Projects
    from obsd.services.self_monitoring import SelfMonitoring
    from obsd.services.supervisor import Supervisor
    from obsd.services.telemetry import Telemetry
    from obsd.services.trace_collector import TraceCollector

# Each has `routes()`, and `error_renderers()` where its paths have errors in a form of their own.
ROUTE_MODULES: Final = (
    "obsd.api.admin",
    "obsd.api.health",
    "obsd.api.home",
    "obsd.api.federate",
    "obsd.api.jaeger_query",
    "obsd.api.jaeger_v3",
    "obsd.api.log_context",
    "obsd.api.log_deletion",
    "obsd.api.log_follow",
    "obsd.api.log_patterns",
    "obsd.api.log_processors",
    "obsd.api.monitoring_errors",
    "obsd.api.loki_detected",
    "obsd.api.loki_index",
    "obsd.api.loki_labels",
    "obsd.api.loki_patterns",
    "obsd.api.loki_query",
    "obsd.api.loki_status",
    "obsd.api.loki_tail",
    "obsd.api.monitoring_log_metrics",
    "obsd.api.monitoring_logs",
    "obsd.api.monitoring_metrics",
    "obsd.api.monitoring_service_map",
    "obsd.api.monitoring_trace_analysis",
    "obsd.api.monitoring_traces",
    "obsd.api.prometheus_expr",
    "obsd.api.prometheus_metadata",
    "obsd.api.prometheus_query",
    "obsd.api.prometheus_status",
    "obsd.api.prometheus_targets",
    "obsd.api.remote_read",
    "obsd.api.tempo_metrics",
    "obsd.api.tempo_search",
    "obsd.api.tempo_tags",
    "obsd.api.tempo_traces",
    "obsd.api.trace_deletion",
    "obsd.ingest.elasticsearch",
    "obsd.ingest.exposition",
    "obsd.ingest.jaeger_thrift",
    "obsd.ingest.json_lines",
    "obsd.ingest.loki_push",
    "obsd.ingest.otlp_logs",
    "obsd.ingest.otlp_metrics",
    "obsd.ingest.otlp_traces",
    "obsd.ingest.remote_write",
    "obsd.ingest.splunk",
    "obsd.ingest.zipkin",
)

# Grafana puts whole queries into GETs, and 64 KiB of a query must fit with room for the rest.
_MAX_LINE_BYTES: Final = 128 << 10
_MAX_FIELD_BYTES: Final = 64 << 10
_MAX_BODY_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    state: ServerState
    projects: Projects
    metrics: MetricsCollector
    logs: LogAggregator
    traces: TraceCollector
    errors: ErrorTracker
    log_metrics: LogMetrics
    arrivals: ArrivalRate
    log_arrivals: ArrivalRate
    span_arrivals: ArrivalRate
    telemetry: Telemetry
    supervisor: Supervisor
    authenticator: Authenticator
    self_monitoring: SelfMonitoring | None


def build_app(
    config: Config, services: Services, modules: Iterable[ModuleType] | None = None
) -> tuple[web.Application, Edge]:
    """The application, and its edge for `serving_runner`."""
    if modules is None:
        modules = [importlib.import_module(name) for name in ROUTE_MODULES]
    renderers: dict[str, ErrorRenderer] = {}
    routes: list[web.RouteDef] = []
    for module in modules:
        routes += module.routes()
        if hasattr(module, "error_renderers"):
            renderers |= module.error_renderers()
    cors = Cors(config.server.cors_origins)
    edge = Edge(
        state=services.state,
        authenticator=services.authenticator,
        cors=cors,
        renderers=ErrorRenderers(renderers),
        telemetry=services.telemetry,
        logs_requests=config.log.requests,
    )

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await edge.around(request, handler)

    application = web.Application(middlewares=[around], client_max_size=_MAX_BODY_BYTES)
    application.add_routes(routes)
    application[keys.CONFIG] = config
    application[keys.STATE] = services.state
    application[keys.CORS] = cors
    application[keys.AUTHENTICATOR] = services.authenticator
    application[keys.METRICS] = services.metrics
    application[keys.LOGS] = services.logs
    application[keys.TRACES] = services.traces
    application[keys.ERRORS] = services.errors
    application[keys.LOG_METRICS] = services.log_metrics
    application[keys.PROJECTS] = services.projects
    application[keys.ARRIVALS] = services.arrivals
    application[keys.LOG_ARRIVALS] = services.log_arrivals
    application[keys.SPAN_ARRIVALS] = services.span_arrivals
    application[keys.TELEMETRY] = services.telemetry
    application[keys.SUPERVISOR] = services.supervisor
    application[keys.SELF_MONITORING] = services.self_monitoring
    return application, edge


async def serving_runner(
    application: web.Application,
    edge: Edge,
    shutdown_timeout_s: float = 1.0,
    prefixes: Mapping[int, str] | None = None,
) -> web.AppRunner:
    """Set up a runner that serves the application; sites are the caller's.

    Listeners on the ports of `prefixes` serve what stands under that prefix, at their root.

    Bodies come in their content coding, since handlers decide what they take. A handler is
    cancelled when its client goes away, so that nobody's query does not run on. What is still
    unanswered when the runner is cleaned up gets as long as `shutdown_timeout_s`, but no more of
    its body: drain the edge first.
    """
    options: dict[str, Any] = {
        "access_log": None,
        "auto_decompress": False,
        "handler_cancellation": True,
        "lingering_time": 3.0,
        "max_line_size": _MAX_LINE_BYTES,
        "max_field_size": _MAX_FIELD_BYTES,
        "shutdown_timeout": shutdown_timeout_s,
    }
    runner = web.AppRunner(application, **options)
    await runner.setup()
    assert runner.server is not None
    install_hot_path(runner.server, application, edge, prefixes or {})
    return runner
