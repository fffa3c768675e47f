"""`POST /api/v1/monitoring/logs`: a live tail, as server-sent events. docs/api/logs.md."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import answer_to
from obsd.api.keys import CORS, LOGS
from obsd.api.log_entry import log_entry
from obsd.model.errors import BadInputError
from obsd.model.log_record import LogRecord
from obsd.services.log_aggregator import LogQuery
from obsd.services.log_followers import Followed, Follower

PATH: Final = "/api/v1/monitoring/logs"
HEARTBEAT_S: Final = 15.0
"""Below the 60 s after which proxies give up on a silent connection, with room for one lost."""

_MAX_BODY_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 64 << 10
_HEARTBEAT: Final = b": heartbeat\n\n"
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back until it has a buffer full.
}


class FollowModel(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the POST. The filters are those of a search."""

    follow: bool
    query: str = ""
    level: list[str] = []
    service: list[str] = []

    def to_query(self) -> LogQuery:
        """The service's form."""
        return LogQuery(self.query, tuple(self.level), tuple(self.service))


_decoder = msgspec.json.Decoder(FollowModel)


async def follow(request: web.Request) -> web.StreamResponse:
    """`POST`: what arrives from now on and matches, until either side ends it."""
    asked = await _read(request)
    project_id = project_of(request)
    async with request.app[LOGS].follow(project_id, asked.to_query(), _render) as follower:
        response = web.StreamResponse(headers=_HEADERS)
        request.app[CORS].mark(request, response)
        await response.prepare(request)
        await _stream(response, follower)
        return response


async def _read(request: web.Request) -> FollowModel:
    body = await read_body(
        request,
        max_compressed=_MAX_BODY_BYTES,
        max_decompressed=_MAX_BODY_BYTES,
        allowed=ANY_CODING,
    )
    try:
        asked = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"invalid body: {error}") from error
    if not asked.follow:
        raise BadInputError('a POST follows, with {"follow": true}; to search, use GET')
    return asked


def _render(record: LogRecord) -> bytes:
    return event("log", log_entry(record))


def event(name: str, data: object) -> bytes:
    """A server-sent event. JSON has no line breaks of its own, so one line of data is enough."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


async def _stream(response: web.StreamResponse, follower: Follower) -> None:
    """Writes wait for a slow client; meanwhile the follower's buffer fills, and then loses."""
    heard_s = time.monotonic()
    await response.write(_HEARTBEAT)  # The client knows at once that it follows.
    while True:
        found = await follower.next(max(0.0, heard_s + HEARTBEAT_S - time.monotonic()))
        if found is None:
            await response.write(_HEARTBEAT)
            heard_s = time.monotonic()
            continue
        for chunk in _chunks(_events(found)):
            await response.write(chunk)
            heard_s = time.monotonic()
        if found.has_ended:
            return


def _events(found: Followed) -> Iterator[bytes]:
    yield from found.events
    if found.lost or found.unsearched:
        yield event("lost", {"lost": found.lost, "unsearched": found.unsearched})
    if found.failure is not None:
        answer = answer_to(found.failure)
        yield event("error", {"error": {"type": answer.type, "message": answer.message}})
    elif found.has_ended:
        yield event("end", {"reason": "the server is stopping"})


def _chunks(events: Iterator[bytes]) -> Iterator[bytes]:
    """Put small events together: a write costs more than its bytes."""
    pending: list[bytes] = []
    size = 0
    for each in events:
        pending.append(each)
        size += len(each)
        if size >= _CHUNK_BYTES:
            yield _join(pending)
            pending, size = [], 0
    if pending:
        yield _join(pending)


def _join(events: Sequence[bytes]) -> bytes:
    return b"".join(events)


def routes() -> list[web.RouteDef]:
    return [web.post(PATH, follow)]
