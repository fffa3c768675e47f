"""`/-/ready`, `/-/healthy`, `/ready` and `/metrics`: docs/operations.md."""

from __future__ import annotations

import asyncio

from aiohttp import web

from obsd.api.keys import STATE, TELEMETRY


async def ready(request: web.Request) -> web.Response:
    """200 once queries and writes are served; 503 with the reason before and after."""
    state = request.app[STATE]
    if state.is_ready:
        return web.Response(text="obsd is ready\n")
    return web.Response(
        status=503, text=f"obsd is {state.phase.value}\n", headers={"Retry-After": "1"}
    )


async def healthy(_request: web.Request) -> web.Response:
    """200 for as long as the event loop turns."""
    return web.Response(text="obsd is healthy\n")


async def metrics(request: web.Request) -> web.Response:
    """The metrics of obsd itself as exposition text."""
    telemetry = request.app[TELEMETRY]
    text = await asyncio.get_running_loop().run_in_executor(None, telemetry.render)
    return web.Response(body=text, headers={"Content-Type": telemetry.CONTENT_TYPE})


def routes() -> list[web.RouteDef]:
    return [
        web.get("/-/ready", ready),
        web.get("/-/healthy", healthy),
        web.get("/ready", ready),
        web.get("/metrics", metrics),
    ]
