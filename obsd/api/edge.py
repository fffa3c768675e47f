"""What happens around every handler: CORS, authentication, errors, compression, the log.

One middleware and not a chain of them, since each link costs every request. The hot path, remote
write, has a shorter way: of all this it needs authentication and a count.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.access_log import SparseLog, log_request
from obsd.api.auth import OPEN_PATHS, Authenticator
from obsd.api.cors import Cors
from obsd.api.errors import ErrorRenderers
from obsd.api.mounts import mounted, of_listener
from obsd.api.prometheus_routes import PREFIXES, WRITE_PATHS
from obsd.api.response_compression import compress_response
from obsd.api.state import Phase, ServerState
from obsd.model.errors import OverloadedError

if TYPE_CHECKING:
    from obsd.services.telemetry import Telemetry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOT_PATHS: Final = frozenset(prefix + path for prefix in PREFIXES for path in WRITE_PATHS)

_INGEST: Final = "obsd.ingest."
"""Where all handlers of writes are."""

# Served in every phase of the server's life.
_ALWAYS_SERVED = OPEN_PATHS | {"/metrics"}


class Edge:
    """Event loop only."""

    def __init__(
        self,
        *,
        state: ServerState,
        authenticator: Authenticator,
        cors: Cors,
        renderers: ErrorRenderers,
        telemetry: Telemetry,
        logs_requests: bool,
    ) -> None:
        self._state = state
        self._authenticator = authenticator
        self._cors = cors
        self._renderers = renderers
        self._telemetry = telemetry
        self._logs_requests = logs_requests
        # By the port of a listener of one API alone: a path whose errors' form is that API's.
        self.apis: Mapping[int, str] = {}
        self._refused_writes = SparseLog()
        self._in_flight = 0
        self._all_answered: asyncio.Event | None = None  # There once somebody waits for it.

    async def drain(self, timeout_s: float) -> None:
        """Wait until every request that has begun is answered, or until the time is over."""
        self._all_answered = asyncio.Event()
        if self._in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), timeout_s)

    def _end_request(self) -> None:
        self._in_flight -= 1
        if self._all_answered is not None and not self._in_flight:
            self._all_answered.set()

    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The middleware."""
        self._in_flight += 1
        try:
            return await self._around(request, handler)
        finally:
            self._end_request()

    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        start_s = time.perf_counter()
        response: web.StreamResponse | None = self._cors.preflight(request) or _options(request)
        if response is None:
            response = await self._answer(request, handler)
            await compress_response(request, response)
        if not response.prepared:
            self._cors.mark(request, response)
        seconds = time.perf_counter() - start_s
        self._telemetry.observe_request(
            request.method, _route_of(request), response.status, seconds
        )
        if self._logs_requests:
            self._log(request, response, seconds)
        return response

    def _log(self, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        """Of writes only those that are refused, and of these one a second."""
        if not _is_write(request):
            log_request(request, response, seconds)
        elif response.status >= 400:
            self._refused_writes.log_request(request, response, seconds)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._admit(request)
            if request.path == "/" and self._api_of(request) is not None:
                raise web.HTTPNotFound  # obsd's own page is at its own port.
            return await handler(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if request.writer.output_size > 0:
                raise  # Part of an answer is out; only a broken connection can tell now.
            content_type = request.headers.get("Content-Type", "")
            is_there = request.path != "/" and request.match_info.http_exception is None
            path = None if is_there else self._api_of(request)
            return self._renderers.render(path or request.path, error, content_type)

    def _api_of(self, request: web.BaseRequest) -> str | None:
        return of_listener(request, self.apis) if self.apis else None

    def _admit(self, request: web.BaseRequest) -> None:
        """Refuse what may not be served, or not now."""
        if request.path not in OPEN_PATHS:
            self._authenticator.check(request)
        if not self._state.is_ready and request.path not in _ALWAYS_SERVED:
            _refuse(self._state.phase)

    async def around_hot(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The short way, for accepted writes by far the most often."""
        start_s = time.perf_counter()
        self._in_flight += 1
        try:
            if self._authenticator.is_required:
                self._authenticator.check(request)
            if not self._state.is_ready:
                _refuse(self._state.phase)
            response = await handler(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: the table says what to answer
            response = self._renderers.render(request.path, error)
        finally:
            self._end_request()
        seconds = time.perf_counter() - start_s
        self._telemetry.observe_write(response.status, seconds)
        if response.status >= 400 and self._logs_requests:
            self._refused_writes.log_request(request, response, seconds)
        return response


def _options(request: web.Request) -> web.Response | None:
    """The answer to OPTIONS that is no preflight, where there is no other; else None."""
    if request.method != "OPTIONS":
        return None
    error = request.match_info.http_exception
    if not isinstance(error, web.HTTPMethodNotAllowed):
        return None
    return web.Response(status=204, headers={"Allow": ", ".join(sorted(error.allowed_methods))})


def _is_write(request: web.Request) -> bool:
    handler = request.match_info.handler
    return request.method in ("POST", "PUT") and handler.__module__.startswith(_INGEST)


def _refuse(phase: Phase) -> None:
    raise OverloadedError(f"obsd is {phase.value}", retry_after_s=1)


def _route_of(request: web.Request) -> str:
    """The route's pattern: a label with few values, however many paths there are."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def install_hot_path(
    server: web.Server, application: web.Application, edge: Edge, prefixes: Mapping[int, str]
) -> None:
    """Send POSTs to the hot paths the short way, past the router and the middleware.

    Requests to listeners of one API alone get its prefix: see `obsd.api.mounts`.
    To be called when the server is made, and before it has connections.
    """
    general = server.request_handler
    hot = _hot_routes(application)

    async def dispatch(request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and (found := hot.get(request.path)) is not None:
            request._match_info, handler = found  # noqa: SLF001 - as the router would set it
            if "Expect" not in request.headers:
                return await edge.around_hot(request, handler)
        if prefixes:
            request = mounted(request, prefixes)
        return await general(request)  # It also answers 100 Continue.

    server.request_handler = dispatch  # type: ignore[assignment]


def _hot_routes(
    application: web.Application,
) -> dict[str, tuple[web.UrlMappingMatchInfo, Handler]]:
    """For each path its handler, and a match that all requests share, since it has no variables."""
    found: dict[str, tuple[web.UrlMappingMatchInfo, Handler]] = {}
    for route in application.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        if route.method == "POST" and path in HOT_PATHS:
            match_info = web.UrlMappingMatchInfo({}, route)
            match_info.add_app(application)
            match_info.freeze()
            found[path] = (match_info, route.handler)
    return found
