"""Which services call which, counted from spans: for the APIs that ask for dependencies.

A call is a span whose parent is of another service. A client's or producer's span that nobody below
took up counts as a call of the peer that it names (`peer.service`): a database, say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from obsd.model.budget import QueryBudget
from obsd.model.span import SpanKind, StatusCode
from obsd.model.span_predicate import AllSpans, Constant, Field
from obsd.services.service_map import USER, ServiceMap
from obsd.services.span_store import SpanColumns, SpanStore

if TYPE_CHECKING:
    from obsd.services.metrics_collector import MetricsCollector
    from obsd.services.trace_collector import TraceCollector

MAX_SPANS: Final = 200_000
"""Spans of which links are counted one by one; each takes some hundred bytes."""

_MS: Final = 1_000_000

_INTRINSICS: Final = ("span_id", "parent_id", "service", "kind", "status")
_FIELDS: Final = (*(Field("intrinsic", n) for n in _INTRINSICS), Field("span", "peer.service"))
_CALLS: Final = frozenset({SpanKind.CLIENT, SpanKind.PRODUCER})
_TAKEN: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})

_Span = tuple[str, str, str, str, int, bool, str]
"""Trace, id, parent's id, service, kind, whether it failed, and the peer's name."""


@dataclass(slots=True)
class ServiceLink:
    """One service calls another."""

    parent: str
    child: str
    calls: int = 0
    errors: int = 0


def links_between_services(
    store: SpanStore, start_ns: int, end_ns: int, budget: QueryBudget
) -> list[ServiceLink] | None:
    """The links that spans of a time tell, by their names; None where there are too many spans."""
    spans: list[_Span] = []
    for columns in store.scan(AllSpans(), _FIELDS, start_ns, end_ns, budget, trace_ids=True):
        if len(spans) + len(columns.start_ns) > MAX_SPANS:
            return None
        spans += _rows(columns)
    return _count(spans)


class ServiceLinks:
    """The links of a project: of a few spans exactly, else out of the metrics made of them."""

    def __init__(self, traces: TraceCollector, metrics: MetricsCollector) -> None:
        self._traces = traces
        self._map = ServiceMap(metrics)

    async def between(self, project_id: str, start_ns: int, end_ns: int) -> list[ServiceLink]:
        """The links of a time, by their names."""
        links = await self._traces.read(
            project_id,
            lambda store, budget: links_between_services(store, start_ns, end_ns, budget),
        )
        if links is not None:
            return links
        found = await self._map.increases(project_id, start_ns // _MS, end_ns // _MS)
        sums: dict[tuple[str, str], ServiceLink] = {}
        for (client, server, _), calls in found.edges.items():
            if client != USER:
                link = sums.setdefault((client, server), ServiceLink(client, server))
                link.calls += round(calls.count)
                link.errors += round(calls.errors)
        return sorted(sums.values(), key=lambda link: (link.parent, link.child))


def _rows(columns: SpanColumns) -> list[_Span]:
    def column(at: int) -> Sequence[Constant | None]:
        values: list[Constant | None] = [*columns.values[at], None]  # -1 is the last.
        return [values[code] for code in columns.codes[at].tolist()]

    ids, parents, services, kinds, statuses, peers = map(column, range(len(_FIELDS)))
    assert columns.trace_ids is not None
    return [
        (
            trace_id,
            str(span_id or ""),
            str(parent or ""),
            str(service or ""),
            int(kind or 0),
            status == StatusCode.ERROR,
            str(peer or ""),
        )
        for trace_id, span_id, parent, service, kind, status, peer in zip(
            columns.trace_ids, ids, parents, services, kinds, statuses, peers, strict=True
        )
    ]


def _count(spans: Sequence[_Span]) -> list[ServiceLink]:
    by_id: dict[tuple[str, str], _Span] = {}
    for span in spans:
        # Of the two halves of a call that share an id, those below hang under the server's.
        if (span[0], span[1]) not in by_id or span[4] in _TAKEN:
            by_id[span[0], span[1]] = span
    callers = {(s[0], s[1]): s for s in spans if s[4] in _CALLS}
    taken: set[tuple[str, str]] = set()
    links: dict[tuple[str, str], ServiceLink] = {}

    def add(parent: str, child: str, failed: bool) -> None:
        link = links.setdefault((parent, child), ServiceLink(parent, child))
        link.calls += 1
        link.errors += failed

    for span in spans:
        trace_id, span_id, parent_id, service, kind, failed, _ = span
        half = callers.get((trace_id, span_id)) if kind in _TAKEN else None
        above = half or by_id.get((trace_id, parent_id))
        if above is None:
            continue
        if above[4] in _CALLS:
            taken.add((above[0], above[1]))
        if above[3] and service and above[3] != service:
            add(above[3], service, failed)
    for span in callers.values():
        if (span[0], span[1]) not in taken and span[6] and span[3] and span[6] != span[3]:
            add(span[3], span[6], span[5])
    return sorted(links.values(), key=lambda link: (link.parent, link.child))
