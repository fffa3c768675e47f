"""`GET /api/v1/monitoring/service-map`: who calls whom, and how well. docs/api/service-map.md."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.json_body import json_response
from obsd.api.keys import METRICS, TRACES
from obsd.api.params import InvalidParameterError, read_params
from obsd.api.trace_params import time_range
from obsd.model.rfc3339 import format_rfc3339_ns
from obsd.services.service_map import Calls, Edge, Map, Node, ServiceMap, baseline_ms

PATH: Final = "/api/v1/monitoring/service-map"
_MS_NS: Final = 1_000_000
_QUANTILES: Final = (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99))


async def show(request: web.Request) -> web.Response:
    """`GET`: the graph of a range."""
    params = await read_params(request)
    asked = time_range(params, request.app[TRACES].now_ns())
    start_ms, end_ms = asked.start_ns // _MS_NS, asked.end_ns // _MS_NS
    if end_ms <= start_ms:
        raise InvalidParameterError("to", "it is not after from")
    found = await ServiceMap(request.app[METRICS]).map(project_of(request), start_ms, end_ms)
    return json_response(map_entry(found, start_ms, end_ms))


def map_entry(found: Map, start_ms: int, end_ms: int) -> dict[str, Any]:
    """The answer."""
    range_s = (end_ms - start_ms) / 1000
    baseline_s = baseline_ms(end_ms - start_ms) / 1000
    return {
        "from": format_rfc3339_ns(start_ms * _MS_NS),
        "to": format_rfc3339_ns(end_ms * _MS_NS),
        "nodes": [_node(each, range_s, baseline_s) for each in found.nodes],
        "edges": [_edge(each, range_s) for each in found.edges],
        "uncounted_calls": round(found.uncounted),
    }


def _node(node: Node, range_s: float, baseline_s: float) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": node.type,
        **_calls(node.calls, range_s),
        "health": {"state": node.health.state, "reason": node.health.reason},
        "baseline": _calls(node.baseline, baseline_s) if node.baseline.count else None,
    }


def _edge(edge: Edge, range_s: float) -> dict[str, Any]:
    return {
        "client": edge.client,
        "server": edge.server,
        "connection_type": edge.connection or "direct",
        **_calls(edge.calls, range_s),
    }


def _calls(calls: Calls, range_s: float) -> dict[str, Any]:
    quantiles = {name: calls.quantile_s(q) for name, q in _QUANTILES}
    return {
        "calls": round(calls.count),
        "calls_per_second": calls.count / range_s,
        "error_rate": calls.error_rate,
        **{name: None if s is None else s * 1000 for name, s in quantiles.items()},
    }


def routes() -> list[web.RouteDef]:
    return [web.get(PATH, show)]
