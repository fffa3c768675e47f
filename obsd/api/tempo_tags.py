"""Tempo's query API, names and values of tags: docs/api/tempo.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from aiohttp import web

from obsd.api.auth import project_of
from obsd.api.json_body import json_response
from obsd.api.keys import TRACES
from obsd.api.tempo_params import PREFIX, TempoParams, read_tempo_params
from obsd.model.errors import BadInputError
from obsd.model.span import SpanKind, StatusCode
from obsd.model.span_predicate import AllOf, AllSpans, Field, HasField, NotSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obsd.model.budget import QueryBudget
    from obsd.model.span_predicate import Constant, FieldScope, SpanPredicate
    from obsd.services.span_store import SpanStore

MAX_TAGS: Final = 5_000
MAX_VALUES: Final = 1_000
DEFAULT_VALUES: Final = 500

INTRINSICS: Final = (
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "link:spanID",
    "link:traceID",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:id",
    "span:kind",
    "span:name",
    "span:parentID",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:id",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
)
_SCOPES: Final[tuple[tuple[str, FieldScope], ...]] = (
    ("resource", "resource"),
    ("span", "span"),
    ("event", "event"),
    ("link", "link"),
    ("instrumentation", "scope"),
)
_KEYWORDS: Final[dict[str, type[SpanKind | StatusCode]]] = {
    "kind": SpanKind,
    "span:kind": SpanKind,
    "status": StatusCode,
    "span:status": StatusCode,
}
_OF_ROOTS: Final = {
    "rootName": Field("intrinsic", "name"),
    "trace:rootName": Field("intrinsic", "name"),
    "rootServiceName": Field("intrinsic", "service"),
    "trace:rootService": Field("intrinsic", "service"),
}
_IS_ROOT: Final = NotSpan(HasField(Field("intrinsic", "parent_id")))


async def tag_names(request: web.Request) -> web.Response:
    """`GET …/search/tags`: names without their scopes."""
    params = await read_tempo_params(request)
    scopes = await _names(request, params)
    names = {name for _, tags in scopes for name in tags}
    return json_response({"tagNames": sorted(names), "metrics": {}})


async def scoped_tag_names(request: web.Request) -> web.Response:
    """`GET …/v2/search/tags`: names by scope."""
    params = await read_tempo_params(request)
    scopes = await _names(request, params)
    shown = [{"name": scope, "tags": list(tags)} for scope, tags in scopes if tags]
    return json_response({"scopes": shown, "metrics": {}})


async def _names(request: web.Request, params: TempoParams) -> list[tuple[str, Sequence[str]]]:
    wanted = params.text("scope")
    known = {"", "none", "intrinsic", *(scope for scope, _ in _SCOPES)}
    if wanted not in known:
        raise BadInputError(f"invalid scope: {wanted[:100]}")
    start_ns, end_ns = params.range_ns(None)
    found: Sequence[Field] = ()
    if wanted != "intrinsic":
        limit = params.count("limit", MAX_TAGS, MAX_TAGS) or MAX_TAGS
        found = await request.app[TRACES].field_names(project_of(request), start_ns, end_ns, limit)
    scopes: list[tuple[str, Sequence[str]]] = [
        (scope, sorted(field.name for field in found if field.scope == own))
        for scope, own in _SCOPES
        if wanted in ("", "none", scope)
    ]
    if wanted in ("", "none", "intrinsic"):
        scopes.append(("intrinsic", INTRINSICS))
    return scopes


async def tag_values(request: web.Request) -> web.Response:
    """`GET …/search/tag/{tag}/values`: as texts."""
    values = await _values(request)
    texts = sorted({value for _, value in values})
    return json_response({"tagValues": texts, "metrics": {}})


async def typed_tag_values(request: web.Request) -> web.Response:
    """`GET …/v2/search/tag/{tag}/values`: with their types."""
    values = await _values(request)
    shown = [{"type": kind, "value": value} for kind, value in values]
    return json_response({"tagValues": shown, "metrics": {}})


async def _values(request: web.Request) -> list[tuple[str, str]]:
    params = await read_tempo_params(request)
    tag = unquote(request.match_info["tag"])  # Some callers encode it twice.
    if enum := _KEYWORDS.get(tag):
        return [("keyword", each.name.lower()) for each in enum if each.name != "UNSPECIFIED"]
    start_ns, end_ns = params.range_ns(None)
    limit = params.count("limit", DEFAULT_VALUES, MAX_VALUES) or DEFAULT_VALUES
    query = params.text("q")

    def work(store: SpanStore, budget: QueryBudget) -> Sequence[tuple[Constant, int]]:
        field, condition = _field(tag), _condition(query)
        if field is None:
            return ()
        if tag in _OF_ROOTS:
            condition = AllOf((condition, _IS_ROOT))
        return store.field_values(field, condition, start_ns, end_ns, limit, budget)

    found = await request.app[TRACES].read(project_of(request), work)
    return [_typed(tag, value) for value, _ in found]


def _field(tag: str) -> Field | None:
    """The engine's field for a tag; None for what has no values to choose from.

    Raises:
        BadInputError: it is no tag.
    """
    from obsd.traceql.errors import TraceqlParseError
    from obsd.traceql.parser import parse_field
    from obsd.traceql.pushdown import field_of

    if tag in _OF_ROOTS:
        return _OF_ROOTS[tag]
    if tag in ("duration", "span:duration", "trace:id", "span:id", "span:parentID"):
        return None
    try:
        return field_of(parse_field(tag))
    except TraceqlParseError:
        return Field("any", tag.removeprefix("."))  # The first API has names without a scope.


def _condition(query: str) -> SpanPredicate:
    """What spans have to be; a query that cannot be read filters nothing."""
    from obsd.traceql.conditions import condition_of

    return (condition_of(query) if query else None) or AllSpans()


def _typed(tag: str, value: Constant) -> tuple[str, str]:
    match value:
        case bool():
            return "bool", "true" if value else "false"
        case int():
            return "duration" if tag.endswith("uration") else "int", str(value)
        case float():
            return "float", repr(value)
    return "string", value


def routes() -> list[web.RouteDef]:
    return [
        web.get(f"{PREFIX}/search/tags", tag_names),
        web.get(f"{PREFIX}/v2/search/tags", scoped_tag_names),
        web.get(f"{PREFIX}/search/tag/{{tag:.+}}/values", tag_values),
        web.get(f"{PREFIX}/v2/search/tag/{{tag:.+}}/values", typed_tag_values),
    ]
