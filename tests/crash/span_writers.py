"""Concurrent senders of spans that know what was acknowledged, and a search for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from obsd.model.span import Span, SpanKind
from obsd.services.span_encoding import encode_spans
from tests.crash.writers import Writer
from tests.e2e.processes import Answer, Server
from tests.services.spans import make_span

TRACES_PATH = "/v1/traces"
TRACES_HEADERS = {"Content-Type": "application/x-protobuf"}
SEARCH_PATH = "/api/v1/monitoring/traces"
TRACES_PER_BATCH = 5
SPANS_PER_TRACE = 4
DAY_MS = 86_400_000
KEEPING = {"OBSD_STORAGE__TRACE_RETENTION": "7d"}
"""What is of the day before is not to be sampled."""
PAGE = 1000


def send(server: Server, spans: Iterable[Span]) -> Answer:
    body = encode_spans(spans)
    return server.request(TRACES_PATH, method="POST", body=body, headers=TRACES_HEADERS)


def call(trace: int, at_ms: int, service: str, spans: int = SPANS_PER_TRACE) -> list[Span]:
    """A trace of a root and its children."""
    at_ns = at_ms * 1_000_000
    root = make_span(trace, 1, service=service, start_ns=at_ns, end_ns=at_ns + 1_000_000)
    children = [
        make_span(
            trace,
            number,
            service=service,
            name=f"step {number}",
            parent_id=root.span_id,
            kind=SpanKind.INTERNAL,
            start_ns=at_ns + number,
            end_ns=at_ns + 1000 * number,
            attributes={"trace": str(trace), "n": number},
        )
        for number in range(2, spans + 1)
    ]
    return [root, *children]


def search(server: Server, around_ms: int, **parameters: str) -> list[Any]:
    """All traces that match within two days of a time, page by page."""
    times = {"from": str((around_ms - 2 * DAY_MS) // 1000), "to": str((around_ms + DAY_MS) // 1000)}
    found: list[Any] = []
    cursor = ""
    while True:
        asked = {"limit": str(PAGE), "cursor": cursor, **times, **parameters}
        answer = server.request(SEARCH_PATH, asked)
        assert answer.status == 200, answer.text
        page = answer.json()
        found += page["traces"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


def spans_of(server: Server, trace_id: str) -> list[str]:
    """The ids of a trace's spans, by start."""
    answer = server.request(f"{SEARCH_PATH}/{trace_id}")
    if answer.status == 404:
        return []
    assert answer.status == 200, answer.text
    return [span["span_id"] for span in answer.json()["spans"]]


@dataclass(slots=True)
class SpanWriter(Writer):
    """Sends one batch of traces after the other.

    Every fourth batch is of the day before, so that a flush makes segments for two days. The last
    span of a trace comes with the next batch, so that traces are in pieces. What had no answer is
    sent again, as senders do: it is there once all the same.
    """

    path: ClassVar[str] = TRACES_PATH
    headers: ClassVar[dict[str, str]] = TRACES_HEADERS
    stored_status: ClassVar[int] = 200

    def traces(self, batch: int) -> Iterator[list[Span]]:
        first_ms = self.first_ms + batch - (DAY_MS if batch % 4 == 3 else 0)
        for number in range(TRACES_PER_BATCH):
            trace = (self.number + 1) << 96 | (batch + 1) << 32 | number
            yield call(trace, first_ms + number, f"writer-{self.number}")

    def body(self, batch: int) -> bytes:
        spans = [span for trace in self.traces(batch) for span in trace[:-1]]
        if batch:
            spans += [trace[-1] for trace in self.traces(batch - 1)]
        return encode_spans(spans)

    def check(self, server: Server, end_ms: int) -> None:
        """Every acknowledged trace is there whole, none twice, and none unheard of."""
        found = search(server, end_ms, service=f"writer-{self.number}")
        spans = {trace["trace_id"]: trace["spans"] for trace in found}
        assert len(spans) == len(found), "a trace is there twice"
        lost = [id_ for id_, least in self.acknowledged_traces() if spans.get(id_, 0) < least]
        assert not lost, f"spans of {len(lost)} traces are lost, such as {lost[:5]}"
        assert max(spans.values(), default=0) <= SPANS_PER_TRACE, "a span is there twice"
        possible = {
            trace[0].trace_id
            for batch in self.acknowledged | self.unanswered
            for trace in self.traces(batch)
        }
        assert spans.keys() <= possible, "a trace was never sent"

    def acknowledged_traces(self) -> Iterator[tuple[str, int]]:
        """Ids, and how many spans at least are acknowledged."""
        for batch in sorted(self.acknowledged):
            for trace in self.traces(batch):
                yield trace[0].trace_id, SPANS_PER_TRACE - (batch + 1 not in self.acknowledged)
