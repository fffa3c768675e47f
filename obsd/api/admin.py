"""`/api/v1/admin`: what an operator may ask the storage to do now."""

from __future__ import annotations

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import LOGS, METRICS, TRACES


async def flush(request: web.Request) -> web.Response:
    """`POST /api/v1/admin/flush`: bring what is in memory to disk, and merge what is due."""
    project_id = project_of(request)
    await request.app[METRICS].flush(project_id)
    await request.app[LOGS].flush(project_id)
    await request.app[TRACES].flush(project_id)
    return web.Response(status=204)


def routes() -> list[web.RouteDef]:
    return [web.post("/api/v1/admin/flush", flush)]
