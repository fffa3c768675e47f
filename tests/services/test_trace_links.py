import pytest

from obsd.model.budget import QueryBudget
from obsd.model.span import SpanKind, StatusCode
from obsd.services import trace_links
from obsd.services.trace_links import links_between_services
from tests.services.memory_spans import MemorySpans
from tests.services.spans import NOW_NS, make_span

CLIENT, SERVER = SpanKind.CLIENT, SpanKind.SERVER


def span(number: int, parent: int = 0, service: str = "web", **parts):
    above = f"{parent:016x}" if parent else ""
    return make_span(number=number, parent_id=above, service=service, **parts)


def links(*spans) -> list[tuple[str, str, int, int]]:
    store = MemorySpans()
    store.add(spans)
    found = links_between_services(store, 0, 1 << 62, QueryBudget())
    assert found is not None
    return [(link.parent, link.child, link.calls, link.errors) for link in found]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([span(1), span(2, 1), span(3, 9, "db")], []),
        ([span(1), span(2, 1, "api"), span(3, 1, "api")], [("web", "api", 2, 0)]),
        # The call and its answer are one; a failure is the server's.
        (
            [
                span(1),
                span(2, 1, kind=CLIENT, attributes={"peer.service": "api.local"}),
                span(3, 2, "api", status=StatusCode.ERROR),
            ],
            [("web", "api", 1, 1)],
        ),
        # Nobody took the call up, so it went to whom it names.
        (
            [span(1, kind=CLIENT, attributes={"peer.service": "db"}, status=StatusCode.ERROR)],
            [("web", "db", 1, 1)],
        ),
        # Halves that share an id, whichever came first, and what is below the server's.
        (
            [span(5, service="api"), span(5, kind=CLIENT), span(6, 5, "db")],
            [("api", "db", 1, 0), ("web", "api", 1, 0)],
        ),
        # Parents in other traces are others.
        ([span(1), make_span(2, 2, parent_id=f"{1:016x}", service="api")], []),
    ],
)
def test_who_calls_whom(spans, expected) -> None:
    assert links(*spans) == expected


def test_only_spans_of_the_time_count() -> None:
    store = MemorySpans()
    store.add([span(1), span(2, 1, "api")])
    assert links_between_services(store, 0, NOW_NS, QueryBudget()) == []


def test_too_many_spans_are_not_counted(monkeypatch) -> None:
    monkeypatch.setattr(trace_links, "MAX_SPANS", 5)
    store = MemorySpans()
    store.add(span(number) for number in range(1, 10))
    assert links_between_services(store, 0, 1 << 62, QueryBudget()) is None
