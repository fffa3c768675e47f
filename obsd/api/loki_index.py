"""Loki's HTTP API, how much there is: docs/api/loki.md."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import LOGS
from obsd.api.loki_json import stats
from obsd.api.loki_params import LokiParams, get_and_post, read_loki_params
from obsd.api.result_json import seconds
from obsd.model.errors import BadInputError
from obsd.services.loki_streams import LokiStreams, Volume, VolumeQuery

_DEFAULT_VOLUME_LIMIT = 100


async def index_stats(request: web.Request) -> web.Response:
    """`…/index/stats`: what a selector means, in numbers."""
    params = await read_loki_params(request)
    of = params.range()
    streams = LokiStreams(request.app[LOGS])
    found = await streams.stats(project_of(request), params.query, of.start_ns, of.end_ns)
    # There are no chunks; a stream's records stand for one.
    return _json(
        {
            "streams": found.streams,
            "chunks": found.streams,
            "bytes": found.bytes,
            "entries": found.records,
        }
    )


async def volume(request: web.Request) -> web.Response:
    """`…/index/volume`: bytes by labels, as a vector."""
    params = await read_loki_params(request)
    found = await _volumes(request, params, step_ns=0)
    series = [{"metric": dict(each.labels), "value": _point(*each.samples[0])} for each in found]
    return _vector_or_matrix("vector", series)


async def volume_range(request: web.Request) -> web.Response:
    """`…/index/volume_range`: bytes by labels in every step, as a matrix."""
    params = await read_loki_params(request)
    found = await _volumes(request, params, step_ns=params.step_ns(params.range()))
    series = [
        {"metric": dict(each.labels), "values": [_point(*sample) for sample in each.samples]}
        for each in found
    ]
    return _vector_or_matrix("matrix", series)


async def _volumes(request: web.Request, params: LokiParams, step_ns: int) -> list[Volume]:
    of = params.range()
    limit = params.integer("limit", _DEFAULT_VOLUME_LIMIT) or _DEFAULT_VOLUME_LIMIT
    if limit < 0:
        raise BadInputError("limit must be a positive value")
    by = params.values.text("aggregateBy") or "series"
    if by not in ("series", "labels"):
        raise BadInputError("invalid aggregation option")
    asked = VolumeQuery(
        params.query,
        of.start_ns,
        of.end_ns,
        step_ns,
        limit,
        params.names("targetLabels"),
        by_label=by == "labels",
    )
    return await LokiStreams(request.app[LOGS]).volumes(project_of(request), asked)


def _point(time_ms: int, size: int) -> tuple[float, str]:
    return seconds(time_ms), str(size)


def _vector_or_matrix(kind: str, series: Iterable[object]) -> web.Response:
    from obsd.logql import QueryStats

    data = {"resultType": kind, "result": series, "stats": stats(QueryStats(), 0, 0, 0)}
    return _json({"status": "success", "data": data})


def _json(data: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/index/stats", index_stats),
        *get_and_post("/index/volume", volume),
        *get_and_post("/index/volume_range", volume_range),
    ]
