"""Loki's HTTP API, what lines turn out to have: docs/api/loki.md."""

from __future__ import annotations

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import LOGS
from obsd.api.loki_params import LokiParams, get_and_post, read_loki_params
from obsd.services.loki_fields import (
    MAX_FIELDS,
    SAMPLE_LINES,
    DetectedField,
    LokiFields,
    shown_labels,
)
from obsd.services.loki_queries import check_entries
from obsd.services.loki_streams import LokiStreams


async def detected_fields(request: web.Request) -> web.Response:
    """`…/detected_fields`: fields of the newest lines, with their types."""
    params = await read_loki_params(request)
    limit = _limit(params)
    fields = [
        {
            "label": each.name,
            "type": each.kind or "string",
            "cardinality": len(each.values),
            "parsers": each.parsers,
            **({"jsonPath": each.path} if each.path else {}),
        }
        for each in await _detect(request, params, limit)
    ]
    return _json({"fields": fields, "limit": limit})


async def detected_field_values(request: web.Request) -> web.Response:
    """`…/detected_field/{name}/values`: the values of one, sorted."""
    params = await read_loki_params(request)
    limit, name = _limit(params), request.match_info["name"]
    fields = await _detect(request, params, MAX_FIELDS)
    values = sorted(value for each in fields if each.name == name for value in each.values)
    return _json({"values": values[:limit], "limit": limit})


async def _detect(request: web.Request, params: LokiParams, limit: int) -> list[DetectedField]:
    of = params.range()
    lines = params.limit("line_limit", SAMPLE_LINES)
    check_entries(lines)
    return await LokiFields(request.app[LOGS]).detected(
        project_of(request), params.query, of.start_ns, of.end_ns, lines=lines, limit=limit
    )


def _limit(params: LokiParams) -> int:
    name = "limit" if params.values.text("limit") else "field_limit"
    return min(params.limit(name, MAX_FIELDS), MAX_FIELDS)


async def detected_labels(request: web.Request) -> web.Response:
    """`…/detected_labels`: labels that are worth choosing from."""
    params = await read_loki_params(request)
    of = params.range()
    values = await LokiStreams(request.app[LOGS]).label_cardinality(
        project_of(request), params.query, of.start_ns, of.end_ns
    )
    labels = [{"label": name, "cardinality": count} for name, count in shown_labels(values)]
    return _json({"detectedLabels": labels})


def _json(data: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/detected_fields", detected_fields),
        *get_and_post("/detected_field/{name}/values", detected_field_values),
        *get_and_post("/detected_labels", detected_labels),
    ]
