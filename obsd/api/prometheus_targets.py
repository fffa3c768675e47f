"""Prometheus' HTTP API, what a server scrapes and alerts on.

obsd's only targets are this machine and itself; rules and alerts come with the alert manager.
"""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from obsd.api.params import read_params
from obsd.api.prometheus_envelope import success
from obsd.api.prometheus_routes import get
from obsd.model.errors import BadInputError

_RULE_TYPES: Final = ("", "alert", "record")
_TARGET_STATES: Final = ("", "any", "active", "dropped")


async def targets(request: web.Request) -> web.Response:
    """`GET /api/v1/targets`: what is scraped."""
    params = await read_params(request)
    state = params.text("state").lower()
    if state not in _TARGET_STATES:
        raise BadInputError(f'invalid state "{state}": expected active, dropped or any')
    return _success({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}})


async def target_metadata(request: web.Request) -> web.Response:
    """`GET /api/v1/targets/metadata`: what scraped targets say about their metrics."""
    return _success([])


async def scrape_pools(request: web.Request) -> web.Response:
    """`GET /api/v1/scrape_pools`: names of the groups of targets."""
    return _success({"scrapePools": []})


async def rules(request: web.Request) -> web.Response:
    """`GET /api/v1/rules`: recording and alerting rules."""
    params = await read_params(request)
    if (kind := params.text("type").lower()) not in _RULE_TYPES:
        raise BadInputError(f'not supported value "{kind}"')
    params.matcher_sets()
    return _success({"groups": []})


async def alerts(request: web.Request) -> web.Response:
    """`GET /api/v1/alerts`: alerts that are pending or firing."""
    return _success({"alerts": []})


async def alertmanagers(request: web.Request) -> web.Response:
    """`GET /api/v1/alertmanagers`: where alerts are sent."""
    return _success({"activeAlertmanagers": [], "droppedAlertmanagers": []})


def _success(data: object) -> web.Response:
    return success(msgspec.json.encode(data))


def routes() -> list[web.RouteDef]:
    return [
        *get("/api/v1/targets", targets),
        *get("/api/v1/targets/metadata", target_metadata),
        *get("/api/v1/scrape_pools", scrape_pools),
        *get("/api/v1/rules", rules),
        *get("/api/v1/alerts", alerts),
        *get("/api/v1/alertmanagers", alertmanagers),
    ]
