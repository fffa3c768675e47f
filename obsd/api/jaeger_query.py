"""Jaeger's query API, as its UI and Grafana's data source call it: docs/api/jaeger.md."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import ErrorAnswer, ErrorRenderer, NotFoundError
from obsd.api.jaeger_json import envelope, error_envelope, trace_json
from obsd.api.json_body import json_response, rendered_response
from obsd.api.keys import METRICS, TRACES
from obsd.api.params import InvalidParameterError, Params, read_params
from obsd.api.trace_params import DURATION, KIND, NAME, SERVICE, NanoRange, all_of, tag_condition
from obsd.model.go_duration import MAX_NS, parse_go_duration_ns
from obsd.model.span import SpanKind
from obsd.model.span_predicate import CompareField, SpanPredicate
from obsd.services.span_store import SpanStore, TraceSearch
from obsd.services.trace_collector import parse_trace_id
from obsd.services.trace_links import ServiceLinks

if TYPE_CHECKING:
    from obsd.model.budget import QueryBudget
    from obsd.model.span import Span

PREFIX: Final = "/jaeger/api"
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_500
MAX_IDS: Final = 100
MAX_SPANS: Final = 200_000
"""Spans of one answer; the traces that do not fit any more are left out."""

LOOKBACK_NS: Final = 2 * 86_400 * 1_000_000_000
_US: Final = 1_000
_MS: Final = 1_000_000
_DAY_MS: Final = 86_400_000
_SECOND_NS: Final = 1_000_000_000
_INTEGER: Final = re.compile(r"\d{1,18}", re.ASCII)
_DAYS: Final = re.compile(r"(\d{1,5})d", re.ASCII)


async def services(request: web.Request) -> web.Response:
    """`GET …/services`."""
    traces = request.app[TRACES]
    names = await traces.services(project_of(request), 0, MAX_NS)
    return json_response(envelope(list(names)))


async def service_operations(request: web.Request) -> web.Response:
    """`GET …/services/{service}/operations`: names alone."""
    traces = request.app[TRACES]
    service = request.match_info["service"]
    found = await traces.operations(project_of(request), service, 0, MAX_NS)
    return json_response(envelope(list(dict.fromkeys(name for name, _ in found))))


async def operations(request: web.Request) -> web.Response:
    """`GET …/operations?service=&spanKind=`: names and kinds."""
    params = await read_params(request)
    if not (service := params.text("service")):
        raise InvalidParameterError("service", "parameter 'service' is required")
    wanted = params.text("spanKind").lower()
    found = await request.app[TRACES].operations(project_of(request), service, 0, MAX_NS)
    shown = [
        {"name": name, "spanKind": kind_name(kind)}
        for name, kind in found
        if wanted in ("", kind_name(kind))
    ]
    return json_response(envelope(shown))


def kind_name(kind: SpanKind) -> str:
    """Jaeger's word; "" where the span says nothing."""
    return "" if kind is SpanKind.UNSPECIFIED else kind.name.lower()


async def search(request: web.Request) -> web.Response:
    """`GET …/traces`: whole traces with a span that matches, or those with the given ids."""
    params = await read_params(request)
    traces = request.app[TRACES]
    project_id = project_of(request)
    if params.all("traceID"):
        ids = dict.fromkeys(parse_trace_id(text) for text in params.all("traceID")[:MAX_IDS])
        found = await traces.read(
            project_id, lambda store, budget: [store.trace(each, budget) for each in ids]
        )
        return await _traces(found)
    if not params.text("service"):
        raise InvalidParameterError("service", "parameter 'service' is required")
    asked = search_of(params, traces.now_ns())
    found = await traces.read(project_id, lambda store, budget: whole_traces(store, asked, budget))
    return await _traces(found)


async def _traces(found: Sequence[Sequence[Span]]) -> web.Response:
    return await rendered_response(
        lambda: envelope([trace_json(spans) for spans in found if spans])
    )


def whole_traces(
    store: SpanStore, search: TraceSearch, budget: QueryBudget
) -> list[Sequence[Span]]:
    """The traces of a search with all of their spans, as many as fit in an answer."""
    found: list[Sequence[Span]] = []
    spans = 0
    for summary in store.search(search, budget).traces:
        if found and spans + summary.spans > MAX_SPANS:
            break
        trace = store.trace(summary.trace_id, budget)
        spans += len(trace)
        if trace:  # It may have been deleted meanwhile.
            found.append(trace)
    return found


def search_of(params: Params, now_ns: int) -> TraceSearch:
    """What the parameters ask for.

    Raises:
        InvalidParameterError: one of them cannot be read.
    """
    asked = _range(params, now_ns)
    return TraceSearch(_predicate(params), asked.start_ns, asked.end_ns, _limit(params))


