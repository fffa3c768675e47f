"""Who calls whom and how well that goes, for any range: out of the metrics derived from spans.

All numbers are increases of counters, without extrapolation: their sums over the range, and the
time quantiles of their buckets. A node is compared with its own past; what is a change, and what is
none, says `service_health`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import numpy as np

from obsd.model.matcher import Matcher, MatchOp
from obsd.services.service_health import Health, judge

if TYPE_CHECKING:
    from obsd.model.budget import QueryBudget
    from obsd.model.samples import Columns
    from obsd.services.metrics_collector import MetricsCollector, MetricsReader

NodeType = Literal["service", "database", "queue", "external", "user"]
EdgeKey = tuple[str, str, str]
"""Client, server, and what connects them."""
K = TypeVar("K")

INBOUND: Final = frozenset({"SPAN_KIND_SERVER", "SPAN_KIND_CONSUMER"})
ERROR: Final = "STATUS_CODE_ERROR"
USER: Final = "user"

_OF_SERVERS: Final[dict[str, NodeType]] = {
    "database": "database",
    "messaging_system": "queue",
    "virtual_node": "external",
}
_HOUR_MS: Final = 3_600_000
CHUNK_MS: Final = 3 * _HOUR_MS
"""Of a longer range, so much is read at a time; a query may only touch so many samples."""

BEFORE_MS: Final = 600_000
"""How long before a range the last value of a counter may lie; obsd may not have run meanwhile."""

_CALLS: Final = "traces_spanmetrics_calls_total"
_LATENCY: Final = "traces_spanmetrics_latency_bucket"
_REQUESTS: Final = "traces_service_graph_request_total"
_FAILED: Final = "traces_service_graph_request_failed_total"
_SERVER_SECONDS: Final = "traces_service_graph_request_server_seconds_bucket"


@dataclass(slots=True)
class Calls:
    """Calls of one range.

    Attributes:
        below_s: by upper bound in seconds, how many took no longer.
    """

    count: float = 0.0
    errors: float = 0.0
    below_s: defaultdict[float, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, other: Calls) -> None:
        self.count += other.count
        self.errors += other.errors
        for bound, count in other.below_s.items():
            self.below_s[bound] += count

    @property
    def error_rate(self) -> float:
        """A share from 0 to 1."""
        return min(self.errors / self.count, 1.0) if self.count else 0.0

    def quantile_s(self, q: float) -> float | None:
        """The time that this share of calls stays within; None where it is not known.

        Calls are spread evenly in their bucket. Above all bounds nothing is known but the last.
        """
        below = sorted(self.below_s.items())
        if not below or (total := below[-1][1]) <= 0:
            return None
        rank = q * total
        for (lower, before), (upper, count) in pairwise([(0.0, 0.0), *below]):
            if count >= rank and count > before:
                share = max(rank - before, 0.0) / (count - before)
                return lower if math.isinf(upper) else lower + (upper - lower) * share
        return max((bound for bound, _ in below if math.isfinite(bound)), default=None)


@dataclass(frozen=True, slots=True)
class Node:
    """A service, or what services call that makes no spans of its own.

    Attributes:
        baseline: its calls in the range before.
    """

    name: str
    type: NodeType
    calls: Calls
    baseline: Calls
    health: Health


@dataclass(frozen=True, slots=True)
class Edge:
    """Calls from one node to another; `connection` is "" for one from service to service."""

    client: str
    server: str
    connection: str
    calls: Calls


@dataclass(frozen=True, slots=True)
class Map:
    """A graph of services.

    Attributes:
        nodes: by name.
        edges: by client, server and connection.
        uncounted: calls beyond the limit of series, of which no more is known.
    """

    nodes: Sequence[Node]
    edges: Sequence[Edge]
    uncounted: float


@dataclass(slots=True)
class Increases:
    """What was counted in a range."""

    by_kind: defaultdict[str, defaultdict[str, Calls]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Calls))
    )
    """By service and kind of span."""
    edges: defaultdict[EdgeKey, Calls] = field(default_factory=lambda: defaultdict(Calls))
    uncounted: float = 0.0

    def services(self) -> dict[str, Calls]:
        """Calls that services took in; of those that took in none, all their spans."""
        return {service: _taken_in(kinds) for service, kinds in self.by_kind.items()}

    def virtual(self, services: Iterable[str]) -> dict[str, tuple[NodeType, Calls]]:
        """The ends of edges that are no services."""
        known = set(services)
        found: dict[str, tuple[NodeType, Calls]] = {}
        for (client, server, connection), calls in self.edges.items():
            if server not in known:
                kind = _OF_SERVERS.get(connection, "external")
                found.setdefault(server, (kind, Calls()))[1].add(calls)
            if client not in known:
                caller: NodeType = USER if client == USER else _caller(connection)
                _, own = found.setdefault(client, (caller, Calls()))
                if connection != "messaging_system":  # A queue's calls are those that it takes in.
                    own.count += calls.count
                    own.errors += calls.errors
        return found


def _caller(connection: str) -> NodeType:
    return "queue" if connection == "messaging_system" else "external"


def _taken_in(kinds: Mapping[str, Calls]) -> Calls:
    taken = Calls()
    wanted = INBOUND if INBOUND & kinds.keys() else kinds.keys()
    for kind in wanted & kinds.keys():
        taken.add(kinds[kind])
    return taken


def baseline_ms(range_ms: int) -> int:
    """How far before a range is looked for what is usual."""
    return max(range_ms, min(max(6 * range_ms, _HOUR_MS), 24 * _HOUR_MS))


class ServiceMap:
    """Makes maps of the metrics of a project."""

    def __init__(self, metrics: MetricsCollector) -> None:
        self._metrics = metrics

    async def map(self, project_id: str, start_ms: int, end_ms: int) -> Map:
        """The graph of a range.

        Raises:
            QueryError: it is more than a query may read.
        """
        before_ms = start_ms - baseline_ms(end_ms - start_ms)
        now = await self.increases(project_id, start_ms, end_ms)
        before = await self.increases(project_id, before_ms, start_ms)
        seconds = ((end_ms - start_ms) / 1000, (start_ms - before_ms) / 1000)
        return build(now, before, seconds)

    async def increases(self, project_id: str, start_ms: int, end_ms: int) -> Increases:
        """What was counted in a range."""
        found = Increases()
        while start_ms < end_ms:
            through_ms = min(start_ms + CHUNK_MS, end_ms)

            def read(
                reader: MetricsReader,
                budget: QueryBudget,
                start_ms: int = start_ms,
                through_ms: int = through_ms,
            ) -> None:
                _read(reader, start_ms, through_ms, budget, found)

            await self._metrics.read(project_id, read)
            start_ms = through_ms
        return found


def _read(
    reader: MetricsReader, start_ms: int, end_ms: int, budget: QueryBudget, into: Increases
) -> None:
    def increases(metric: str, by: str) -> Iterable[tuple[Mapping[str, str], float]]:
        names = frozenset(by.split(", "))
        matchers = [Matcher(MatchOp.EQUAL, "__name__", metric)]
        columns = reader.select(matchers, max(start_ms - BEFORE_MS, 0), end_ms, budget)
        sums: defaultdict[tuple[tuple[str, str], ...], float] = defaultdict(float)
        for labels, increase in zip(columns.labels, increases_of(columns, start_ms), strict=True):
            if increase > 0:
                sums[tuple(pair for pair in labels if pair[0] in names)] += increase
        return [(dict(labels), increase) for labels, increase in sums.items()]

    for labels, count in increases(_CALLS, "service, span_kind, status_code"):
        if "service" not in labels:
            into.uncounted += count
            continue
        calls = into.by_kind[labels["service"]][labels.get("span_kind", "")]
        calls.count += count
        calls.errors += count if labels.get("status_code") == ERROR else 0.0
    for labels, count in increases(_LATENCY, "service, span_kind, le"):
        if "service" in labels:
            calls = into.by_kind[labels["service"]][labels.get("span_kind", "")]
            calls.below_s[float(labels["le"])] += count
    for labels, count in increases(_REQUESTS, "client, server, connection_type"):
        if (edge := _edge(labels)) is not None:
            into.edges[edge].count += count
    for labels, count in increases(_FAILED, "client, server, connection_type"):
        if (edge := _edge(labels)) is not None:
            into.edges[edge].errors += count
    for labels, count in increases(_SERVER_SECONDS, "client, server, connection_type, le"):
        if (edge := _edge(labels)) is not None:
            into.edges[edge].below_s[float(labels["le"])] += count


def increases_of(columns: Columns, start_ms: int) -> list[float]:
    """By how much each counter went up behind a time, exactly, where PromQL's extrapolates.

    A series that begins later has been at its first value, 0, before; one that goes back began anew
    from there.
    """
    found = []
    stale = np.isnan(columns.values)
    for first, end in pairwise(columns.offsets.tolist()):
        values = columns.values[first:end][~stale[first:end]]
        times = columns.timestamps[first:end][~stale[first:end]]
        begin = max(int(np.searchsorted(times, start_ms, side="right")) - 1, 0)
        steps = np.diff(values[begin:])
        found.append(float(np.where(steps < 0, values[begin + 1 :], steps).sum()))
    return found


def _edge(labels: Mapping[str, str]) -> EdgeKey | None:
    """None of what found no room among the series."""
    if "client" not in labels or "server" not in labels:
        return None
    return labels["client"], labels["server"], labels.get("connection_type", "")


def build(now: Increases, before: Increases, seconds: tuple[float, float]) -> Map:
    """The graph of what was counted in a range and in the one before; both have their length."""
    services, past = now.services(), before.services()
    names = {*services, *past}
    virtual, past_virtual = now.virtual(names), before.virtual(names)
    nodes = []
    for name in sorted(names | virtual.keys() | past_virtual.keys()):
        kind: NodeType = "service"
        if name not in names:
            kind = (virtual.get(name) or past_virtual[name])[0]
        calls = services.get(name) or virtual.get(name, ("", Calls()))[1]
        baseline = past.get(name) or past_virtual.get(name, ("", Calls()))[1]
        nodes.append(Node(name, kind, calls, baseline, judge(calls, baseline, seconds)))
    edges = [Edge(*key, calls) for key, calls in sorted(now.edges.items())]
    return Map(nodes, edges, now.uncounted)
