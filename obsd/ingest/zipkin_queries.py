"""Questions in Zipkin's API: docs/api/zipkin.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.errors import NotFoundError
from obsd.api.keys import METRICS, TRACES
from obsd.ingest.zipkin_json import span_json
from obsd.ingest.zipkin_otlp import zipkin_span
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError
from obsd.model.span import Span, StatusCode
from obsd.model.span_predicate import (
    AllOf,
    AllSpans,
    AnyOf,
    CompareField,
    Field,
    HasField,
    SpanPredicate,
)
from obsd.services.span_store import SpanStore, TraceSearch
from obsd.services.trace_collector import TraceCollector, parse_trace_id
from obsd.services.trace_links import ServiceLinks

DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 10_000
MAX_TRACES: Final = 100  # That `traceMany` may name.
_DAY_MS: Final = 24 * 3600 * 1000
_MAX_MS: Final = ((1 << 63) - 1) // 1_000_000
# What services and names are looked for in; the interface asks without a time.
_LOOKBACK_MS: Final = 7 * _DAY_MS
_MAX_NAMES: Final = 1000

_SERVICE: Final = Field("intrinsic", "service")
_NAME: Final = Field("intrinsic", "name")
_DURATION: Final = Field("intrinsic", "duration")
_PEER: Final = Field("span", "peer.service")
_EVENT: Final = Field("intrinsic", "event.name")
_STATUS: Final = Field("intrinsic", "status")


async def services(request: web.Request) -> web.Response:
    """`GET /api/v2/services`: names, sorted."""
    found = await request.app[TRACES].services(project_of(request), *_range(request))
    return _json(found)


async def span_names(request: web.Request) -> web.Response:
    """`GET /api/v2/spans?serviceName=`: names of its spans, sorted."""
    service = _required(request, "serviceName")
    found = await request.app[TRACES].operations(project_of(request), service, *_range(request))
    return _json(sorted({name for name, _ in found if name}))


async def remote_services(request: web.Request) -> web.Response:
    """`GET /api/v2/remoteServices?serviceName=`: whom it called, or was called by, sorted."""
    service = CompareField(_SERVICE, "=", _required(request, "serviceName"))
    found = await request.app[TRACES].field_values(
        project_of(request), _PEER, service, *_range(request), _MAX_NAMES
    )
    return _json(sorted(str(value) for value, _ in found))


async def traces(request: web.Request) -> web.Response:
    """`GET /api/v2/traces`: the newest traces with a span that has all that is asked for."""
    start_ns, end_ns = _range(request)
    search = TraceSearch(_predicate(request), start_ns, end_ns, _limit(request))

    def find(store: SpanStore, budget: QueryBudget) -> list[Sequence[Span]]:
        page = store.search(search, budget)
        return [store.trace(each.trace_id, budget) for each in page.traces]

    found = await request.app[TRACES].read(project_of(request), find)
    return _json([_spans_json(spans) for spans in found if spans])


async def trace(request: web.Request) -> web.Response:
    """`GET /api/v2/trace/{id}`: its spans."""
    trace_id = request.match_info["trace_id"]
    spans = await request.app[TRACES].trace(project_of(request), trace_id)
    if not spans:
        raise NotFoundError(f"there is no trace {parse_trace_id(trace_id)}")
    return _json(_spans_json(spans))


async def trace_many(request: web.Request) -> web.Response:
    """`GET /api/v2/traceMany?traceIds=a,b`: the spans of each that is known."""
    named = [name for name in _required(request, "traceIds").split(",") if name.strip()]
    wanted = list(dict.fromkeys(map(parse_trace_id, named)))
    if len(wanted) > MAX_TRACES:
        raise BadInputError(f"traceIds names more than {MAX_TRACES} traces")

    def find(store: SpanStore, budget: QueryBudget) -> list[Sequence[Span]]:
        return [store.trace(trace_id, budget) for trace_id in wanted]

    found = await request.app[TRACES].read(project_of(request), find)
    return _json([_spans_json(spans) for spans in found if spans])


async def dependencies(request: web.Request) -> web.Response:
    """`GET /api/v2/dependencies?endTs=`: who calls whom, and how often."""
    _required(request, "endTs")
    start_ns, end_ns = _range(request, default_lookback_ms=_DAY_MS)
    links = await ServiceLinks(request.app[TRACES], request.app[METRICS]).between(
        project_of(request), start_ns, end_ns
    )
    return _json(
        [
            {"parent": link.parent, "child": link.child, "callCount": link.calls}
            | ({"errorCount": link.errors} if link.errors else {})
            for link in links
        ]
    )


async def autocomplete_keys(request: web.Request) -> web.Response:
    """`GET /api/v2/autocompleteKeys`: names of tags."""
    found = await _traces(request).field_names(project_of(request), *_range(request), _MAX_NAMES)
    return _json(sorted({field.name for field in found if field.scope == "span"}))


async def autocomplete_values(request: web.Request) -> web.Response:
    """`GET /api/v2/autocompleteValues?key=`: the most frequent values of a tag."""
    found = await _traces(request).field_values(
        project_of(request),
        Field("span", _required(request, "key")),
        AllSpans(),
        *_range(request),
        _MAX_NAMES,
    )
    return _json([value for value, _ in found if isinstance(value, str)])


async def health(request: web.Request) -> web.Response:
    """`GET /health`, which the interface and some senders ask before anything else."""
    return _json({"status": "UP"})


def _traces(request: web.Request) -> TraceCollector:
    return request.app[TRACES]


def _predicate(request: web.Request) -> SpanPredicate:
    parts: list[SpanPredicate] = []
    for name, field in (
        ("serviceName", _SERVICE),
        ("remoteServiceName", _PEER),
        ("spanName", _NAME),
    ):
        wanted = request.query.get(name, "")
        if wanted and not (name == "spanName" and wanted == "all"):
            parts.append(CompareField(field, "=", wanted))
    least, most = _us(request, "minDuration"), _us(request, "maxDuration")
    if least is not None:
        parts.append(CompareField(_DURATION, ">=", least * 1000))
    if most is not None:
        # The whole microsecond, as nanoseconds are cut off.
        parts.append(CompareField(_DURATION, "<", (most + 1) * 1000))
    terms = request.query.get("annotationQuery", "").split(" and ")
    parts += [_annotation(term.strip()) for term in terms if term.strip()]
    return AllOf(tuple(parts)) if parts else AllSpans()


def _annotation(term: str) -> SpanPredicate:
    """`key=value` of a tag, or the name of a tag or the text of an annotation."""
    key, is_pair, value = term.partition("=")
    if is_pair:
        return _tag_equals(key.strip(), value.strip())
    tag = HasField(Field("span", term))
    if term == "error":
        return AnyOf((tag, CompareField(_STATUS, "=", int(StatusCode.ERROR))))
    return AnyOf((tag, CompareField(_EVENT, "=", term)))


def _tag_equals(key: str, value: str) -> SpanPredicate:
    """By the text, since Zipkin's tags are texts and other senders' attributes need not be."""
    field = Field("any", key)
    parts: list[SpanPredicate] = [CompareField(field, "=", value)]
    if value in ("true", "false"):
        parts.append(CompareField(field, "=", value == "true"))
    elif value.lstrip("-").isdecimal() and value.isascii() and len(value) < 19:
        parts.append(CompareField(field, "=", int(value)))
    return AnyOf(tuple(parts))


def _range(request: web.Request, default_lookback_ms: int = _LOOKBACK_MS) -> tuple[int, int]:
    """From `endTs` back for `lookback`, in nanoseconds; the end counts."""
    now_ms = request.app[TRACES].now_ns() // 1_000_000
    end_ms = _number(request, "endTs", now_ms)
    lookback_ms = _number(request, "lookback", default_lookback_ms)
    return max(0, end_ms - lookback_ms) * 1_000_000, (end_ms + 1) * 1_000_000


def _limit(request: web.Request) -> int:
    limit = _number(request, "limit", DEFAULT_LIMIT)
    if not 0 < limit <= MAX_LIMIT:
        raise BadInputError(f"limit must be from 1 to {MAX_LIMIT}")
    return limit


def _us(request: web.Request, name: str) -> int | None:
    return _number(request, name, 0) if request.query.get(name) else None


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 17) or int(text) >= _MAX_MS:
        raise BadInputError(f"{name} must be a whole number, found {text[:80]!r}")
    return int(text)


def _required(request: web.Request, name: str) -> str:
    if not (value := request.query.get(name, "")):
        raise BadInputError(f"{name} is missing")
    return value


def _spans_json(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [span_json(zipkin_span(span)) for span in spans]


def _json(found: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(found), content_type="application/json")
