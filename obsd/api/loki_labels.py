"""Loki's HTTP API, labels and streams: docs/api/loki.md."""

from __future__ import annotations

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import LOGS
from obsd.api.loki_params import get_and_post, read_loki_params
from obsd.model.errors import BadInputError
from obsd.services.loki_streams import LokiStreams


async def label_names(request: web.Request) -> web.Response:
    """`…/labels`, `…/label`: the names of labels."""
    params = await read_loki_params(request)
    of = params.range()
    streams = LokiStreams(request.app[LOGS])
    names = await streams.label_names(project_of(request), params.query, of.start_ns, of.end_ns)
    return success(names)


async def label_values(request: web.Request) -> web.Response:
    """`…/label/{name}/values`: the values of one."""
    params = await read_loki_params(request)
    of = params.range()
    name = request.match_info["name"]
    streams = LokiStreams(request.app[LOGS])
    values = await streams.label_values(
        project_of(request), name, params.query, of.start_ns, of.end_ns
    )
    return success(values)


async def series(request: web.Request) -> web.Response:
    """`…/series`: streams that one of the selectors means."""
    params = await read_loki_params(request)
    of = params.range()
    selectors = dict.fromkeys(params.values.all("match[]") + params.values.all("match"))
    if not selectors:
        raise BadInputError('0 matcher groups supplied: give match[], such as {app="api"}')
    streams = LokiStreams(request.app[LOGS])
    found = await streams.streams(project_of(request), tuple(selectors), of.start_ns, of.end_ns)
    return success([labels.as_dict() for labels in found])


def success(data: object) -> web.Response:
    """Loki's envelope."""
    body = msgspec.json.encode({"status": "success", "data": data})
    return web.Response(body=body, content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/labels", label_names),
        *get_and_post("/label", label_names),
        *get_and_post("/label/{name}/values", label_values),
        *get_and_post("/series", series),
    ]
