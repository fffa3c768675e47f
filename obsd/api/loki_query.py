"""Loki's HTTP API, queries: docs/api/loki.md."""

from __future__ import annotations

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorRenderer
from obsd.api.keys import LOGS
from obsd.api.loki_errors import render_loki_error
from obsd.api.loki_json import answer_json, wants_categories
from obsd.api.loki_params import PREFIX, LokiParams, get_and_post, read_loki_params
from obsd.model.errors import QueryParseError
from obsd.services.loki_queries import Answer, LokiQueries, RangeQuery, Render


async def query_range(request: web.Request) -> web.Response:
    """`…/query_range`: lines of streams, or a number every step."""
    asked = range_query(await read_loki_params(request))
    queries = LokiQueries(request.app[LOGS])
    return _json(await queries.range(project_of(request), asked, _renderer(request)))


def range_query(params: LokiParams) -> RangeQuery:
    """What a request for a range asks.

    Raises:
        BadInputError: its parameters are none.
    """
    of = params.range()
    return RangeQuery(
        params.query,
        of.start_ns,
        of.end_ns,
        params.step_ns(of),
        params.limit(),
        params.direction(),
        params.interval_ns(),
    )


async def query(request: web.Request) -> web.Response:
    """`…/query`: a metric query's value at one time."""
    params = await read_loki_params(request)
    time_ns = params.time_ns("time", params.now_ns)
    params.limit()
    params.direction()
    queries = LokiQueries(request.app[LOGS])
    render = _renderer(request)
    return _json(await queries.instant(project_of(request), params.query, time_ns, render))


def _renderer(request: web.Request) -> Render:
    categorized = wants_categories(request.headers)

    def render(answer: Answer) -> bytes:
        return answer_json(answer, categorized=categorized)

    return render


async def format_query(request: web.Request) -> web.Response:
    """`…/format_query`: a query as people like to read it; errors are JSON here."""
    from obsd.logql import format_query

    params = await read_loki_params(request)
    try:
        text = format_query(params.query)
    except QueryParseError as error:
        body = msgspec.json.encode({"status": "invalid-query", "error": str(error)})
        return web.Response(status=400, body=body, content_type="application/json")
    return _json(msgspec.json.encode({"status": "success", "data": text}))


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/query", query),
        *get_and_post("/query_range", query_range),
        *get_and_post("/format_query", format_query),
    ]


def error_renderers() -> dict[str, ErrorRenderer]:
    return {f"{PREFIX}/": render_loki_error}
