"""Prometheus' HTTP API, what a server scrapes and alerts on.

obsd's only targets are this machine and itself; rules and alerts come with the alert manager.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web

from obsd.api.keys import CONFIG, SELF_MONITORING
from obsd.api.params import read_params
from obsd.api.prometheus_envelope import success
from obsd.api.prometheus_routes import get
from obsd.api.prometheus_status import rfc3339
from obsd.model.errors import BadInputError

_RULE_TYPES: Final = ("", "alert", "record")
_TARGET_STATES: Final = ("", "any", "active", "dropped")
_NEVER: Final = "0001-01-01T00:00:00Z"


async def targets(request: web.Request) -> web.Response:
    """`GET /api/v1/targets`: what is scraped."""
    params = await read_params(request)
    state = params.text("state").lower()
    if state not in _TARGET_STATES:
        raise BadInputError(f'invalid state "{state}": expected active, dropped or any')
    pool = params.text("scrapePool")
    active = [t for t in own_targets(request.app) if pool in ("", t["scrapePool"])]
    return _success(
        {
            "activeTargets": [] if state == "dropped" else active,
            "droppedTargets": [],
            "droppedTargetCounts": {},
        }
    )


def own_targets(app: web.Application) -> list[dict[str, object]]:
    """This machine and obsd itself, as targets."""
    monitoring = app[SELF_MONITORING]
    if monitoring is None:
        return []
    settings = app[CONFIG]
    every = f"{settings.self_monitoring.interval_s:g}s"
    urls = {"obsd": f"http://{settings.server.listen}/metrics"}
    targets: list[dict[str, object]] = []
    for job, last in monitoring.last.items():
        labels = {"job": job, "instance": settings.self_monitoring.instance}
        url = urls.get(job, f"obsd:{job}")  # This machine is read without any URL.
        health = "up" if last.is_up else "down" if last.error else "unknown"
        moment = datetime.fromtimestamp(last.time_ms / 1000, UTC) if last.time_ms else None
        targets.append(
            {
                "discoveredLabels": {"__address__": url, **labels},
                "labels": labels,
                "scrapePool": job,
                "scrapeUrl": url,
                "globalUrl": url,
                "lastError": last.error,
                "lastScrape": _NEVER if moment is None else rfc3339(moment),
                "lastScrapeDuration": last.seconds,
                "health": health,
                "scrapeInterval": every,
                "scrapeTimeout": every,
            }
        )
    return targets


async def target_metadata(request: web.Request) -> web.Response:
    """`GET /api/v1/targets/metadata`: what scraped targets say about their metrics."""
    return _success([])


async def scrape_pools(request: web.Request) -> web.Response:
    """`GET /api/v1/scrape_pools`: names of the groups of targets."""
    monitoring = request.app[SELF_MONITORING]
    return _success({"scrapePools": [] if monitoring is None else sorted(monitoring.last)})


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
