"""Every endpoint is in docs/api."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from aiohttp import web

from obsd.api.prometheus_routes import WRITE_PATHS
from obsd.api.server import ROUTE_MODULES
from obsd.ingest import json_lines, otlp_logs, otlp_metrics, otlp_traces

DOCS = Path(__file__).parents[2] / "docs" / "api"
# Health and the start page are in docs/operations.md.
ELSEWHERE = {"obsd.api.admin", "obsd.api.health", "obsd.api.home"}
# What is served under /prometheus as well as at the root.
PROMETHEUS = re.compile(r"obsd\.(api\.(prometheus_|federate|remote_read)|ingest\.(expo|remote))")


def documented() -> Iterator[tuple[str, str]]:
    """Method and path of each heading, or first cell of a row, like `GET, POST /api/v1/query`."""
    for page in sorted(DOCS.glob("*.md")):
        for methods, path in re.findall(
            r"^(?:###|\|) `([A-Z, ]+) (/\S*)`(?:$| \|)", page.read_text(), re.MULTILINE
        ):
            for method in methods.split(", "):
                yield method, path


def served(modules: Iterable[str] = ROUTE_MODULES) -> set[tuple[str, str]]:
    application = web.Application()
    for name in modules:
        if name not in ELSEWHERE:
            application.add_routes(importlib.import_module(name).routes())
    return {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def aliases() -> set[str]:
    """Other paths of the same thing, which are named in its text."""
    metrics = set(WRITE_PATHS) - {"/api/v1/write"}
    otlp = otlp_logs.PATHS[1:] + otlp_metrics.PATHS[1:] + otlp_traces.PATHS[1:]
    return metrics | set(otlp) | set(json_lines.PATHS[1:])


def test_every_route_is_documented_and_the_other_way_round():
    pages = set(documented())
    text = "".join(page.read_text() for page in DOCS.glob("*.md"))
    assert all(f"`{alias}`" in text for alias in aliases())
    at_the_root = {
        (method, path)
        for method, path in served()
        if not path.startswith("/prometheus/") and path not in aliases()
    }
    assert at_the_root == pages


def test_everything_of_prometheus_is_under_its_prefix_too():
    routes = served(name for name in ROUTE_MODULES if PROMETHEUS.match(name))
    assert ("GET", "/prometheus/api/v1/query") in routes
    for method, path in routes:
        if not path.startswith("/prometheus"):
            assert (method, "/prometheus" + path) in routes
