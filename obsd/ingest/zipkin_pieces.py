"""Spans that come in pieces: each piece is merged with what is stored, and the whole written anew.

Concurrency: thread-safe; blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from obsd.ingest.zipkin_otlp import encode, zipkin_span
from obsd.ingest.zipkin_span import ZipkinSpan, join
from obsd.model.budget import QueryBudget
from obsd.services.pending_write import OnDurable
from obsd.services.span_store import SpanStore, SpanWriteOutcome

MAX_OPEN: Final = 20_000
"""Spans of which more pieces may come; beyond it, those go that have waited for longest."""

_Key = tuple[str, str, str]


class Pieces:
    """Remembers which spans are not whole yet, so that whole ones cost no look-up."""

    def __init__(self, new_budget: Callable[[], QueryBudget]) -> None:
        self._new_budget = new_budget
        self._lock = threading.Lock()
        self._open: dict[_Key, None] = {}  # Project, trace and span; under the lock.

    def write(
        self,
        project_id: str,
        spans: Iterable[ZipkinSpan],
        store: SpanStore,
        on_durable: OnDurable,
        now_ns: int,
    ) -> SpanWriteOutcome:
        """Write spans, merged with each other and with the pieces that came before."""
        traces = _by_id(spans)
        with self._lock:
            is_whole = not any(
                (project_id, trace_id, span_id) in self._open or any(s.is_piece for s in same)
                for trace_id, ids in traces.items()
                for span_id, same in ids.items()
            )
            if not is_whole:
                # Under the lock as a whole: of two pieces that come at one time, one is the first.
                for trace_id, ids in traces.items():
                    self._merge(project_id, trace_id, ids, store)
                return store.write(_encode(traces, now_ns), on_durable)
        return store.write(_encode(traces, now_ns), on_durable)

    def _merge(
        self, project_id: str, trace_id: str, ids: dict[str, list[ZipkinSpan]], store: SpanStore
    ) -> None:
        """Put what is stored of these spans before what has come of them."""
        wanted = {
            span_id
            for span_id, same in ids.items()
            if (project_id, trace_id, span_id) in self._open or any(s.is_piece for s in same)
        }
        if not wanted:
            return
        known: dict[str, list[ZipkinSpan]] = {span_id: [] for span_id in wanted}
        for stored in store.trace(trace_id, self._new_budget()):
            if stored.span_id in wanted:
                known[stored.span_id].append(zipkin_span(stored))
        for span_id in wanted:
            merged: Sequence[ZipkinSpan] = known[span_id]
            for each in ids[span_id]:
                merged = join(merged, each)
            ids[span_id] = list(merged)
            self._remember((project_id, trace_id, span_id), merged)

    def _remember(self, key: _Key, spans: Iterable[ZipkinSpan]) -> None:
        self._open.pop(key, None)
        if any(span.is_piece for span in spans):
            self._open[key] = None
            if len(self._open) > MAX_OPEN:
                del self._open[next(iter(self._open))]


def _by_id(spans: Iterable[ZipkinSpan]) -> dict[str, dict[str, list[ZipkinSpan]]]:
    """By trace and span, pieces of the same span merged."""
    traces: dict[str, dict[str, list[ZipkinSpan]]] = {}
    for each in sorted(spans, key=lambda span: not span.kind):
        ids = traces.setdefault(each.trace_id, {})
        ids[each.span_id] = join(ids.get(each.span_id, ()), each)
    return traces


def _encode(traces: dict[str, dict[str, list[ZipkinSpan]]], now_ns: int) -> bytes:
    return encode(
        (span for ids in traces.values() for same in ids.values() for span in same), now_ns
    )
