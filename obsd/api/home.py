"""`/`: what runs, what arrives, and where to send data; one page that asks nobody else."""

from __future__ import annotations

import asyncio
import html
import time
from dataclasses import dataclass
from string import Template
from typing import Final

from aiohttp import web

from obsd import __version__
from obsd.api.home_page import PAGE, SCRIPT_HASH, STYLE_HASH
from obsd.api.keys import (
    ARRIVALS,
    AUTHENTICATOR,
    CONFIG,
    LOG_ARRIVALS,
    PROJECTS,
    SELF_MONITORING,
    SPAN_ARRIVALS,
    STATE,
)
from obsd.config.units import FOREVER, format_duration
from obsd.services.projects import Projects

_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src '{STYLE_HASH}'; script-src '{SCRIPT_HASH}';"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_TEMPLATE: Final = Template(PAGE)
# What the snippets need where a token is asked for; the token itself is shown nowhere.
_WITH_TOKEN: Final = {
    "token_note": (
        '<p class="dim">A token is asked for. These take it from <code>OBSD_TOKEN</code>:'
        " <code>export OBSD_TOKEN=…</code> with the one that the first start printed.</p>"
    ),
    "prometheus_token": "\n    authorization:\n      credentials: TOKEN",
    "curl_token": ' -H "Authorization: Bearer $OBSD_TOKEN"',
    "grafana_token": ", any user and the token as password",
}
_WITHOUT_TOKEN: Final = dict.fromkeys(_WITH_TOKEN, "")


@dataclass(frozen=True, slots=True)
class _Stored:
    """All projects together."""

    active_series: int
    samples: int
    records: int
    spans: int
    size_bytes: int
    projects: int


async def home(request: web.Request) -> web.Response:
    """`GET /`."""
    application = request.app
    loop = asyncio.get_running_loop()
    stored = await loop.run_in_executor(None, _stored, application[PROJECTS])
    state = application[STATE]
    config = application[CONFIG]
    retention_s = config.storage.retention_s
    host = request.host
    values = {
        "version": __version__,
        "state": "ready" if state.is_ready else state.phase.value,
        "uptime": _ago(time.time() - state.started_s),
        "url": f"{request.scheme}://{host}",
        "rate": f"{application[ARRIVALS].per_second:,.0f}",
        "series": f"{stored.active_series:,}",
        "samples": f"{stored.samples:,}",
        "log_rate": f"{application[LOG_ARRIVALS].per_second:,.0f}",
        "records": f"{stored.records:,}",
        "span_rate": f"{application[SPAN_ARRIVALS].per_second:,.0f}",
        "spans": f"{stored.spans:,}",
        "size": f"{stored.size_bytes / (1 << 20):,.1f} MiB",
        "projects": f"{stored.projects:,}",
        "retention": FOREVER if retention_s is None else format_duration(retention_s),
        "host": _last_collection(request),
        "data_dir": str(config.storage.data_dir.absolute()),
    }
    snippets = _WITH_TOKEN if application[AUTHENTICATOR].is_required else _WITHOUT_TOKEN
    page = _TEMPLATE.substitute({k: html.escape(v) for k, v in values.items()} | snippets)
    return web.Response(text=page, content_type="text/html", headers=_HEADERS)


def _stored(projects: Projects) -> _Stored:
    stats = [engine.stats() for _, engine in projects]
    logs = [store.stats() for _, store in projects.logs]
    traces = [store.stats() for _, store in projects.traces]
    size_bytes = sum(s.wal_bytes + sum(level.size_bytes for level in s.levels) for s in stats)
    return _Stored(
        active_series=sum(s.active_series for s in stats),
        samples=sum(s.samples for s in stats),
        records=sum(s.records for s in logs),
        spans=sum(s.spans for s in traces),
        size_bytes=size_bytes + sum(s.wal_bytes + s.segment_bytes for s in (*logs, *traces)),
        projects=len({project for project, _ in [*projects, *projects.logs, *projects.traces]}),
    )


def _last_collection(request: web.Request) -> str:
    """One sentence about this host's own metrics."""
    monitoring = request.app[SELF_MONITORING]
    if monitoring is None:
        return "off"
    last = monitoring.last["node"]
    if last.error:
        return f"failing: {last.error}"
    if not last.time_ms:
        return "about to begin"
    return f"{last.samples} samples, {_ago(time.time() - last.time_ms / 1000)} ago"


def _ago(seconds: float) -> str:
    """Two units at most: more is noise."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        whole -= whole % 60
    if whole >= 86_400:
        whole -= whole % 3600
    return format_duration(whole)


def routes() -> list[web.RouteDef]:
    return [web.get("/", home)]
