"""Loki's HTTP API, the live tail: a WebSocket. docs/api/loki.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from obsd.api.auth import project_of
from obsd.api.errors import ForbiddenError, answer_to
from obsd.api.keys import CORS, LOGS
from obsd.api.loki_json import CATEGORIZE, categories, wants_categories
from obsd.api.loki_params import PREFIX, LokiParams, read_loki_params
from obsd.model.errors import BadInputError
from obsd.services.loki_tail import LokiTails, RenderStream, TailFrame, TailQuery, TailReader

if TYPE_CHECKING:
    from obsd.logql import LogEntry

MAX_DELAY_S: Final = 5
PING_S: Final = 5.0
"""Between two signs of life; a client that has gone without a word is noticed by them."""

_SEND_TIMEOUT_S: Final = 120.0
"""After which a client that takes nothing at all is let go."""
_MAX_MESSAGE_BYTES: Final = 4096  # Clients have nothing to say.
_MAX_REASON_BYTES: Final = 120  # The protocol has 123.

_encode: Final = msgspec.json.Encoder().encode


async def tail(request: web.Request) -> web.StreamResponse:
    """`GET …/tail`: the newest lines of a query, then what arrives, until either side ends it."""
    params = await read_loki_params(request)
    asked = _query_of(params)
    socket = web.WebSocketResponse(
        compress=False, max_msg_size=_MAX_MESSAGE_BYTES, timeout=_SEND_TIMEOUT_S
    )
    if not socket.can_prepare(request).ok:
        raise BadInputError("the live tail is a WebSocket: ask for an upgrade")
    _check_origin(request)
    categorized = wants_categories(request.headers)
    tails = LokiTails(request.app[LOGS])
    async with tails.open(project_of(request), asked, _renderer(categorized=categorized)) as reader:
        await socket.prepare(request)
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            await _first_done(_listen(socket), _show(socket, reader, categorized=categorized))
    return socket


def _query_of(params: LokiParams) -> TailQuery:
    delay_s = params.integer("delay_for", 0)
    if delay_s < 0:
        raise BadInputError(f"delay_for value {delay_s} is negative")
    if delay_s > MAX_DELAY_S:
        raise BadInputError(f"delay_for can't be greater than {MAX_DELAY_S}")
    return TailQuery(params.query, params.range().start_ns, params.limit(), delay_s)


def _check_origin(request: web.Request) -> None:
    """Refuse pages of foreign origins: browsers let any page open a WebSocket.

    Raises:
        ForbiddenError: it is such a page.
    """
    origin = request.headers.get("Origin")
    if origin is None or urlsplit(origin).netloc == request.host:
        return
    if request.app[CORS].allowed_origin(request) is None:
        raise ForbiddenError(f"pages of {origin[:100]!r} may not follow logs: server.cors_origins")


def _renderer(*, categorized: bool) -> RenderStream:
    def render(labels: dict[str, str], entry: LogEntry) -> tuple[bytes, bytes]:
        value: tuple[object, ...] = (str(entry.time_ns), entry.line)
        if categorized:
            value = (*value, categories(entry.structured_metadata, entry.parsed))
        else:
            labels = labels | dict(entry.structured_metadata) | dict(entry.parsed)
        shown = _encode(dict(sorted(labels.items())))
        return shown, b'{"stream":%b,"values":[%b]}' % (shown, _encode(value))

    return render


async def _first_done(*works: Coroutine[None, None, None]) -> None:
    """Run coroutines until one ends, and stop the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(socket: web.WebSocketResponse) -> None:
    """Answer pings, and notice that the client has gone."""
    async for _ in socket:
        pass


async def _show(socket: web.WebSocketResponse, reader: TailReader, *, categorized: bool) -> None:
    """Sending waits for a slow client; meanwhile the reader's buffer fills, and then drops."""
    while True:
        frame = await reader.next(PING_S)
        async with asyncio.timeout(_SEND_TIMEOUT_S):
            if frame is None:
                await socket.ping()
                continue
            if frame.lines or frame.dropped:
                await socket.send_frame(frame_json(frame, categorized=categorized), WSMsgType.TEXT)
        if frame.has_ended:
            await _close(socket, frame)
            return


def frame_json(frame: TailFrame, *, categorized: bool) -> bytes:
    """Lines, each as a stream of its own, and what was let go before them."""
    pieces = [b'{"streams":[', b",".join(line.stream for line in frame.lines), b"]"]
    if frame.dropped:
        dropped = (
            b'{"labels":%b,"timestamp":"%d"}' % (line.labels, line.time_ns)
            for line in frame.dropped
        )
        pieces += (b',"dropped_entries":[', b",".join(dropped), b"]")
    if categorized:
        pieces.append(b',"encodingFlags":["%b"]' % CATEGORIZE.encode())
    pieces.append(b"}")
    return b"".join(pieces)


async def _close(socket: web.WebSocketResponse, frame: TailFrame) -> None:
    code, reason = WSCloseCode.GOING_AWAY, "the server is stopping"
    if frame.failure is not None:
        code, reason = WSCloseCode.INTERNAL_ERROR, answer_to(frame.failure).message
    await socket.close(code=code, message=reason.encode()[:_MAX_REASON_BYTES])


def routes() -> list[web.RouteDef]:
    return [web.get(f"{PREFIX}/tail", tail)]
