"""Spans into obsd, and traces out of it; VictoriaTraces beside it where its binary is named.

    python benchmarks/traces.py [--spans 800000] [--victoria-traces PATH] …

Bodies are made while sending. See docs/benchmarks.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from peers import Obsd, Peer
from remote_write import own_cpu_seconds, settle
from report import render
from sender import http_request, send
from trace_bodies import OPERATIONS, ROUTES, SERVICES, SLOW_NS, SPANS, TraceBodies

RANGE_NS: Final = 3_000_000_000_000  # All traces begin within 50 minutes, the last one just now.
TRACES: Final = 20
"""Of a page."""
SEND_TIMEOUT_S: Final = 1800.0
HEADERS: Final = {"Content-Type": "application/x-protobuf"}
AHEAD: Final = 32
"""Requests that a connection has made at a time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Search:
    """One search by the parameters that Jaeger's API has, and how many traces match."""

    name: str
    parameters: dict[str, str]
    matches: int


class TracePeer(Peer):
    """A server that takes OTLP traces, and answers as Jaeger does."""

    ingest_path = "/v1/traces"
    jaeger_path = "/jaeger/api"

    def trace_spans(self, trace_id: str) -> int:
        """How many spans a trace has."""
        answer = json.loads(self.get(f"{self.jaeger_path}/traces/{trace_id}"))
        return len(answer["data"][0]["spans"])

    def found(self, search: Search, bodies: TraceBodies) -> int:
        """How many traces are on a page of the newest ones."""
        end_us = (bodies.first_ns + RANGE_NS) // 1000 + 10_000_000
        answer = self.get(
            f"{self.jaeger_path}/traces",
            **search.parameters,
            start=str(bodies.first_ns // 1000 - 1_000_000),
            end=str(end_us),
            limit=str(TRACES),
        )
        return len(json.loads(answer)["data"])

    def count_spans(self, bodies: TraceBodies) -> int:
        raise NotImplementedError


class ObsdTraces(Obsd, TracePeer):
    """obsd, which counts its spans by service."""

    def count_spans(self, bodies: TraceBodies) -> int:
        answer = self.get(
            "/api/v1/monitoring/traces/fields",
            field="resource.service.name",
            limit="100",
            **{"from": f"{bodies.first_ns / 1e9 - 1:.3f}"},
            to=f"{(bodies.first_ns + RANGE_NS) / 1e9 + 10:.3f}",
        )
        return sum(value["spans"] for value in json.loads(answer)["values"])


class VictoriaTraces(TracePeer):
    """VictoriaTraces, which counts its spans as VictoriaLogs does."""

    name = "victoria-traces"
    ready_path = "/health"
    flush_paths = ("/internal/force_flush", "/internal/force_merge")
    ingest_path = "/insert/opentelemetry/v1/traces"
    jaeger_path = "/select/jaeger/api"

    def __init__(self, directory: Path, binary: Path) -> None:
        super().__init__(directory)
        self._binary = binary

    def command(self) -> list[str]:
        return [
            str(self._binary),
            f"-storageDataPath={self.data}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
        ]

    def count_spans(self, bodies: TraceBodies) -> int:
        answer = self.get("/select/logsql/query", query="span_id:* | stats count() total")
        return int(json.loads(answer)["total"])


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did; the names are those of the JSON output."""

    server: str
    spans: int
    seconds: float
    cpu_seconds: float
    cpu_seconds_with_merging: float
    sender_cpu_seconds: float
    retries: int
    p50_ms: float
    p99_ms: float
    idle_rss_bytes: int
    rss_bytes: int
    peak_rss_bytes: int
    searched_rss_bytes: int
    disk_bytes: int
    restart_seconds: float
    asked_ms: dict[str, tuple[float, float, float]]  # p50, p99 and the server's CPU time of each.

    @property
    def spans_per_cpu_second(self) -> float:
        return self.spans / self.cpu_seconds_with_merging

    @property
    def disk_bytes_per_span(self) -> float:
        return self.disk_bytes / self.spans


def main() -> int:
    options = parse_options()
    peers: list[Callable[[Path], TracePeer]] = [ObsdTraces]
    if options.victoria_traces:
        peers.append(partial(VictoriaTraces, binary=options.victoria_traces))
    with tempfile.TemporaryDirectory(prefix="obsd-benchmark-", dir=options.directory) as directory:
        results = [measure(peer(Path(directory)), options) for peer in peers]
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2))
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--spans", type=int, default=800_000)
    parser.add_argument("--spans-per-request", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--searches", type=int, default=100, help="how often each one is asked")
    parser.add_argument("--lookups", type=int, default=400, help="how many traces are looked up")
    parser.add_argument("--victoria-traces", type=Path, help="its binary, to be measured as well")
    parser.add_argument("--directory", type=Path, help="for the data; default: the usual one")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if options.spans % options.spans_per_request or options.spans_per_request % SPANS:
        parser.error(f"--spans must be a multiple of --spans-per-request, and that of {SPANS}")
    return options


class Ahead(Iterable[T]):
    """The items of an iterator for several threads, some of them made at a time."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._lock:
                made = list(itertools.islice(self._items, AHEAD))
            if not made:
                return
            yield from made


def searches(bodies: TraceBodies) -> list[Search]:
    """What people ask: many traces, some, few. The bodies know how many once they are made."""
    user = int(bodies.users.argmax())
    tags = json.dumps({"user.id": bodies.user(user)})
    return [
        Search("by service", {"service": SERVICES[3]}, bodies.traces),
        Search(
            "by service and operation",
            {"service": SERVICES[1], "operation": OPERATIONS[1][2]},
            bodies.placed,
        ),
        Search(
            "by errors",
            {"service": SERVICES[6], "tags": '{"error":"true"}'},
            bodies.failed,
        ),
        Search(
            "by duration of a root",
            {"service": SERVICES[0], "minDuration": f"{SLOW_NS // 1_000_000}ms"},
            bodies.slow,
        ),
        Search(
            "by a frequent attribute",
            {"service": SERVICES[2], "tags": json.dumps({"http.route": ROUTES[5]})},
            bodies.traces // len(ROUTES),
        ),
        Search(
            "by a rare attribute",
            {"service": SERVICES[2], "tags": tags},
            int(bodies.users[user]),
        ),
    ]


def measure(peer: TracePeer, options: argparse.Namespace) -> Figures:
    """Send everything, bring it to its last form on disk, and search in it."""
    traces = options.spans // SPANS
    bodies = TraceBodies(
        spans=options.spans,
        spans_per_request=options.spans_per_request,
        first_ns=time.time_ns() - RANGE_NS,
        step_ns=RANGE_NS // traces,
    )
    requests = Ahead(http_request(body, peer.ingest_path, HEADERS) for body in bodies.requests())
    with peer:
        idle = peer.usage()
        sender_before = own_cpu_seconds()
        sent = send(peer.port, [requests] * options.connections, SEND_TIMEOUT_S)
        sender_cpu_seconds = own_cpu_seconds() - sender_before
        after = peer.usage()
        if sent.disconnected or sent.requests != bodies.count:
            raise SystemExit(f"{peer.name} took {sent.requests} of {bodies.count} requests")
        peer.flush()
        settle(peer)
        flushed = peer.usage()
        stored = peer.count_spans(bodies)
        if stored != options.spans:
            raise SystemExit(f"{peer.name} holds {stored:,} spans, {options.spans:,} were sent")
        print(f"{peer.name}: all {stored:,} acknowledged spans are there")
        disk_bytes = peer.disk_bytes()
        peer.stop()
        restart_seconds = peer.start()
        asked_ms = {
            "lookup, cold": lookup_ms(peer, bodies.ids[: options.lookups]),
            "lookup, warm": lookup_ms(peer, bodies.ids[: options.lookups]),
            **{
                search.name: search_ms(peer, search, bodies, options.searches)
                for search in searches(bodies)
            },
        }
        return Figures(
            server=peer.name,
            spans=options.spans,
            seconds=sent.seconds,
            cpu_seconds=after.cpu_seconds - idle.cpu_seconds,
            cpu_seconds_with_merging=flushed.cpu_seconds - idle.cpu_seconds,
            sender_cpu_seconds=sender_cpu_seconds,
            retries=sent.retries,
            p50_ms=sent.latency_ms(0.5),
            p99_ms=sent.latency_ms(0.99),
            idle_rss_bytes=idle.rss_bytes,
            rss_bytes=after.rss_bytes,
            peak_rss_bytes=flushed.peak_rss_bytes,
            searched_rss_bytes=peer.usage().peak_rss_bytes,
            disk_bytes=disk_bytes,
            restart_seconds=restart_seconds,
            asked_ms=asked_ms,
        )


def lookup_ms(peer: TracePeer, trace_ids: list[str]) -> tuple[float, float, float]:
    """The p50 and the p99 of looking each of these traces up, and the server's CPU time."""

    def look_up(trace_id: str) -> None:
        spans = peer.trace_spans(trace_id)
        if spans != SPANS:
            raise SystemExit(f"{peer.name}: trace {trace_id} has {spans} spans")

    return times_ms(peer, [partial(look_up, trace_id) for trace_id in trace_ids])


def search_ms(
    peer: TracePeer, search: Search, bodies: TraceBodies, times: int
) -> tuple[float, float, float]:
    """The p50 and the p99 of a search for the newest traces, and the server's CPU time."""

    def ask() -> None:
        found = peer.found(search, bodies)
        if found != min(TRACES, search.matches):
            raise SystemExit(
                f"{peer.name}, {search.name}: {found} traces, but {search.matches:,} match"
            )

    return times_ms(peer, [ask] * times)


def times_ms(peer: TracePeer, work: list[Callable[[], None]]) -> tuple[float, float, float]:
    """The p50 and the p99 of what each takes, and the mean of the server's CPU time."""
    taken = []
    before = peer.usage().cpu_seconds
    for do in work:
        started = time.perf_counter()
        do()
        taken.append((time.perf_counter() - started) * 1000)
    cpu_ms = (peer.usage().cpu_seconds - before) * 1000 / len(work)
    p50, p99 = np.quantile(taken, (0.5, 0.99))
    return float(p50), float(p99), cpu_ms


def table(results: list[Figures]) -> str:
    """One column a server; the last one is the first server against the second."""
    rows: list[tuple[str, Callable[[Figures], float], str]] = [
        ("spans/s, wall", lambda f: f.spans / f.seconds, ",.0f"),
        ("spans per CPU-second", lambda f: f.spans_per_cpu_second, ",.0f"),
        ("  without later flush and merge", lambda f: f.spans / f.cpu_seconds, ",.0f"),
        ("server CPU seconds", lambda f: f.cpu_seconds_with_merging, ",.2f"),
        ("sender CPU seconds", lambda f: f.sender_cpu_seconds, ",.2f"),
        ("requests retried", lambda f: f.retries, ",.0f"),
        ("request p50, ms", lambda f: f.p50_ms, ",.2f"),
        ("request p99, ms", lambda f: f.p99_ms, ",.2f"),
        ("idle RSS, MiB", lambda f: f.idle_rss_bytes / 2**20, ",.0f"),
        ("RSS after the load, MiB", lambda f: f.rss_bytes / 2**20, ",.0f"),
        ("  highest with merging, MiB", lambda f: f.peak_rss_bytes / 2**20, ",.0f"),
        ("  highest of searches, MiB", lambda f: f.searched_rss_bytes / 2**20, ",.0f"),
        ("disk bytes a span", lambda f: f.disk_bytes_per_span, ",.2f"),
        ("start with all of it, s", lambda f: f.restart_seconds, ",.2f"),
    ]
    for name in results[0].asked_ms:
        rows += [
            (f"{name}: p50, ms", partial(asked_figure, name=name, column=0), ",.1f"),
            (f"{name}: p99, ms", partial(asked_figure, name=name, column=1), ",.1f"),
            ("  server CPU, ms", partial(asked_figure, name=name, column=2), ",.1f"),
        ]
    return render(results, rows)


def asked_figure(figures: Figures, name: str, column: int) -> float:
    return figures.asked_ms[name][column]


if __name__ == "__main__":
    sys.exit(main())
