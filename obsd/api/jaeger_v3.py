"""Jaeger's API v3, which answers in OTLP's JSON: docs/api/jaeger.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorAnswer, ErrorRenderer, NotFoundError
from obsd.api.jaeger_query import MAX_LIMIT, kind_name, whole_traces
from obsd.api.json_body import json_response, rendered_response
from obsd.api.keys import TRACES
from obsd.api.otlp_json import hex_id, resource_spans
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.trace_params import DURATION, NAME, SERVICE, all_of, tag_condition
from obsd.model.go_duration import MAX_NS, parse_go_duration_ns
from obsd.model.rfc3339 import parse_rfc3339_ns
from obsd.model.span_predicate import CompareField, SpanPredicate
from obsd.services.span_store import TraceSearch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from obsd.model.span import Span

PREFIX: Final = "/jaeger/api/v3"
DEFAULT_DEPTH: Final = 100
MAX_ATTRIBUTES: Final = 64
_UPPER: Final = re.compile(r"[A-Z]")


async def services(request: web.Request) -> web.Response:
    """`GET …/services`."""
    names = await request.app[TRACES].services(project_of(request), 0, MAX_NS)
    return json_response({"services": list(names)})


async def operations(request: web.Request) -> web.Response:
    """`GET …/operations?service=&span_kind=`."""
    params = await read_params(request)
    service = params.text("service")
    if not service:
        raise InvalidParameterError("service", "it is required")
    wanted = (params.text("span_kind") or params.text("spanKind")).lower()
    found = await request.app[TRACES].operations(project_of(request), service, 0, MAX_NS)
    shown = [
        {"name": name, "spanKind": kind_name(kind)}
        for name, kind in found
        if wanted in ("", kind_name(kind))
    ]
    return json_response({"operations": shown})


async def find(request: web.Request) -> web.Response:
    """`GET …/traces?query.…`: whole traces with a span that matches."""
    params = await read_params(request)
    asked = _search(params)
    found = await request.app[TRACES].read(
        project_of(request), lambda store, budget: whole_traces(store, asked, budget)
    )
    return await _result(span for spans in found for span in spans)


async def show(request: web.Request) -> web.Response:
    """`GET …/traces/{id}`: one trace, or 404."""
    spans = await request.app[TRACES].trace(project_of(request), request.match_info["id"])
    if not spans:
        raise NotFoundError("trace not found")
    return await _result(spans)


async def _result(spans: Iterable[Span]) -> web.Response:
    return await rendered_response(
        lambda: {"result": {"resourceSpans": resource_spans(spans, hex_id, names=False)}}
    )


def _text(params: Params, name: str) -> str:
    """A parameter of the query, in either spelling."""
    snake = _UPPER.sub(lambda match: "_" + match[0].lower(), name)
    return params.text(f"query.{name}") or params.text(f"query.{snake}")


def _search(params: Params) -> TraceSearch:
    conditions: list[SpanPredicate] = []
    if service := _text(params, "serviceName"):
        conditions.append(CompareField(SERVICE, "=", service))
    if operation := _text(params, "operationName"):
        conditions.append(CompareField(NAME, "=", operation))
    if (least_ns := _duration(params, "durationMin")) is not None:
        conditions.append(CompareField(DURATION, ">=", least_ns))
    if (most_ns := _duration(params, "durationMax")) is not None:
        conditions.append(CompareField(DURATION, "<=", most_ns))
    conditions += _attributes(params)
    start_ns, end_ns = _time(params, "startTimeMin"), _time(params, "startTimeMax")
    return TraceSearch(all_of(conditions), start_ns, end_ns + 1, _depth(params))


def _attributes(params: Params) -> list[SpanPredicate]:
    """`query.attributes[key]=value`."""
    found = []
    for name, value in params.values.items():
        if name.startswith("query.attributes[") and name.endswith("]"):
            found.append(tag_condition(name[len("query.attributes[") : -1], value))
    if len(found) > MAX_ATTRIBUTES:
        raise InvalidParameterError("query.attributes", f"expected at most {MAX_ATTRIBUTES}")
    return found


def _time(params: Params, name: str) -> int:
    text = _text(params, name)
    if not text:
        raise InvalidParameterError(f"query.{name}", "it is required")
    try:
        time_ns = parse_rfc3339_ns(text)
    except ValueError as error:
        raise InvalidParameterError(f"query.{name}", error) from error
    return min(max(time_ns, 0), MAX_NS - 1)


def _duration(params: Params, name: str) -> int | None:
    text = _text(params, name)
    if not text:
        return None
    try:
        return parse_go_duration_ns(text)
    except ValueError as error:
        raise InvalidParameterError(f"query.{name}", error) from error


def _depth(params: Params) -> int:
    for name in ("searchDepth", "numTraces"):
        text = _text(params, name)
        if text:
            if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
                raise InvalidParameterError(f"query.{name}", "expected a positive number")
            return min(int(text), MAX_LIMIT)
    return DEFAULT_DEPTH


def render_error(answer: ErrorAnswer) -> web.Response:
    """The form of v3."""
    body = {"error": {"httpCode": answer.status, "message": answer.message}}
    response = json_response(body, status=answer.status)
    response.headers.update(answer.headers)
    return response


def error_renderers() -> dict[str, ErrorRenderer]:
    return {f"{PREFIX}/": render_error}


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PREFIX}/services", services),
        web.get(f"{PREFIX}/operations", operations),
        web.get(f"{PREFIX}/traces", find),
        web.get(f"{PREFIX}/traces/{{id}}", show),
    ]
