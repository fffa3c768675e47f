"""The real application on a real socket, in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from obsd.api.auth import Authenticator
from obsd.api.server import Services, build_app, serving_runner
from obsd.api.state import Phase, ServerState
from obsd.config import Config
from obsd.model.clock import Clock, SystemClock
from obsd.services.arrivals import ArrivalRate
from obsd.services.error_tracking.group_store import ErrorGroups
from obsd.services.error_tracking.tracker import ErrorTracker
from obsd.services.log_aggregator import LogAggregator
from obsd.services.log_metrics.log_metrics import LogMetrics
from obsd.services.log_metrics.rule_store import RuleStore
from obsd.services.log_store import LogStore
from obsd.services.metadata_store import MetadataStore
from obsd.services.metrics_collector import Executors, MetricsCollector, QueryLimits
from obsd.services.projects import Projects, open_no_logs, open_no_traces
from obsd.services.span_store import SpanStore
from obsd.services.supervisor import Supervisor
from obsd.services.telemetry import Telemetry
from obsd.services.trace_collector import TraceCollector
from obsd.tsdb.options import EngineOptions
from tests.protobuf.prometheus_messages import compressed, write_request

FOREVER = EngineOptions(retention_ms=None)
WRITE_1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
WRITE_2 = {
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "Content-Encoding": "snappy",
}

Series = tuple[dict[str, str], list[tuple[int, float]]]


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes
    json: Any

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class RunningApp:
    url: str
    session: aiohttp.ClientSession
    metrics: MetricsCollector
    errors: ErrorTracker
    log_metrics: LogMetrics
    projects: Projects
    application: web.Application

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        async with self.session.request(method, self.url + path, **options) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            json = await response.json() if is_json else None
            return Answer(response.status, dict(response.headers), body, json)

    async def get(self, path: str, params: Any = None, **options: Any) -> Answer:
        return await self.request("GET", path, params=params, **options)

    async def post(self, path: str, data: Any = None, **options: Any) -> Answer:
        return await self.request("POST", path, data=data, **options)

    async def data(self, path: str, params: Any = None, method: str = "GET") -> Any:
        """The `data` of a successful answer."""
        answer = await self.request(method, path, params=params)
        assert answer.status == 200, answer.text
        assert answer.json["status"] == "success"
        return answer.json["data"]

    async def write(self, series: list[Series]) -> None:
        answer = await self.post(
            "/api/v1/write", compressed(write_request(series)), headers=WRITE_1
        )
        assert answer.status == 204, answer.text


@asynccontextmanager
async def running_app(
    directory: Path,
    *,
    limits: QueryLimits | None = None,
    options: EngineOptions = FOREVER,
    clock: Clock | None = None,
    config: Config | None = None,
    open_logs: Callable[[Path], LogStore] = open_no_logs,
    open_traces: Callable[[Path], SpanStore] = open_no_traces,
) -> AsyncIterator[RunningApp]:
    clock = clock or SystemClock()
    config = config or Config()
    projects = Projects(directory, options, clock, open_logs=open_logs, open_traces=open_traces)
    ingest, query = ThreadPoolExecutor(2), ThreadPoolExecutor(4)
    executors = Executors(ingest, query)
    metrics = MetricsCollector(projects, executors, limits, clock, config.otlp)
    logs = LogAggregator(projects, executors, metrics.turns, limits, clock)
    traces = TraceCollector(projects, executors, metrics.turns, limits, clock)
    metadata = MetadataStore(directory)
    errors = ErrorTracker(
        lambda: projects.logs,
        ErrorGroups(metadata),
        logs.new_budget,
        query,
        clock,
        lambda: projects.traces,
    )
    logs.deletions.also(errors.forget_deleted)
    traces.deletions.also(errors.forget_deleted_spans)
    projects.traces.before_use.append(errors.opened)
    counted = LogMetrics(
        lambda: projects.logs,
        projects.directory,
        RuleStore(metadata),
        metrics,
        logs.new_budget,
        query,
        clock,
    )
    services = Services(
        state=ServerState(phase=Phase.READY),
        projects=projects,
        metrics=metrics,
        logs=logs,
        traces=traces,
        errors=errors,
        log_metrics=counted,
        arrivals=ArrivalRate(),
        log_arrivals=ArrivalRate(),
        span_arrivals=ArrivalRate(),
        telemetry=Telemetry(),
        supervisor=Supervisor(),
        authenticator=Authenticator(None),
        self_monitoring=None,
    )
    application, edge = build_app(config, services)
    runner = await serving_runner(application, edge, 5)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://{host}:{port}"
            yield RunningApp(url, session, metrics, errors, counted, projects, application)
    finally:
        await runner.cleanup()
        ingest.shutdown()
        query.shutdown()
        projects.close()
        metadata.close()
