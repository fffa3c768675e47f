"""Spans for queries: a few traces by hand, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from obsd.model.span import Scope, Span, SpanEvent, SpanKind, SpanLink, StatusCode

S = 1_000_000_000
MINUTE = 60 * S
T0 = 1_700_000_040 * S  # A whole minute.


def span(trace: int, number: int, parent: int, name: str, **fields: Any) -> Span:
    """A span that starts `at` seconds after T0 and takes `takes`; parent 0 for a root."""
    at, takes = fields.pop("at", 0.0), fields.pop("takes", 1.0)
    service = fields.pop("service", "shop")
    resource = {**fields.pop("resource", {}), **({"service.name": service} if service else {})}
    start_ns = T0 + round(at * S)
    return Span(
        trace_id=f"{trace:032x}",
        span_id=f"{number:016x}",
        parent_id=f"{parent:016x}" if parent else "",
        name=name,
        kind=fields.pop("kind", SpanKind.INTERNAL),
        start_ns=start_ns,
        end_ns=start_ns + round(takes * S),
        service=service,
        resource=resource,
        **fields,
    )


_VALUES = st.one_of(
    st.sampled_from(["x", "y", "cart", ""]),
    st.integers(-2, 3),
    st.sampled_from([0.5, 1.0, 2.5]),
    st.booleans(),
    st.lists(st.sampled_from(["x", "y"]), max_size=2),
    st.lists(st.integers(0, 2), max_size=2),
)
_ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "a b"]), _VALUES, max_size=2)
_NAMES = st.sampled_from(["GET /", "x", "y", "cart"])


@st.composite
def traces(draw: st.DrawFn, number: int) -> list[Span]:
    """A trace of some spans; parents are there, or missing, or go in circles."""
    count = draw(st.integers(1, 5))
    return [
        span(
            number,
            each,
            draw(st.sampled_from([0, *range(1, count + 2)])) if each > 1 else 0,
            draw(_NAMES),
            at=draw(st.integers(0, 600)),
            takes=draw(st.sampled_from([0, 0.001, 0.5, 1, 2, 90])),
            service=draw(st.sampled_from(["", "x", "y"])),
            kind=draw(st.sampled_from([SpanKind.SERVER, SpanKind.CLIENT])),
            status=draw(st.sampled_from(StatusCode)),
            status_message=draw(st.sampled_from(["", "x"])),
            attributes=draw(_ATTRIBUTES),
            resource=draw(_ATTRIBUTES),
            scope=Scope(
                draw(st.sampled_from(["", "x"])), "", draw(st.just({}) | st.just({"i": 1}))
            ),
            events=tuple(
                SpanEvent(T0 + at * S, draw(_NAMES), draw(st.dictionaries(st.just("e"), _VALUES)))
                for at in draw(st.lists(st.integers(0, 5), max_size=2))
            ),
            links=tuple(
                SpanLink(f"{to:032x}", f"{to:016x}", attributes={"l": to})
                for to in draw(st.lists(st.integers(1, 3), max_size=2))
            ),
        )
        for each in range(1, count + 1)
    ]


def some_traces() -> st.SearchStrategy[Sequence[Span]]:
    """Spans of up to four traces, as they arrive."""
    return (
        st.integers(1, 4)
        .flatmap(lambda count: st.tuples(*(traces(number) for number in range(1, count + 1))))
        .map(lambda each: [span for trace in each for span in trace])
    )
