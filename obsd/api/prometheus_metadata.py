"""Prometheus' HTTP API, what there is: series, labels, metadata, exemplars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from urllib.parse import unquote

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.keys import METRICS
from obsd.api.label_escaping import unescape_label_name
from obsd.api.params import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    InvalidParameterError,
    Params,
    read_params,
)
from obsd.api.prometheus_envelope import TRUNCATED, envelope, json_response, success
from obsd.api.prometheus_query import parse_query
from obsd.api.prometheus_routes import get, get_and_post
from obsd.api.result_json import format_float, labels_json, seconds
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError
from obsd.model.exemplar import Exemplar
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher
from obsd.model.metadata import Metadata
from obsd.promql.ast import VectorSelector, walk
from obsd.services.metrics_collector import MetricsReader
from obsd.tsdb.absent import MatcherSets

T = TypeVar("T")

_NO_SELECTOR: Final = "no match[] parameter provided"


async def series(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/series`: label sets of the series that match."""
    params = await read_params(request)
    if not params.all("match[]"):
        raise BadInputError(_NO_SELECTOR)
    return await _listing(request, params, lambda reader, *of: reader.series(*of), _json_of_series)


async def label_names(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/labels`: names of the labels that there are."""
    params = await read_params(request)
    return await _listing(
        request, params, lambda reader, *of: reader.label_names(*of), msgspec.json.encode
    )


async def label_values(request: web.Request) -> web.Response:
    """`GET /api/v1/label/<name>/values`: values of one label."""
    name = _label_name(request)
    params = await read_params(request)
    return await _listing(
        request,
        params,
        lambda reader, *of: reader.label_values(name, *of),
        msgspec.json.encode,
    )


def _label_name(request: web.Request) -> str:
    written = request.rel_url.raw_parts[-2]  # Of `…/label/<name>/values`.
    try:
        name = unescape_label_name(unquote(written, errors="strict"))
    except UnicodeDecodeError:
        name = ""
    if not name:
        raise BadInputError(f'invalid label name: "{written}"')
    return name


async def _listing(
    request: web.Request,
    params: Params,
    find: Callable[[MetricsReader, MatcherSets, int, int, int | None, QueryBudget], list[T]],
    encode: Callable[[Sequence[T]], bytes],
) -> web.Response:
    matcher_sets = params.matcher_sets()
    start_ms, end_ms = _time_range(params)
    limit = params.limit()
    # One more than asked for tells whether there are more.
    wanted = None if limit is None else limit + 1

    def work(reader: MetricsReader, budget: QueryBudget) -> bytes:
        found = find(reader, matcher_sets, start_ms, end_ms, wanted, budget)
        is_truncated = limit is not None and len(found) > limit
        return envelope((encode(found[:limit]),), (TRUNCATED,) if is_truncated else ())

    return json_response(await request.app[METRICS].read(project_of(request), work))


def _time_range(params: Params) -> tuple[int, int]:
    start_ms = params.time_ms("start", MIN_TIME_MS)
    end_ms = params.time_ms("end", MAX_TIME_MS)
    if end_ms < start_ms:
        raise InvalidParameterError("end", "end timestamp must not be before start time")
    return start_ms, end_ms


def _json_of_series(found: Sequence[Labels]) -> bytes:
    return b"[%b]" % b",".join(map(labels_json, found))


async def metadata(request: web.Request) -> web.Response:
    """`GET /api/v1/metadata`: type, help and unit of metric families."""
    params = await read_params(request)
    limit = params.count("limit")
    params.count(
        "limit_per_metric"
    )  # A family has one entry, since the newest replaces the others.
    families = await request.app[METRICS].metadata(
        project_of(request), params.text("metric") or None
    )
    names = list(families)[: None if limit is None or limit < 0 else limit]
    data = {name: [_family(families[name])] for name in names}
    return success(msgspec.json.encode(data))


def _family(family: Metadata) -> dict[str, str]:
    return {"type": family.type, "help": family.help, "unit": family.unit}


async def query_exemplars(request: web.Request) -> web.Response:
    """`GET, POST /api/v1/query_exemplars`: exemplars of the series that a query reads."""
    params = await read_params(request)
    start_ms = params.time_ms("start", MIN_TIME_MS)
    end_ms = params.time_ms("end", MAX_TIME_MS)
    if end_ms < start_ms:
        raise InvalidParameterError("end", "end timestamp must not be before start time")
    selectors = _selectors(params.text("query"))
    if not selectors:
        return success(b"[]")
    found = await request.app[METRICS].exemplars(project_of(request), selectors, start_ms, end_ms)
    return success(
        msgspec.json.encode(
            [
                {"seriesLabels": labels.as_dict(), "exemplars": [_exemplar(e) for e in exemplars]}
                for labels, exemplars in found
            ]
        )
    )


def _selectors(query: str) -> list[tuple[Matcher, ...]]:
    return [node.matchers for node in walk(parse_query(query)) if isinstance(node, VectorSelector)]


def _exemplar(exemplar: Exemplar) -> dict[str, object]:
    return {
        "labels": exemplar.labels.as_dict(),
        "value": format_float(exemplar.value),
        "timestamp": seconds(exemplar.timestamp_ms),
    }


def routes() -> list[web.RouteDef]:
    return [
        *get_and_post("/api/v1/series", series),
        *get_and_post("/api/v1/labels", label_names),
        *get("/api/v1/label/{name}/values", label_values),
        *get("/api/v1/metadata", metadata),
        *get_and_post("/api/v1/query_exemplars", query_exemplars),
    ]
