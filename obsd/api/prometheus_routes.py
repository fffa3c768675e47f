"""Where Prometheus' HTTP API is served: at the root, and under `/prometheus`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREFIXES: Final = ("", "/prometheus")

WRITE_PATHS: Final = (
    "/api/v1/write",
    "/api/v1/prom/remote/write",
    "/api/v1/push",
    "/api/prom/push",
)
"""Remote write, and where some senders expect it."""


def get(path: str, handler: Handler) -> list[web.RouteDef]:
    """GET and HEAD, under both prefixes."""
    return [web.get(prefix + path, handler) for prefix in PREFIXES]


def post(path: str, handler: Handler) -> list[web.RouteDef]:
    return [web.post(prefix + path, handler) for prefix in PREFIXES]


def get_and_post(path: str, handler: Handler) -> list[web.RouteDef]:
    return [*get(path, handler), *post(path, handler)]
