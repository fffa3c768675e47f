"""`/api/v1/monitoring/logs/context`: what the same source wrote around a record."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import LOGS
from obsd.api.log_entry import log_entry
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.relative_time import parse_time_or_relative_ns
from obsd.services.log_aggregator import LogSource

PATH: Final = "/api/v1/monitoring/logs/context"
DEFAULT_LINES: Final = 10
MAX_LINES: Final = 1_000

_MAX_TIME_NS: Final = (1 << 63) - 2


async def context(request: web.Request) -> web.Response:
    """`GET`: the records at a time, before it and after it, each list in order of time."""
    params = await read_params(request)
    logs = request.app[LOGS]
    around = await logs.logs_around(
        project_of(request),
        _source(params),
        _time(params, logs.now_ns()),
        _lines(params, "before"),
        _lines(params, "after"),
    )
    answer = {
        "before": [log_entry(record) for record in around.before],
        "at": [log_entry(record) for record in around.at],
        "after": [log_entry(record) for record in around.after],
    }
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _time(params: Params, now_ns: int) -> int:
    if not (text := params.text("time")):
        raise InvalidParameterError("time", "it must be the timestamp of a record")
    try:
        time_ns = parse_time_or_relative_ns(text, now_ns)
    except ValueError as error:
        raise InvalidParameterError("time", error) from error
    return min(max(time_ns, 0), _MAX_TIME_NS)


def _source(params: Params) -> LogSource:
    services = params.all("service")
    resource = {}
    for text in params.all("resource[]") + params.all("resource"):
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise InvalidParameterError("resource", "expected name=value")
        resource[name] = value
    return LogSource(services[0] if services else None, resource)


def _lines(params: Params, name: str) -> int:
    lines = params.count(name)
    if lines is None:
        return DEFAULT_LINES
    if not 0 <= lines <= MAX_LINES:
        raise InvalidParameterError(name, f"expected 0 to {MAX_LINES}")
    return lines


def routes() -> list[web.RouteDef]:
    return [web.get(PATH, context)]
