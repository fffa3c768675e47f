"""Prometheus' HTTP API, queries as text: format them, and show their syntax tree."""

from __future__ import annotations

import msgspec
from aiohttp import web

from obsd.api.params import read_params
from obsd.api.prometheus_envelope import success
from obsd.api.prometheus_query import parse_query
from obsd.api.prometheus_routes import get_and_post
from obsd.promql.ast_json import expr_to_json
from obsd.promql.printer import pretty


async def format_query(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/format_query`: the query, laid out."""
    params = await read_params(request)
    return success(msgspec.json.encode(pretty(parse_query(params.text("query")))))


async def parse_tree(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/parse_query`: the query's syntax tree."""
    params = await read_params(request)
    return success(msgspec.json.encode(expr_to_json(parse_query(params.text("query")))))


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/api/v1/format_query", format_query),
        *get_and_post("/api/v1/parse_query", parse_tree),
    ]
