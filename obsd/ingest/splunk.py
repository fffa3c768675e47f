"""Splunk's HTTP Event Collector: docs/api/splunk.md.

What reads events is imported by the first request: at the start its time would be felt.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.compression import ANY_CODING, read_body
from obsd.api.errors import ErrorRenderer
from obsd.api.keys import CONFIG, LOGS, METRICS, STATE
from obsd.ingest.json_shown import NOT_JSON
from obsd.ingest.splunk_acks import Acks
from obsd.ingest.splunk_answers import (
    Code,
    render_error,
    render_health_error,
    respond,
    respond_ack,
)
from obsd.model.errors import BadInputError
from obsd.model.log_record import Value
from obsd.services.log_aggregator import describe_rejected
from obsd.services.metric_encoding import RejectedMetricsError

if TYPE_CHECKING:
    from obsd.ingest.splunk_events import Events

log = logging.getLogger(__name__)

BASE: Final = "/services/collector"
EVENT_PATHS: Final = (BASE, f"{BASE}/event", f"{BASE}/event/1.0")
RAW_PATHS: Final = (f"{BASE}/raw", f"{BASE}/raw/1.0")
HEALTH_PATHS: Final = (f"{BASE}/health", f"{BASE}/health/1.0")
ACK_PATHS: Final = (f"{BASE}/ack", f"{BASE}/ack/1.0")
MAX_COMPRESSED_BYTES: Final = 32 << 20
MAX_DECOMPRESSED_BYTES: Final = 128 << 20
MAX_ACK_BYTES: Final = 1 << 20

_GUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", re.ASCII)


class Collector:
    """The event collector, and the channels that it gives acknowledgements on."""

    def __init__(self) -> None:
        self._acks = Acks()

    async def events(self, request: web.Request) -> web.Response:
        """`POST /services/collector/event`: events one after the other."""
        from obsd.ingest.record_limits import RecordLimits
        from obsd.ingest.splunk_events import read_events

        now_ns = request.app[LOGS].now_ns()
        limits = RecordLimits.of(request.app[CONFIG].storage, now_ns)
        return await self._take(request, lambda body: read_events(body, now_ns, limits))

    async def raw(self, request: web.Request) -> web.Response:
        """`POST /services/collector/raw`: each line an event, with metadata from the query."""
        from obsd.ingest.splunk_events import METADATA, parse_time, read_lines

        now_ns = request.app[LOGS].now_ns()
        query = request.query
        source: dict[str, Value] = {n: query[n] for n in METADATA if query.get(n)}
        if query.get("host"):
            source["host.name"] = query["host"]
        time_ns = parse_time(query["time"]) if query.get("time") else 0
        if time_ns is None:
            raise BadInputError("time is to be seconds since 1970")
        return await self._take(request, lambda body: read_lines(body, source, time_ns, now_ns))

    async def _take(self, request: web.Request, read: Callable[[bytes], Events]) -> web.Response:
        project_id = project_of(request)
        channel = _channel(request)
        if channel is not None and not _GUID.fullmatch(channel):
            return respond(Code.CHANNEL_INVALID)
        body = await _read(request)
        if not body.strip():
            return respond(Code.NO_DATA)
        logs = request.app[LOGS]

        def decode() -> tuple[Events, bytes]:
            events = read(body)
            return events, events.encode()

        loop = asyncio.get_running_loop()
        events, encoded = await loop.run_in_executor(logs.ingest_pool, decode)
        if refused := await _store(request, project_id, events, encoded):
            return _refuse(0, refused)
        if events.refused is not None:
            return _refuse(*events.refused)
        if events.error is not None:
            return respond(events.error.code, invalid_event_number=events.error.number)
        if not events.count:
            return respond(Code.NO_DATA)
        return respond_ack(None if channel is None else self._acks.give(project_id, channel))

    async def acks(self, request: web.Request) -> web.Response:
        """`POST /services/collector/ack`: which of these requests are on disk."""
        channel = _channel(request)
        if channel is None:
            return respond(Code.CHANNEL_MISSING)
        if not _GUID.fullmatch(channel):
            return respond(Code.CHANNEL_INVALID)
        ids = _ack_ids(await _read(request, MAX_ACK_BYTES))
        if ids is None:
            return respond(Code.INVALID_FORMAT)
        found = self._acks.are_durable(project_of(request), channel, ids)
        body = msgspec.json.encode({"acks": found})
        return web.Response(body=body, content_type="application/json")

    def routes(self) -> list[web.RouteDef]:
        return [
            *(web.post(path, self.events) for path in EVENT_PATHS),
            *(web.post(path, self.raw) for path in RAW_PATHS),
            *(web.post(path, self.acks) for path in ACK_PATHS),
            *(web.get(path, health) for path in HEALTH_PATHS),
            # Docker's driver asks so whether there is a collector, before it starts a container.
            *(web.options(path, health) for path in (*EVENT_PATHS, *RAW_PATHS)),
        ]


async def _store(request: web.Request, project_id: str, events: Events, encoded: bytes) -> str:
    """Store what was read; returns why none of its events could be, "" if one was.

    A request that is sent again finds its metrics there already.
    """
    if events.metrics:
        try:
            await request.app[METRICS].collect_metrics(project_id, events.metrics)
        except RejectedMetricsError as error:
            log.info("metrics refused", extra={"project": project_id, "reason": str(error)})
    if not encoded:
        return ""
    outcome = await request.app[LOGS].write(project_id, encoded)
    return describe_rejected(outcome) if outcome.rejected and not outcome.accepted else ""


def _refuse(number: int, why: str) -> web.Response:
    text = f"{Code.INVALID_FORMAT.text}: {why}"
    return respond(Code.INVALID_FORMAT, text=text, invalid_event_number=number)


async def health(request: web.Request) -> web.Response:
    """Whether events are taken now; asks for no token."""
    return respond(Code.HEALTHY if request.app[STATE].is_ready else Code.UNHEALTHY)


def _channel(request: web.Request) -> str | None:
    return request.headers.get("X-Splunk-Request-Channel") or request.query.get("channel") or None


def _ack_ids(body: bytes) -> list[int] | None:
    try:
        tree: Any = msgspec.json.decode(body)
    except NOT_JSON:
        return None
    match tree:
        case {"acks": list(ids)} if all(type(each) is int for each in ids):
            return ids
    return None


async def _read(request: web.Request, limit: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    return await read_body(
        request,
        max_compressed=min(limit, MAX_COMPRESSED_BYTES),
        max_decompressed=limit,
        allowed=ANY_CODING,
    )


def routes() -> list[web.RouteDef]:
    return Collector().routes()


def error_renderers() -> dict[str, ErrorRenderer]:
    renderers: dict[str, ErrorRenderer] = dict.fromkeys(HEALTH_PATHS, render_health_error)
    return {**renderers, BASE: render_error}
