"""What handlers find in their application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import Authenticator
from obsd.api.cors import Cors
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

CONFIG: Final = web.AppKey("config", Config)
STATE: Final = web.AppKey("state", ServerState)
CORS: Final = web.AppKey("cors", Cors)
AUTHENTICATOR: Final = web.AppKey("authenticator", Authenticator)
METRICS: Final[web.AppKey[MetricsCollector]] = web.AppKey("metrics")
LOGS: Final[web.AppKey[LogAggregator]] = web.AppKey("logs")
TRACES: Final[web.AppKey[TraceCollector]] = web.AppKey("traces")
TELEMETRY: Final[web.AppKey[Telemetry]] = web.AppKey("telemetry")
SUPERVISOR: Final[web.AppKey[Supervisor]] = web.AppKey("supervisor")
SELF_MONITORING: Final[web.AppKey[SelfMonitoring | None]] = web.AppKey("self_monitoring")
ARRIVALS: Final[web.AppKey[ArrivalRate]] = web.AppKey("arrivals")
LOG_ARRIVALS: Final[web.AppKey[ArrivalRate]] = web.AppKey("log_arrivals")
SPAN_ARRIVALS: Final[web.AppKey[ArrivalRate]] = web.AppKey("span_arrivals")
LOG_METRICS: Final[web.AppKey[LogMetrics]] = web.AppKey("log_metrics")
ERRORS: Final[web.AppKey[ErrorTracker]] = web.AppKey("errors")
PROJECTS: Final[web.AppKey[Projects]] = web.AppKey("projects")
