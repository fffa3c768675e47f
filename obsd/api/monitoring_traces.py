"""`/api/v1/monitoring/traces`: lists of traces, single ones, and what their fields hold.

docs/api/traces.md
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.json_body import json_response, rendered_response
from obsd.api.keys import TRACES
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.trace_entry import span_entry, trace_entry
from obsd.api.trace_params import duration_ns, span_conditions, time_range
from obsd.model.span_predicate import Field, FieldScope
from obsd.services.span_store import TraceOrder, TraceSearch

PATH: Final = "/api/v1/monitoring/traces"
DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 1_000
MAX_FIELDS: Final = 1_000

_SCOPES: Final[dict[str, FieldScope]] = {
    "span": "span",
    "resource": "resource",
    "scope": "scope",
    "event": "event",
    "link": "link",
    "any": "any",
    "intrinsic": "intrinsic",
}


def limit_of(params: Params, default: int, most: int) -> int:
    """`limit`, from 1 on.

    Raises:
        InvalidParameterError: it is no number, or out of bounds.
    """
    limit = params.count("limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise InvalidParameterError("limit", f"expected 1 to {most}")
    return limit


def _order(params: Params) -> TraceOrder:
    text = params.text("sort") or TraceOrder.NEWEST.value
    try:
        return TraceOrder(text)
    except ValueError as error:
        orders = ", ".join(order.value for order in TraceOrder)
        raise InvalidParameterError("sort", f"expected one of {orders}") from error


async def search(request: web.Request) -> web.Response:
    """`GET`: a page of the traces with a span that matches."""
    params = await read_params(request)
    traces = request.app[TRACES]
    asked = time_range(params, traces.now_ns())
    page = await traces.query_traces(
        project_of(request),
        TraceSearch(
            predicate=span_conditions(params),
            start_ns=asked.start_ns,
            end_ns=asked.end_ns,
            limit=limit_of(params, DEFAULT_LIMIT, MAX_LIMIT),
            order=_order(params),
            min_duration_ns=duration_ns(params, "min_duration"),
            max_duration_ns=duration_ns(params, "max_duration"),
            cursor=params.text("cursor") or None,
        ),
    )
    entries = [trace_entry(each) for each in page.traces]
    return json_response({"traces": entries, "next_cursor": page.next_cursor})


async def show(request: web.Request) -> web.Response:
    """`GET …/{id}`: the spans of one trace, by start."""
    trace_id = request.match_info["id"]
    spans = await request.app[TRACES].trace(project_of(request), trace_id)
    if not spans:
        raise NotFoundError(f"there is no trace {trace_id[:80]!r}")
    return await rendered_response(
        lambda: {"trace_id": spans[0].trace_id, "spans": [span_entry(each) for each in spans]}
    )


async def services(request: web.Request) -> web.Response:
    """`GET …/services`: the names of services."""
    params = await read_params(request)
    traces = request.app[TRACES]
    asked = time_range(params, traces.now_ns())
    names = await traces.services(project_of(request), asked.start_ns, asked.end_ns)
    return json_response({"services": list(names)})


async def operations(request: web.Request) -> web.Response:
    """`GET …/operations?service=`: the operations of a service."""
    params = await read_params(request)
    if not (service := params.text("service")):
        raise InvalidParameterError("service", "it is required")
    traces = request.app[TRACES]
    asked = time_range(params, traces.now_ns())
    found = await traces.operations(project_of(request), service, asked.start_ns, asked.end_ns)
    entries = [{"name": name, "kind": kind.name.lower()} for name, kind in found]
    return json_response({"operations": entries})


async def fields(request: web.Request) -> web.Response:
    """`GET …/fields`: the attributes that spans have; with `field`, the values of one of them."""
    params = await read_params(request)
    traces = request.app[TRACES]
    asked = time_range(params, traces.now_ns())
    project_id = project_of(request)
    limit = limit_of(params, 100, MAX_FIELDS)
    if not params.text("field"):
        names = await traces.field_names(project_id, asked.start_ns, asked.end_ns, limit)
        return json_response({"fields": [{"scope": f.scope, "name": f.name} for f in names]})
    values = await traces.field_values(
        project_id,
        parse_field(params.text("field")),
        span_conditions(params),
        asked.start_ns,
        asked.end_ns,
        limit,
    )
    return json_response({"values": [{"value": value, "spans": count} for value, count in values]})


def parse_field(text: str) -> Field:
    """`resource.host.name`, or without a scope, an attribute of the span or its resource.

    Raises:
        InvalidParameterError: the name is missing.
    """
    scope, dot, name = text.partition(".")
    if dot and scope in _SCOPES:
        if not name:
            raise InvalidParameterError("field", "expected a name behind the scope")
        return Field(_SCOPES[scope], name)
    return Field("any", text)


def routes() -> list[web.RouteDef]:
    return [
        web.get(PATH, search),
        web.get(f"{PATH}/services", services),
        web.get(f"{PATH}/operations", operations),
        web.get(f"{PATH}/fields", fields),
        web.get(f"{PATH}/{{id}}", show),
    ]
