"""Tempo's query API, searches: docs/api/tempo.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.json_body import json_response
from obsd.api.keys import TRACES
from obsd.api.otlp_json import Json, any_value
from obsd.api.tempo_params import PREFIX, TempoParams, read_tempo_params
from obsd.api.trace_params import all_of, tag_condition
from obsd.model.errors import BadInputError
from obsd.services.span_store import TraceSearch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from obsd.model.budget import QueryBudget
    from obsd.model.log_record import Value
    from obsd.model.span import TraceSummary
    from obsd.services.span_store import SpanStore
    from obsd.traceql.result import FoundSpan, FoundSpans, SearchResult

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 1_000
DEFAULT_SPANS: Final = 3
MAX_SPANS: Final = 1_000


async def search(request: web.Request) -> web.Response:
    """`GET …/search`: the newest traces that a query, or tags, find."""
    params = await read_tempo_params(request)
    start_ns, end_ns = params.range_ns(None)
    limit = params.count("limit", DEFAULT_LIMIT, MAX_LIMIT) or DEFAULT_LIMIT
    if not params.text("q"):
        asked = _by_tags(params, start_ns, end_ns, limit)
        page = await request.app[TRACES].query_traces(project_of(request), asked)
        return json_response({"traces": [_summary(each) for each in page.traces], "metrics": {}})
    spss = params.count("spss", DEFAULT_SPANS, MAX_SPANS)

    def work(store: SpanStore, budget: QueryBudget) -> SearchResult:
        from obsd.traceql.parser import parse
        from obsd.traceql.search import search as evaluate

        return evaluate(store, parse(params.text("q")), start_ns, end_ns, limit, spss, budget)

    found = await request.app[TRACES].read(project_of(request), work)
    traces = [_summary(each.summary) | _spansets(each.spansets) for each in found.traces]
    stats = {"inspectedTraces": found.stats.traces, "inspectedSpans": str(found.stats.spans)}
    return json_response({"traces": traces, "metrics": stats})


def _by_tags(params: TempoParams, start_ns: int, end_ns: int, limit: int) -> TraceSearch:
    """`tags` in logfmt, and the durations of traces.

    Raises:
        BadInputError: one of them cannot be read.
    """
    from obsd.logql.logfmt_parser import pairs

    def fail(reason: str) -> None:
        raise BadInputError(f"invalid tags: {reason}")

    tags = pairs(params.text("tags"), strict=True, fail=fail)
    return TraceSearch(
        predicate=all_of(tag_condition(key, value) for key, value in tags),
        start_ns=start_ns,
        end_ns=end_ns,
        limit=limit,
        min_duration_ns=params.duration_ns("minDuration"),
        max_duration_ns=params.duration_ns("maxDuration"),
    )


def _summary(trace: TraceSummary) -> Json:
    return {
        "traceID": trace.trace_id,
        "rootServiceName": trace.root_service,
        "rootTraceName": trace.root_name,
        "startTimeUnixNano": str(trace.start_ns),
        "durationMs": trace.duration_ns // 1_000_000,
        "serviceStats": {
            name: {"spanCount": part.spans, "errorCount": part.errors}
            for name, part in trace.services.items()
        },
    }


def _spansets(sets: Iterable[FoundSpans]) -> Json:
    shown = [_spanset(each) for each in sets]
    return {"spanSet": shown[0], "spanSets": shown} if shown else {}


def _spanset(each: FoundSpans) -> Json:
    shown: Json = {"spans": [_span(span) for span in each.spans], "matched": each.matched}
    if each.attributes:
        shown["attributes"] = attributes(each.attributes)
    return shown


def _span(span: FoundSpan) -> Json:
    return {
        "spanID": span.span_id,
        "name": span.name,
        "startTimeUnixNano": str(span.start_ns),
        "durationNanos": str(span.duration_ns),
        "attributes": attributes(span.attributes),
    }


def attributes(values: Iterable[tuple[str, Value]]) -> list[Json]:
    """Names and values as OTLP has them."""
    return [{"key": name, "value": any_value(value)} for name, value in values]


def routes() -> list[web.RouteDef]:
    return [web.get(f"{PREFIX}/search", search)]
