"""What queries take of a trace that is small enough to see through."""

from __future__ import annotations

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.span import Scope, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.traceql import FoundTrace, parse, search
from tests.services.memory_spans import MemorySpans
from tests.traceql.spans import MINUTE, T0, S, span

#   front (shop, server, 0 s to 10 s)
#   ├── auth (users, 1 s, 0.5 s, error, two events)
#   │   └── sql (users, client, 1.1 s, 0.2 s)
#   ├── cart (carts, 2 s, 4 s)
#   │   ├── get (carts, client, 2 s, 1 s)
#   │   └── put (carts, client, 3 s, 2 s)
#   └── mail (shop, producer, 8 s, 1 s, a link)
#   lost (batch, 5 s, whose parent never came)
TRACE = [
    span(1, 1, 0, "front", takes=10, kind=SpanKind.SERVER,
         attributes={"http.method": "GET", "status": 200, "n": 1, "hot": True, "a b": "c"}),
    span(1, 2, 1, "auth", at=1, takes=0.5, service="users", status=StatusCode.ERROR,
         status_message="no such user", attributes={"n": 2, "hot": False, "tags": ["x", "y"]},
         events=(
             SpanEvent(T0 + S + S // 4, "exception", {"exception.type": "KeyError", "code": 7}),
             SpanEvent(T0 + S + S // 2, "retry", {"code": 9}),
         )),
    span(1, 3, 2, "sql", at=1.1, takes=0.2, service="users", kind=SpanKind.CLIENT,
         attributes={"db": "users", "n": 2.5, "http.method": ""},
         scope=Scope("pg", "3", {"x": "y"})),
    span(1, 4, 1, "cart", at=2, takes=4, service="carts", attributes={"n": 4, "tags": ["y"]},
         resource={"region": "eu", "n": 40}),
    span(1, 5, 4, "get", at=2, takes=1, service="carts", kind=SpanKind.CLIENT,
         attributes={"db": "carts", "n": -3}, resource={"region": "eu"}),
    span(1, 6, 4, "put", at=3, takes=2, service="carts", kind=SpanKind.CLIENT,
         attributes={"db": "carts", "limit": -3}, resource={"region": "eu", "n": 6}),
    span(1, 7, 1, "mail", at=8, takes=1, kind=SpanKind.PRODUCER, attributes={"codes": [1, 2, 3]},
         links=(SpanLink(f"{0xAB:032x}", f"{0xCD:016x}", attributes={"why": "batch"}),)),
    span(1, 8, 99, "lost", at=5, service="batch", attributes={"n": "2", "empty": []}),
]  # fmt: skip
ALL = "front auth sql cart get lost put mail"


def found(query: str) -> list[FoundTrace]:
    store = MemorySpans()
    store.add(TRACE)
    result = search(store, parse(query), T0 - MINUTE, T0 + MINUTE, 20, 0, QueryBudget())
    return list(result.traces)


def names(query: str) -> str:
    """The names of the spans that were found, set by set."""
    sets = [each for trace in found(query) for each in trace.spansets]
    return " | ".join(" ".join(sorted(each.name for each in one.spans)) for one in sets)


def in_order(expected: str) -> str:
    return " | ".join(" ".join(sorted(each.split())) for each in expected.split("|"))


FILTERS = {
    "{ }": ALL,
    "{ false }": "",
    "{ 1 = 1.0 }": ALL,
    "{ 1s = 1000ms }": ALL,
    "{ nil != nil }": "",
    # Fields of every kind.
    '{ name = "cart" }': "cart",
    '{ span:name =~ "c.*" }': "cart",
    '{ name =~ "ar" }': "",  # The whole text has to match.
    '{ name !~ "c.*|.*t" }': "auth sql mail",
    '{ name > "mail" }': "put sql",
    "{ status = error }": "auth",
    "{ span:status != unset }": "auth",
    '{ statusMessage = "no such user" }': "auth",
    '{ statusMessage = "" && kind = internal }': "cart lost",
    "{ kind = client }": "sql get put",
    "{ span:kind = producer || kind = server }": "mail front",
    "{ duration > 1s }": "front cart put",
    "{ span:duration = 1s }": "get lost mail",
    "{ duration < 500000000 }": "sql",
    "{ 2s <= duration }": "front cart put",
    "{ traceDuration = 10s }": ALL,
    "{ trace:duration < 10s }": "",
    '{ rootName = "front" && name = "get" }': "get",
    '{ trace:rootService = "shop" && rootServiceName != "x" && kind = server }': "front",
    '{ trace:id = "1" && span:id = "4" }': "cart",
    '{ span:parentID = "0000000000000004" }': "get put",
    '{ span:parentID = "" }': "front",
    '{ span:id != "1" && span:childCount > 0 }': "auth cart",
    "{ childCount = 3 }": "front",
    "{ nestedSetParent < 0 }": "front",
    "{ nestedSetParent = -1 }": "front",
    "{ nestedSetParent >= 0 }": "auth sql cart get put mail lost",
    "{ nestedSetParent > 0 && nestedSetRight - nestedSetLeft = 1 }": "sql get put mail",
    "{ nestedSetLeft = 0 }": "lost",
    "{ nestedSetParent = 1 }": "auth cart mail",
    '{ event:name = "retry" }': "auth",
    '{ event:name != "retry" }': "auth",  # The other event is enough.
    "{ event:name != nil }": "auth",
    "{ event:timeSinceStart > 300ms }": "auth",
    "{ event:timeSinceStart > 500ms }": "",
    '{ event.exception.type = "KeyError" }': "auth",
    "{ event.code > 8 }": "auth",
    '{ link:traceID = "ab" && link:spanID = "CD" }': "mail",
    '{ link.why = "batch" }': "mail",
    '{ instrumentation:name = "pg" && instrumentation:version = "3" }': "sql",
    '{ instrumentation.x = "y" }': "sql",
    '{ instrumentation:name = "" && kind = client }': "get put",
    # Attributes: types, lists, scopes.
    '{ span.http.method = "GET" }': "front",
    '{ span.http.method != "GET" }': "sql",  # Which is there, and another.
    '{ span."a b" = "c" }': "front",
    "{ .n = 2 }": "auth",
    '{ .n = "2" }': "lost",
    "{ .n > 2 }": "sql cart put",
    "{ .n != 2 }": "front sql cart get put",
    "{ span.n >= 2.5 }": "sql cart",
    "{ resource.n > 5 }": "cart put",
    "{ .n = 6 }": "put",  # Without one of the span it is the resource's.
    "{ .n = 40 }": "",
    '{ .region = "eu" }': "cart get put",
    "{ .status = 200 }": "front",
    "{ .hot }": "front",
    "{ .hot = false }": "auth",
    "{ !.hot }": "auth",
    "{ .hot != true }": "auth",
    "{ .hot = 1 }": "",
    "{ .n = error }": "",
    "{ .tags = `x` }": "auth",
    "{ .tags = `y` }": "auth cart",
    "{ .tags != `x` }": "cart",  # None of them is.
    "{ .tags != `z` }": "auth cart",
    "{ .tags =~ `x|z` }": "auth",
    "{ .tags !~ `x|z` }": "cart",
    "{ `y` = .tags }": "auth cart",
    "{ .codes > 2 }": "mail",
    "{ .codes < 1 }": "",
    "{ .codes != 2 }": "",
    "{ .empty = 1 || .empty != 1 }": "",
    "{ .n != nil }": "front auth sql cart get put lost",
    "{ .tags = nil && kind = client }": "sql get put",
    "{ !(.n = 2) && kind = internal }": "cart lost",
    "{ .n = 2 || .db = `carts` }": "auth get put",
    "{ (.n = 1 || .n = 4) && duration > 5s }": "front",
    "{ .nothing = 1 || .nothing != 1 || .nothing > 1 }": "",
    "{ .missing || .hot }": "front",
    "{ parent.n = 1 }": "auth cart mail",
    "{ parent.resource.region = `eu` }": "get put",
    "{ parent.n != nil && parent.span.n > .n }": "get",
    # Arithmetic, and fields with each other.
    "{ .n + 1 = 3 }": "auth",
    "{ .n * 2 >= 5 }": "sql cart put",
    "{ .n / 3 = 1 }": "cart",  # Of whole numbers a whole one; 2.5 / 3 is a float.
    "{ .n % 3 = 1 }": "front cart",
    "{ .n % 2 = -1 }": "get",
    "{ .n ^ 2 = 16 }": "cart",
    "{ -.n = 3 }": "get",
    "{ .n = .limit }": "",
    "{ .limit = -3 }": "put",
    "{ .n / 0 = 1 || .n % 0 = 0 }": "",
    "{ duration > 2 * 1s && duration < 10s - 1s }": "cart",
    "{ duration / 1s = 4 }": "cart",
    "{ .n + .status = 201 }": "front",
    "{ .tags + 1 = 2 || .db + 1 = 1 }": "",
    "{ span.n != resource.n }": "cart",
    "{ name = .db || .db = resource.service.name }": "sql get put",
}

SETS = {
    "{ kind = client } && { status = error }": "sql get put auth",
    "{ kind = client } && { status = ok }": "",
    "{ kind = client } || { status = ok }": "sql get put",
    "{ status = ok } || { kind = consumer }": "",
    "{ name = `front` } > { }": "auth cart mail",
    "{ name = `front` } >> { kind = client }": "sql get put",
    "{ } > { name = `lost` }": "",
    "{ kind = client } < { }": "auth cart",
    "{ kind = client } << { }": "auth cart front",
    "{ name = `front` } << { }": "",
    "{ name = `get` } ~ { }": "put",
    "{ name = `get` } ~ { name = `get` }": "",
    "{ kind = client } ~ { kind = client }": "get put",
    "{ name = `auth` } !> { }": "front auth cart get put mail lost",
    "{ status = error } !>> { kind = client }": "get put",
    "{ status = ok } !> { kind = client }": "sql get put",
    "{ kind = client } !< { kind = internal }": "lost",
    "{ kind = client } !<< { }": "sql get put mail lost",
    "{ name = `get` } !~ { kind = client }": "sql get",
    "{ kind = server } &> { kind = internal }": "front auth cart",
    "{ } &> { name = `sql` }": "auth sql",
    "{ kind = client } &< { }": "sql auth get put cart",
    "{ kind = server } &>> { kind = client }": "front sql get put",
    "{ kind = client } &<< { kind = server }": "front sql get put",
    "{ name = `get` } &~ { kind = client }": "get put",
    "{ name = `front` } > { } > { }": "sql get put",
    "{ name = `front` } > ({ name = `cart` } > { })": "",
    "({ kind = client } | { duration > 500ms }) < { }": "cart",
    "({ kind = client } | count() > 3) && { }": "",
    "{ kind = client } | { duration >= 1s }": "get put",
    "{ kind = client } | { duration >= 1s } | { .n = 6 }": "put",
    "{ } | count() = 8": ALL,
    "{ } | count() > 8": "",
    "{ } | 8 = count()": ALL,
    "count() = 8 | { kind = server }": "front",
    "{ kind = client } | sum(duration) = 3.2s": "sql get put",
    "{ kind = client } | avg(duration) > 1s": "sql get put",
    "{ kind = client } | min(duration) = 200ms | max(duration) = 2s": "sql get put",
    "{ } | avg(.n) = 2.083333": "",
    "{ name = `auth` || name = `cart` } | avg(.n) = 3": "auth cart",
    "{ name = `auth` || name = `cart` || name = `lost` } | sum(.n) = 6": "auth cart lost",
    "{ } | max(.nothing) > 0": "",
    "{ } | max(duration) - min(duration) > 9s": ALL,
    "{ kind = client } | count() / 2 = 1.5": "sql get put",
    "({ kind = client } | count()) / ({ } | count()) < 0.4": ALL,
    "({ kind = client } | count()) > ({ kind = internal } | count())": "",
    "{ } | by(resource.service.name)": "front mail | auth sql | cart get put | lost",
    "{ } | by(resource.service.name) | count() > 2": "cart get put",
    "{ } | by(kind) | { duration > 1s }": "front | cart | put",
    "{ } | by(resource.service.name) | count() > 2 | coalesce()": "cart get put",
    "{ } | by(name) | coalesce() | count() = 8": ALL,
    "{ kind = client } | by(.db) | by(duration > 1s)": "sql | get | put",
    "{ kind = client } | by(.n > 0)": "sql put | get",
    "{ } | by(status) | ({ } > { name = `cart` })": "cart",
    "{ kind = client } | select(.db)": "sql get put",
}


@pytest.mark.parametrize(("query", "expected"), (FILTERS | SETS).items())
def test_a_query_takes_these_spans(query: str, expected: str) -> None:
    assert names(query) == in_order(expected)


def test_spans_are_answered_with_what_the_query_names() -> None:
    (trace,) = found(
        "{ .n > 1 && status = error && name != `x` && duration > 1ms }"
        "| select(.tags, resource.service.name, kind, event.code, span:childCount, .nothing)"
    )
    (spans,) = trace.spansets
    (only,) = spans.spans
    assert only.attributes == (
        ("n", 2),
        ("status", "error"),
        ("tags", ["x", "y"]),
        ("service.name", "users"),
        ("kind", "internal"),
        ("code", 7),
        ("span:childCount", 1),
    )
    assert (only.name, only.start_ns, only.duration_ns) == ("auth", T0 + S, S // 2)


def test_sets_are_answered_with_their_groups_and_numbers() -> None:
    (trace,) = found("{ } | by(resource.service.name) | count() > 2 | max(duration) > 1s")
    (spans,) = trace.spansets
    assert spans.attributes == (
        ("by(resource.service.name)", "carts"),
        ("count()", 3),
        ("max(duration)", "4s"),
    )
    assert spans.matched == 3


def test_a_trace_is_summed_up_whole() -> None:
    (trace,) = found("{ name = `get` }")
    summary = trace.summary
    assert (summary.root_name, summary.root_service) == ("front", "shop")
    assert (summary.start_ns, summary.duration_ns) == (T0, 10 * S)
    assert (summary.spans, summary.errors) == (8, 1)
    assert summary.services["users"].errors == 1
    assert summary.services["carts"].spans == 3


def test_two_spans_of_one_id_are_told_apart_by_kind() -> None:
    store = MemorySpans()
    store.add(
        [
            span(1, 1, 0, "call", kind=SpanKind.CLIENT),
            span(1, 1, 0, "serve", at=1, kind=SpanKind.SERVER),
            span(1, 2, 1, "work", at=2, kind=SpanKind.INTERNAL),
        ]
    )
    result = search(store, "{ name = `serve` } > { }", T0, T0 + MINUTE, 20, 3, QueryBudget())
    assert [each.name for each in result.traces[0].spansets[0].spans] == ["work"]
    result = search(store, "{ name = `call` } > { }", T0, T0 + MINUTE, 20, 3, QueryBudget())
    assert result.traces == ()


def test_parents_in_a_circle_end_a_walk() -> None:
    store = MemorySpans()
    store.add([span(1, i, i % 3 + 1, f"s{i}", at=i) for i in (1, 2, 3)])
    for query in ("{ } >> { }", "{ } << { }", "{ } ~ { }", "{ nestedSetLeft = 0 }"):
        search(store, query, T0, T0 + MINUTE, 20, 3, QueryBudget())
    result = search(store, "{ nestedSetLeft = 0 }", T0, T0 + MINUTE, 20, 3, QueryBudget())
    assert result.traces[0].spansets[0].matched == 3


def test_a_deep_trace_is_walked() -> None:
    store = MemorySpans()
    store.add([span(1, i, i - 1, f"s{i}", at=i / 1000) for i in range(1, 3001)])
    query = "{ name = `s1` } >> { nestedSetRight = nestedSetLeft + 1 }"
    result = search(store, query, T0, T0 + MINUTE, 20, 3, QueryBudget())
    assert [each.name for each in result.traces[0].spansets[0].spans] == ["s3000"]
