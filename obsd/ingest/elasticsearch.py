"""Elasticsearch's ingest API: its routes. What answers them is imported by the first request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from obsd.api.errors import ErrorAnswer, ErrorRenderer
from obsd.ingest.elasticsearch_paths import BULK_PATHS, PREFIX, ROUTES

if TYPE_CHECKING:
    from obsd.ingest.elasticsearch_service import Elasticsearch

Handler = Callable[[web.Request], Awaitable[web.Response]]


class _Service:
    """The service of one application, once there is something for it to do."""

    def __init__(self) -> None:
        self._service: Elasticsearch | None = None

    def handler(self, name: str) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            if self._service is None:
                from obsd.ingest.elasticsearch_service import Elasticsearch

                self._service = Elasticsearch()
            answer: Handler = getattr(self._service, name)
            return await answer(request)

        return handle


def routes() -> list[web.RouteDef]:
    service = _Service()
    at_the_root = [(methods, path, name) for methods, path, name in ROUTES if path in BULK_PATHS]
    below = [(methods, PREFIX + path, name) for methods, path, name in ROUTES]
    return [
        # With GET there is HEAD, too.
        web.get(path, service.handler(name))
        if method == "GET"
        else web.route(method, path, service.handler(name))
        for methods, path, name in (*at_the_root, *below)
        for method in methods
    ]


def _render_error(answer: ErrorAnswer) -> web.Response:
    from obsd.ingest.elasticsearch_answers import render_error

    return render_error(answer)


def error_renderers() -> dict[str, ErrorRenderer]:
    return dict.fromkeys((f"{PREFIX}/", "/_bulk", "*/_bulk"), _render_error)
