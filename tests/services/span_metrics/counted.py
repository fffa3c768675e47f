"""Spans, as hypothesis makes them and as tests send them; and samples, read back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from obsd import _native
from obsd.config.tree import SpanMetricsConfig
from obsd.model.span import Span, SpanKind, StatusCode
from obsd.services.span_encoding import encode_spans
from obsd.services.span_metrics.options import native_options
from tests.oracles.span_metrics import Values
from tests.wire.protobuf_fields import decode_write_request

NOW_MS = 1_700_000_000_000
NOW_NS = NOW_MS * 1_000_000
LIMITS = (NOW_NS, 0, 1 << 20, 1024)


def span(
    span_id: int,
    parent_id: int = 0,
    *,
    kind: SpanKind = SpanKind.SERVER,
    service: str = "cart",
    trace_id: int = 1,
    ms: float = 5,
    **changes: object,
) -> Span:
    made = Span(
        trace_id=f"{trace_id:032x}",
        span_id=f"{span_id:016x}",
        parent_id=f"{parent_id:016x}" if parent_id else "",
        name="GET /cart",
        kind=kind,
        start_ns=NOW_NS,
        end_ns=NOW_NS + round(ms * 1e6),
        service=service,
        status=StatusCode.UNSET,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def batch(spans: Iterable[Span]) -> _native.SpanBatch:
    return _native.SpanBatch.decode(encode_spans(spans), LIMITS)


def new_counters(config: SpanMetricsConfig | None = None) -> _native.SpanCounters:
    return _native.SpanCounters(*native_options(config or SpanMetricsConfig()))


def read_samples(bodies: Iterable[bytes]) -> Values:
    """The newest value of each series."""
    values: Values = {}
    for body in bodies:
        for series in decode_write_request(body).series:
            labels = dict(series.labels)
            name = labels.pop("__name__")
            values[name, frozenset(labels.items())] = series.samples[-1][1]
    return values


_TEXTS = st.sampled_from(["", "a", "db-1", "orders", "é" * 3])
_KEYS = st.sampled_from(
    [
        "peer.service",
        "server.address",
        "net.peer.name",
        "network.peer.address",
        "network.peer.port",
        "db.system",
        "db.name",
        "db.system.name",
        "messaging.system",
        "messaging.destination.name",
        "http.route",
        "region",
    ]
)
_VALUES: st.SearchStrategy[Any] = (
    _TEXTS | st.integers(-3, 70_000) | st.booleans() | st.lists(_TEXTS, max_size=2)
)


@st.composite
def traces(draw: st.DrawFn, max_spans: int = 25) -> list[Span]:
    """Spans of a few traces, with ids of their own; parents may be missing."""
    spans: list[Span] = []
    count = draw(st.integers(0, max_spans))
    for span_id in range(1, count + 1):
        start_ns = NOW_NS + draw(st.integers(-(10**9), 10**9))
        spans.append(
            Span(
                trace_id=f"{draw(st.integers(1, 2)):032x}",
                span_id=f"{span_id:016x}",
                parent_id=draw(st.just("") | st.integers(1, count + 2).map(lambda n: f"{n:016x}")),
                name=draw(st.sampled_from(["GET /", "send", ""])),
                kind=draw(st.sampled_from(SpanKind)),
                start_ns=start_ns,
                end_ns=start_ns + draw(st.integers(0, 20 * 10**9)),
                service=draw(st.sampled_from(["front", "cart", "mail", ""])),
                status=draw(st.sampled_from(StatusCode)),
                attributes=draw(st.dictionaries(_KEYS, _VALUES, max_size=4)),
                resource=draw(st.dictionaries(st.just("region"), _TEXTS, max_size=1)),
            )
        )
    return spans


def arrivals(spans: Sequence[Span], seed: int, repeats: int) -> list[list[Span]]:
    """Requests with these spans in any order, some of them more than once."""
    order = random.Random(seed)
    sent = [*spans, *(order.choice(spans) for _ in range(repeats if spans else 0))]
    order.shuffle(sent)
    requests: list[list[Span]] = []
    while sent:
        size = order.randint(1, 8)
        requests.append(sent[:size])
        sent = sent[size:]
    return requests
