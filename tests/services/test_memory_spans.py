"""The in-memory span store against what is plain to see, since all tests of traces rest on it."""

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError
from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode
from obsd.model.span_predicate import (
    AllOf,
    AllSpans,
    AnyOf,
    CompareField,
    Field,
    HasField,
    NotSpan,
)
from obsd.services.span_encoding import encode_spans
from obsd.services.span_store import TraceOrder, TraceSearch
from tests.oracles.otlp_spans import decode
from tests.oracles.span_predicate import matches
from tests.services.memory_spans import MemorySpans

BUDGET = QueryBudget()
END_NS = 1 << 62


def span(trace=1, number=1, **parts) -> Span:
    fields = {
        "trace_id": f"{trace:032x}",
        "span_id": f"{number:016x}",
        "parent_id": "",
        "name": "GET /",
        "kind": SpanKind.SERVER,
        "start_ns": 1_000 + trace,
        "end_ns": 2_000 + trace,
        "service": "web",
        "resource": {"service.name": "web", "host": "a"},
    }
    return Span(**(fields | parts))


RICH = span(
    parent_id="00000000000000aa",
    status=StatusCode.ERROR,
    status_message="no",
    attributes={
        "s": "x",
        "i": -5,
        "f": 2.5,
        "b": True,
        "l": [1, "two", [3]],
        "n": None,
        "y": b"\0",
    },
    scope=Scope("lib", "1", {"k": "v"}, 2, "https://scope"),
    events=(SpanEvent(1_500, "exception", {"exception.type": "E"}, 1),),
    links=(SpanLink("0" * 31 + "9", "0" * 15 + "8", "a=b", {"why": "retry"}, 3, 257),),
    trace_state="k=v",
    flags=257,
    dropped_attributes=1,
    dropped_events=2,
    dropped_links=3,
    resource_schema_url="https://resource",
)


def test_encoding_loses_nothing() -> None:
    assert decode(encode_spans([span(), RICH, span(2)])).spans == [span(), span(2), RICH]


def compare(field, op, value, scope="span"):
    return CompareField(Field(scope, field), op, value)


@pytest.mark.parametrize(
    ("predicate", "is_match"),
    [
        (AllSpans(), True),
        (AllOf(()), True),
        (AnyOf(()), False),
        (NotSpan(HasField(Field("span", "s"))), False),
        (HasField(Field("span", "n")), False),
        (HasField(Field("intrinsic", "parent_id")), True),
        (compare("i", "=", -5.0), True),
        (compare("i", "=", "-5"), False),
        (compare("i", "!=", "-5"), False),
        (compare("gone", "!=", 1), False),
        (NotSpan(compare("gone", "=", 1)), True),
        (compare("b", "=", 1), False),
        (compare("b", "=", True), True),
        (compare("s", "=", "X"), False),
        (compare("s", "=~", "[xy]"), True),
        (compare("s", "!~", "[xy]"), False),
        (compare("i", "=~", ".*"), False),
        (compare("l", "=", 3), True),
        (compare("l", "!=", "two"), False),
        (compare("l", "=", "two"), True),
        (compare("y", "=", "\0"), False),
        (compare("host", "=", "a", "any"), True),
        (compare("host", "=", "a", "span"), False),
        (compare("k", "=", "v", "scope"), True),
        (compare("exception.type", "=", "E", "event"), True),
        (compare("why", "=", "retry", "link"), True),
        (compare("duration", ">=", 1_000, "intrinsic"), True),
        (compare("status", "=", 2, "intrinsic"), True),
        (compare("kind", "<", 2, "intrinsic"), False),
        (compare("event.name", "=", "exception", "intrinsic"), True),
    ],
)
def test_predicates(predicate, is_match) -> None:
    assert matches(predicate, RICH) is is_match


def test_of_one_span_written_twice_the_last_counts() -> None:
    store = MemorySpans()
    store.add([span(name="first"), span(name="client", kind=SpanKind.CLIENT)])
    store.add([span(name="second")])
    assert [s.name for s in store.trace(f"{1:032x}", BUDGET)] == ["client", "second"]
    assert store.last_row() == 2


def test_searches_page_through_traces_of_any_order() -> None:
    store = MemorySpans()
    store.add(span(t, end_ns=5_000 - 10 * t) for t in range(1, 8))
    store.add([span(3, 2, service="db", status=StatusCode.ERROR, parent_id=f"{1:016x}")])
    for order, first in (
        (TraceOrder.NEWEST, 7),
        (TraceOrder.SLOWEST, 1),
        (TraceOrder.MOST_SPANS, 3),
    ):
        found, cursor = [], None
        while True:
            page = store.search(TraceSearch(AllSpans(), 0, END_NS, 3, order, cursor=cursor), BUDGET)
            found += page.traces
            if (cursor := page.next_cursor) is None:
                break
        assert len(found) == 7
        assert found[0].trace_id == f"{first:032x}"
    three = found[0]
    assert (three.spans, three.errors, sorted(three.services)) == (2, 1, ["db", "web"])
    with pytest.raises(BadInputError):
        store.search(TraceSearch(AllSpans(), 0, 1, cursor="x"), BUDGET)


def test_columns_have_what_was_asked_for() -> None:
    store = MemorySpans()
    store.add([RICH, span(2), span(3)])
    fields = (Field("span", "l"), Field("intrinsic", "service"))
    [columns] = store.scan(AllSpans(), fields, 0, END_NS, BUDGET, trace_ids=True)
    assert columns.values == [[1], ["web"]]
    assert sorted(columns.codes[0].tolist()) == [-1, -1, 0]
    assert columns.codes[1].tolist() == [0, 0, 0]
    assert len(columns.trace_ids) == 3


def test_values_are_told_apart_by_type() -> None:
    store = MemorySpans()
    store.add([span(1, attributes={"v": 1}), span(2, attributes={"v": True}), span(3)])
    found = store.field_values(Field("span", "v"), AllSpans(), 0, END_NS, 10, BUDGET)
    assert sorted(map(repr, found)) == ["(1, 1)", "(True, 1)"]


def test_deletion_takes_whole_traces() -> None:
    store = MemorySpans()
    store.add([span(1, 1, name="secret"), span(1, 2), span(2)])
    store.delete(compare("name", "=", "secret", "intrinsic"), 0, END_NS, BUDGET)
    assert [s.trace_id for s in store.spans(AllSpans(), 0, END_NS, 10, BUDGET)] == [f"{2:032x}"]


def test_spans_without_ids_are_refused_and_others_kept() -> None:
    store = MemorySpans()
    outcome = store.write(
        encode_spans([span(trace_id="0" * 32), span(span_id="00"), span()]), lambda _: None
    )
    assert (outcome.accepted, outcome.rejected) == (
        1,
        {"invalid_trace_id": 1, "invalid_span_id": 1},
    )
