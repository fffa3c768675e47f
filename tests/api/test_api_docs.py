"""Every endpoint is in docs/api."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from obsd.api import (
    federate,
    log_context,
    log_follow,
    monitoring_logs,
    monitoring_metrics,
    prometheus_expr,
    prometheus_metadata,
    prometheus_query,
    prometheus_status,
    prometheus_targets,
    remote_read,
)
from obsd.api.prometheus_routes import WRITE_PATHS
from obsd.ingest import exposition, json_lines, loki_push, otlp_logs, remote_write

DOCS = Path(__file__).parents[2] / "docs" / "api"
MODULES = (
    federate,
    log_context,
    log_follow,
    monitoring_logs,
    monitoring_metrics,
    prometheus_expr,
    prometheus_metadata,
    prometheus_query,
    prometheus_status,
    prometheus_targets,
    remote_read,
    exposition,
    json_lines,
    loki_push,
    otlp_logs,
    remote_write,
)


LOG_PATHS = {*json_lines.PATHS, loki_push.PATH, *otlp_logs.PATHS}


def documented() -> Iterator[tuple[str, str]]:
    """Method and path of each heading like `GET, POST /api/v1/query`."""
    for name in ("prometheus", "ingest", "monitoring", "logs"):
        page = DOCS / f"{name}.md"
        for methods, path in re.findall(
            r"^### `([A-Z, ]+) (/\S*)`$", page.read_text(), re.MULTILINE
        ):
            for method in methods.split(", "):
                yield method, path


def served() -> set[tuple[str, str]]:
    application = web.Application()
    for module in MODULES:
        application.add_routes(module.routes())
    return {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def test_every_route_is_documented_and_the_other_way_round():
    pages = set(documented())
    metrics_aliases = set(WRITE_PATHS) - {"/api/v1/write"}
    aliases = metrics_aliases | set(otlp_logs.PATHS[1:]) | set(json_lines.PATHS[1:])
    text = (DOCS / "ingest.md").read_text() + (DOCS / "logs.md").read_text()
    assert all(f"`{alias}`" in text for alias in aliases)
    at_the_root = {
        (method, path)
        for method, path in served()
        if not path.startswith("/prometheus/") and path not in aliases
    }
    assert at_the_root == pages


def test_everything_of_prometheus_is_under_its_prefix_too():
    routes = served()
    for method, path in routes:
        if path.startswith(("/prometheus", "/api/v1/monitoring")) or path in LOG_PATHS:
            continue
        assert (method, "/prometheus" + path) in routes
