"""`/api/v1/monitoring/logs/metrics`: rules that make metrics of logs."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, read_json
from obsd.api.keys import LOG_METRICS
from obsd.services.log_metrics.rules import BUILT_IN, LogMetricRule

PATH: Final = "/api/v1/monitoring/logs/metrics"
_MAX_BODY_BYTES: Final = 1 << 20
MAX_PREVIEWED: Final = 1_000


async def show(request: web.Request) -> web.Response:
    """`GET`: a project's rules."""
    rules = await request.app[LOG_METRICS].rules(project_of(request))
    return json_response({"rules": [_shown(rule, error) for rule, error in rules]})


async def put(request: web.Request) -> web.Response:
    """`POST`: add a rule, or replace the one of its name."""
    rule = await read_json(request, LogMetricRule, _MAX_BODY_BYTES)
    await request.app[LOG_METRICS].put_rule(project_of(request), rule)
    return json_response({"rule": _shown(rule, "")}, 201)


async def preview(request: web.Request) -> web.Response:
    """`POST`: what a rule would count among the newest records."""
    samples = await request.app[LOG_METRICS].preview(
        project_of(request), await read_json(request, LogMetricRule, _MAX_BODY_BYTES)
    )
    shown = [
        {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
        for sample in samples[:MAX_PREVIEWED]
    ]
    return json_response({"series": shown, "total": len(samples)})


async def remove(request: web.Request) -> web.Response:
    """`DELETE`: remove a rule."""
    name = request.match_info["name"]
    if not await request.app[LOG_METRICS].delete_rule(project_of(request), name):
        raise NotFoundError(f"there is no rule {name[:200]!r} in this project")
    return web.Response(status=204)


def _shown(rule: LogMetricRule, error: str) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(rule)
    shown["buckets"] = list(rule.bounds) if rule.kind == "histogram" else []
    return shown | {"built_in": rule.name == BUILT_IN.name, "error": error}


def routes() -> list[web.RouteDef]:
    return [
        web.get(PATH, show),
        web.post(PATH, put),
        web.post(PATH + "/preview", preview),
        web.delete(PATH + "/{name}", remove),
    ]