def _predicate(params: Params) -> SpanPredicate:
    conditions: list[SpanPredicate] = [CompareField(SERVICE, "=", params.text("service"))]
    if (operation := params.text("operation")) and operation != "all":
        conditions.append(CompareField(NAME, "=", operation))
    if (least_ns := _duration(params, "minDuration")) is not None:
        conditions.append(CompareField(DURATION, ">=", least_ns))
    if (most_ns := _duration(params, "maxDuration")) is not None:
        conditions.append(CompareField(DURATION, "<=", most_ns))
    for key, value in _tags(params):
        conditions.append(_condition(key, value))
    return all_of(conditions)


def _condition(key: str, value: object) -> SpanPredicate:
    if key == "span.kind" and str(value).upper() in SpanKind.__members__:
        return CompareField(KIND, "=", int(SpanKind[str(value).upper()]))
    return tag_condition(key, value)


def _tags(params: Params) -> list[tuple[str, object]]:
    tags: list[tuple[str, object]] = []
    for text in params.all("tag"):
        key, colon, value = text.partition(":")
        if not colon:
            raise InvalidParameterError(
                "tag", f"malformed 'tag' parameter, expecting key:value, received: {text[:100]}"
            )
        tags.append((key, value))
    for text in params.all("tags"):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidParameterError("tags", f"cannot unmarshal JSON: {error}") from error
        if not isinstance(document, dict):
            raise InvalidParameterError("tags", "expected a JSON object")
        tags += document.items()
    return tags


def _range(params: Params, now_ns: int) -> NanoRange:
    """`start` and `end`, or `end` and `lookback`; two days without them."""
    end_ns = _microseconds(params, "end", now_ns + _SECOND_NS)
    lookback_ns = _lookback(params.text("lookback"))
    start_ns = _microseconds(params, "start", max(min(end_ns, now_ns) - lookback_ns, 0))
    # Microseconds are cut: the end's whole microsecond belongs to the range.
    return NanoRange(start_ns, min(end_ns + _US, MAX_NS))


def _lookback(text: str) -> int:
    if days := _DAYS.fullmatch(text):
        return int(days[1]) * 86_400 * _SECOND_NS
    try:
        return parse_go_duration_ns(text)
    except ValueError:
        return LOOKBACK_NS  # "custom", which comes with times, and what Jaeger ignores as well.


def _microseconds(params: Params, name: str, default_ns: int) -> int:
    text = params.text(name)
    if not text:
        return default_ns
    if not _INTEGER.fullmatch(text):
        raise InvalidParameterError(name, f"unable to parse param '{name}': expected microseconds")
    return min(int(text) * _US, MAX_NS)


def _duration(params: Params, name: str) -> int | None:
    text = params.text(name)
    if not text:
        return None
    try:
        return parse_go_duration_ns(text)
    except ValueError as error:
        raise InvalidParameterError(name, f"unable to parse param '{name}': {error}") from error


def _limit(params: Params) -> int:
    limit = params.count("limit")
    if limit is None:
        return DEFAULT_LIMIT
    if limit < 1:
        raise InvalidParameterError("limit", "expected a positive number")
    return min(limit, MAX_LIMIT)


async def show(request: web.Request) -> web.Response:
    """`GET …/traces/{id}`: one trace, or 404."""
    trace_id = request.match_info["id"]
    spans = await request.app[TRACES].trace(project_of(request), trace_id)
    if not spans:
        raise NotFoundError("trace not found")
    return await _traces([spans])


async def dependencies(request: web.Request) -> web.Response:
    """`GET …/dependencies?endTs=&lookback=`: who calls whom, and how often."""
    params = await read_params(request)
    traces = request.app[TRACES]
    if not params.text("endTs"):
        raise InvalidParameterError("endTs", "unable to parse endTs: it is required")
    end_ns = min(_whole(params, "endTs", 0) * _MS, MAX_NS)
    start_ns = max(end_ns - _whole(params, "lookback", _DAY_MS) * _MS, 0)
    links = await ServiceLinks(traces, request.app[METRICS]).between(
        project_of(request), start_ns, end_ns
    )
    shown = [
        {"parent": link.parent, "child": link.child, "callCount": link.calls} for link in links
    ]
    return json_response(envelope(shown))


def _whole(params: Params, name: str, default: int) -> int:
    text = params.text(name)
    if text and not _INTEGER.fullmatch(text):
        raise InvalidParameterError(name, f"unable to parse {name}: expected milliseconds")
    return int(text) if text else default


def render_error(answer: ErrorAnswer) -> web.Response:
    """Jaeger's form."""
    response = json_response(error_envelope(answer.status, answer.message), status=answer.status)
    response.headers.update(answer.headers)
    return response


def error_renderers() -> dict[str, ErrorRenderer]:
    return {"/jaeger/": render_error}


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PREFIX}/services", services),
        web.get(f"{PREFIX}/services/{{service:.+}}/operations", service_operations),
        web.get(f"{PREFIX}/operations", operations),
        web.get(f"{PREFIX}/dependencies", dependencies),
        web.get(f"{PREFIX}/traces", search),
        web.get(f"{PREFIX}/traces/{{id}}", show),
    ]
