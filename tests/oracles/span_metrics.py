"""What spans are counted to, the plain way: from a list of them, all of which came in time.

The order does not matter, so there is none here: every caller is looked for among all spans.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from obsd.model.log_record import Value
from obsd.model.span import Span, SpanKind
from obsd.services.span_encoding import encode_span

Series = tuple[str, frozenset[tuple[str, str]]]
Values = dict[Series, float]

LATENCY_BUCKETS = tuple(0.002 * 2**n for n in range(14))
GRAPH_BUCKETS = tuple(0.1 * 2**n for n in range(8))

_CLIENTS = (SpanKind.CLIENT, SpanKind.PRODUCER)
_SERVERS = (SpanKind.SERVER, SpanKind.CONSUMER)
_DATABASES = ("db.namespace", "db.name", "db.system", "db.system.name")
_QUEUES = ("messaging.destination.name", "messaging.destination", "messaging.system")


def text(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def first(attributes: Mapping[str, Value], names: Sequence[str]) -> str:
    return next((found for name in names if (found := text(attributes.get(name)))), "")


def peer(attributes: Mapping[str, Value]) -> str:
    named = first(attributes, ("peer.service", "server.address", "net.peer.name"))
    if named:
        return named
    address = first(attributes, ("network.peer.address", "net.sock.peer.addr"))
    port = first(attributes, ("network.peer.port", "net.sock.peer.port"))
    return f"{address}:{port}" if address and port else address


def database(span: Span) -> str:
    name = first(span.attributes, _DATABASES) if span.kind is SpanKind.CLIENT else ""
    return name and (peer(span.attributes) or name)


class Expected:
    """The counters, and what happened beside them."""

    def __init__(self, dimensions: Mapping[str, str] | None = None) -> None:
        """`dimensions`: labels of attributes."""
        self.values: Counter[Series] = Counter()
        self.unpaired = 0
        self._dimensions = dimensions or {}

    def _add(self, name: str, labels: Mapping[str, str], value: int) -> None:
        present = frozenset((label, text) for label, text in labels.items() if text)
        self.values[name, present] += value

    def _observe(
        self,
        name: str,
        labels: Mapping[str, str],
        nanos: int | None,
        bounds: Sequence[float],
    ) -> None:
        """Of None there is a histogram, without anything in it."""
        for bound in bounds:
            inside = nanos is not None and nanos <= round(bound * 1e9)
            self._add(f"{name}_bucket", {**labels, "le": _le(bound)}, inside)
        self._add(f"{name}_bucket", {**labels, "le": "+Inf"}, nanos is not None)
        self._add(f"{name}_sum", labels, nanos or 0)
        self._add(f"{name}_count", labels, nanos is not None)

    def count(self, spans: Iterable[Span]) -> None:
        distinct = {(each.trace_id, each.span_id, each.kind): each for each in reversed([*spans])}
        for span in distinct.values():
            self._count_operation(span)
        self._count_edges(list(distinct.values()))

    def _count_operation(self, span: Span) -> None:
        labels = {
            "service": span.service or "unknown_service",
            "span_name": span.name,
            "span_kind": f"SPAN_KIND_{span.kind.name}",
            "status_code": f"STATUS_CODE_{span.status.name}",
        }
        for attribute, label in self._dimensions.items():
            value = text(span.resource.get(attribute)) or text(span.attributes.get(attribute))
            labels[label] = value
        self._add("traces_spanmetrics_calls_total", labels, 1)
        self._add("traces_spanmetrics_size_total", labels, len(encode_span(span)))
        self._observe("traces_spanmetrics_latency", labels, span.duration_ns, LATENCY_BUCKETS)

    def _count_edges(self, spans: Sequence[Span]) -> None:
        waiting = {
            (span.trace_id, span.span_id): span
            for span in spans
            if span.kind in _CLIENTS and not database(span)
        }
        paired: set[int] = set()
        for server in spans:
            is_shared = server.attributes.get("zipkin.shared") is True
            call = server.span_id if is_shared else server.parent_id
            client = waiting.get((server.trace_id, call))
            if server.kind in _SERVERS and client is not None:
                paired |= {id(server), id(client)}
                self._count_pair(client, server)
        for span in spans:
            if id(span) not in paired and span.kind in _CLIENTS + _SERVERS:
                self._count_alone(span)

    def _count_pair(self, client: Span, server: Span) -> None:
        is_message = SpanKind.PRODUCER is client.kind or SpanKind.CONSUMER is server.kind
        queued = server.start_ns - client.end_ns
        self._count_edge(
            _service(client),
            _service(server),
            "messaging_system" if is_message else "",
            client.is_error or server.is_error,
            client.duration_ns,
            server.duration_ns,
            queued if queued >= 0 else None,
        )

    def _count_alone(self, span: Span) -> None:
        own, nanos, failed = _service(span), span.duration_ns, span.is_error
        is_message = span.kind in (SpanKind.PRODUCER, SpanKind.CONSUMER)
        queue = first(span.attributes, _QUEUES) if is_message else ""
        if span.kind in _CLIENTS:
            server_nanos = None if is_message else nanos
            if store := database(span):
                self._count_edge(own, store, "database", failed, nanos, nanos)
            elif other := queue or peer(span.attributes):
                kind = "messaging_system" if queue else "virtual_node"
                self._count_edge(own, other, kind, failed, nanos, server_nanos)
            else:
                self.unpaired += 1
        elif queue:
            self._count_edge(queue, own, "messaging_system", failed, None, nanos)
        elif not span.parent_id:
            caller = text(span.attributes.get("peer.service")) or "user"
            self._count_edge(caller, own, "virtual_node", failed, None, nanos)
        else:
            self.unpaired += 1

    def _count_edge(
        self,
        client: str,
        server: str,
        connection: str,
        failed: bool,
        client_nanos: int | None,
        server_nanos: int | None,
        queued_nanos: int | None = None,
    ) -> None:
        labels = {"client": client, "server": server, "connection_type": connection}
        name = "traces_service_graph_request"
        self._add(f"{name}_total", labels, 1)
        self._add(f"{name}_failed_total", labels, failed)
        self._observe(f"{name}_client_seconds", labels, client_nanos, GRAPH_BUCKETS)
        self._observe(f"{name}_server_seconds", labels, server_nanos, GRAPH_BUCKETS)
        if connection == "messaging_system":
            self._observe(f"{name}_messaging_system_seconds", labels, queued_nanos, GRAPH_BUCKETS)

    def seconds(self) -> Values:
        """The counters as they are written."""
        return {
            (name, labels): value / 1e9 if name.endswith("_sum") else float(value)
            for (name, labels), value in self.values.items()
        }


def _service(span: Span) -> str:
    return span.service or "unknown_service"


def _le(bound: float) -> str:
    return f"{bound:.15g}"
