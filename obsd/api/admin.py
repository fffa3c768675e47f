"""`/api/v1/admin`: what an operator may ask the storage to do now."""

from __future__ import annotations

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import METRICS


async def flush(request: web.Request) -> web.Response:
    """`POST /api/v1/admin/flush`: make parts of what is in memory and merge what is due."""
    await request.app[METRICS].flush(project_of(request))
    return web.Response(status=204)


def routes() -> list[web.RouteDef]:
    return [web.post("/api/v1/admin/flush", flush)]
