"""Logs into obsd, and searches over them; VictoriaLogs beside it where its binary is named.

    python benchmarks/logs.py [--records 1000000] [--victoria-logs PATH] …

See docs/benchmarks.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Self

import numpy as np
from log_bodies import PHRASE, LogBodies
from peers import Obsd, Peer
from remote_write import own_cpu_seconds, settle
from report import render
from sender import http_request, send

SPAN_NS: Final = 3_000_000_000_000  # All records are within 50 minutes, the last one just now.
ROWS: Final = 100
SEND_TIMEOUT_S: Final = 3600.0
HEADERS: Final = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True, slots=True)
class Search:
    """One search, in the words of either server, and how many records match."""

    name: str
    obsd: str
    victoria_logs: str
    total: int


class LogPeer(Peer):
    """A server that takes OTLP logs."""

    ingest_path = "/v1/logs"

    def page(self, search: Search, bodies: LogBodies) -> tuple[int, int]:
        """The exact total and the number of rows of a page with the newest ones."""
        raise NotImplementedError


class ObsdLogs(Obsd, LogPeer):
    """obsd, whose answers have both."""

    def page(self, search: Search, bodies: LogBodies) -> tuple[int, int]:
        end_s = (bodies.first_ns + SPAN_NS) / 1e9
        times = {"from": f"{bodies.first_ns / 1e9 - 1:.3f}", "to": f"{end_s + 1:.3f}"}
        path = "/api/v1/monitoring/logs"
        page = json.loads(self.get(path, query=search.obsd, limit=str(ROWS), **times))
        assert page["total_exact"]
        return page["total"], len(page["logs"])


class VictoriaLogs(LogPeer):
    """VictoriaLogs, which is asked twice: for the total, and for the rows."""

    name = "victoria-logs"
    ready_path = "/health"
    flush_paths = ("/internal/force_flush", "/internal/force_merge")
    ingest_path = "/insert/opentelemetry/v1/logs"

    def __init__(self, directory: Path, binary: Path) -> None:
        super().__init__(directory)
        self._binary = binary

    def command(self) -> list[str]:
        return [
            str(self._binary),
            f"-storageDataPath={self.data}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
        ]

    def page(self, search: Search, bodies: LogBodies) -> tuple[int, int]:
        first_s, last_s = bodies.first_ns / 1e9 - 1, (bodies.first_ns + SPAN_NS) / 1e9 + 1
        start, end = (datetime.fromtimestamp(at, UTC).isoformat() for at in (first_s, last_s))
        path, times = "/select/logsql/query", {"start": start, "end": end}
        rows = self.get(path, query=search.victoria_logs, limit=str(ROWS), **times).splitlines()
        counted = self.get(path, query=f"{search.victoria_logs} | stats count() total", **times)
        return int(json.loads(counted)["total"]), len(rows)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did; the names are those of the JSON output."""

    server: str
    records: int
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
    peak_rss_bytes_with_merging: int
    most_anonymous_bytes: int  # With merging.
    disk_bytes: int
    searches_ms: dict[str, tuple[float, float, float]]  # p50, p99, and CPU time of the server.

    @property
    def records_per_cpu_second(self) -> float:
        return self.records / self.cpu_seconds_with_merging

    @property
    def disk_bytes_per_record(self) -> float:
        return self.disk_bytes / self.records


def main() -> int:
    options = parse_options()
    step_ns = SPAN_NS // options.records
    bodies = LogBodies(
        records=options.records,
        records_per_request=options.records_per_request,
        first_ns=time.time_ns() - SPAN_NS,
        step_ns=step_ns,
    )
    print(
        f"{options.records:,} records in {bodies.requests:,} requests, "
        f"{len(bodies.request(0)) / options.records_per_request:.0f} bytes a record"
    )
    peers: list[Callable[[Path], LogPeer]] = [ObsdLogs]
    if options.victoria_logs:
        peers.append(partial(VictoriaLogs, binary=options.victoria_logs))
    with tempfile.TemporaryDirectory(prefix="obsd-benchmark-", dir=options.directory) as directory:
        results = [measure(peer(Path(directory)), bodies, options) for peer in peers]
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2))
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--records-per-request", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--searches", type=int, default=100, help="how often each one is asked")
    parser.add_argument("--victoria-logs", type=Path, help="its binary, to be measured as well")
    parser.add_argument("--directory", type=Path, help="for the data; default: the usual one")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if options.records % options.records_per_request:
        parser.error("--records must be a multiple of --records-per-request")
    return options


def searches(bodies: LogBodies) -> list[Search]:
    """What people ask: many records, some, one."""
    service, level = "service-07", "ERROR"
    request_id = bodies.request_id(bodies.records * 2 // 3)
    return [
        Search("phrase", f'"{PHRASE}"', f'"{PHRASE}"', bodies.of_template[0]),
        Search(
            "service and level",
            f"service:{service} level:{level.lower()}",
            f'"service.name":={service} severity:={level}',
            bodies.of_service_and_level[service, level],
        ),
        Search("needle", f"request_id:{request_id}", f"request_id:={request_id}", 1),
    ]


def share(bodies: LogBodies, peer: LogPeer, first: int, connections: int) -> Iterator[bytes]:
    """The requests of one connection, made one by one."""
    for number in range(first, bodies.requests, connections):
        yield http_request(bodies.request(number), peer.ingest_path, HEADERS)


def measure(peer: LogPeer, bodies: LogBodies, options: argparse.Namespace) -> Figures:
    """Send everything, bring it to its last form on disk, and search in it."""
    connections = range(options.connections)
    requests: list[Iterable[bytes]] = [
        share(bodies, peer, number, options.connections) for number in connections
    ]
    with peer:
        idle = peer.usage()
        sender_before = own_cpu_seconds()
        with MostAnonymous(peer) as memory:
            sent = send(peer.port, requests, SEND_TIMEOUT_S)
            sender_cpu_seconds = own_cpu_seconds() - sender_before
            after = peer.usage()
            if sent.disconnected or sent.requests != bodies.requests:
                raise SystemExit(f"{peer.name} took {sent.requests} of {bodies.requests} requests")
            peer.flush()
            settle(peer)
        flushed = peer.usage()
        everything = Search("everything", "", "*", bodies.records)
        search_ms(peer, everything, bodies, 1)
        print(f"{peer.name}: all {bodies.records:,} acknowledged records are there")
        return Figures(
            server=peer.name,
            records=bodies.records,
            seconds=sent.seconds,
            cpu_seconds=after.cpu_seconds - idle.cpu_seconds,
            cpu_seconds_with_merging=flushed.cpu_seconds - idle.cpu_seconds,
            sender_cpu_seconds=sender_cpu_seconds,
            retries=sent.retries,
            p50_ms=sent.latency_ms(0.5),
            p99_ms=sent.latency_ms(0.99),
            idle_rss_bytes=idle.rss_bytes,
            rss_bytes=after.rss_bytes,
            peak_rss_bytes=after.peak_rss_bytes,
            peak_rss_bytes_with_merging=flushed.peak_rss_bytes,
            most_anonymous_bytes=memory.most_bytes,
            disk_bytes=peer.disk_bytes(),
            searches_ms={
                search.name: search_ms(peer, search, bodies, options.searches)
                for search in searches(bodies)
            },
        )


class MostAnonymous(threading.Thread):
    """Looks at a server's memory, without mapped files, again and again; a context manager."""

    def __init__(self, peer: LogPeer) -> None:
        super().__init__(daemon=True)
        self._peer = peer
        self._ended = threading.Event()
        self.most_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.most_bytes = max(self.most_bytes, self._peer.usage().anonymous_bytes)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def search_ms(
    peer: LogPeer, search: Search, bodies: LogBodies, times: int
) -> tuple[float, float, float]:
    """The p50 and the p99 of a search for the exact total and the newest rows, and its CPU time."""
    taken_ms = []
    before_s = peer.usage().cpu_seconds
    for _ in range(times):
        started = time.perf_counter()
        total, rows = peer.page(search, bodies)
        taken_ms.append((time.perf_counter() - started) * 1000)
        if (total, rows) != (search.total, min(ROWS, search.total)):
            raise SystemExit(
                f"{peer.name}, {search.name}: {rows} rows of {total:,}, "
                f"but {search.total:,} records match"
            )
    p50, p99 = np.quantile(taken_ms, (0.5, 0.99))
    cpu_ms = (peer.usage().cpu_seconds - before_s) * 1000 / times
    return float(p50), float(p99), cpu_ms


def table(results: list[Figures]) -> str:
    """One column a server; the last one is the first server against the second."""
    rows: list[tuple[str, Callable[[Figures], float], str]] = [
        ("records/s, wall", lambda f: f.records / f.seconds, ",.0f"),
        ("records per CPU-second", lambda f: f.records_per_cpu_second, ",.0f"),
        ("  without later flush and merge", lambda f: f.records / f.cpu_seconds, ",.0f"),
        ("server CPU seconds", lambda f: f.cpu_seconds_with_merging, ",.2f"),
        ("sender CPU seconds", lambda f: f.sender_cpu_seconds, ",.2f"),
        ("requests retried", lambda f: f.retries, ",.0f"),
        ("request p50, ms", lambda f: f.p50_ms, ",.2f"),
        ("request p99, ms", lambda f: f.p99_ms, ",.2f"),
        ("idle RSS, MiB", lambda f: f.idle_rss_bytes / 2**20, ",.0f"),
        ("RSS after the load, MiB", lambda f: f.rss_bytes / 2**20, ",.0f"),
        ("  highest under load, MiB", lambda f: f.peak_rss_bytes / 2**20, ",.0f"),
        ("  highest with merging, MiB", lambda f: f.peak_rss_bytes_with_merging / 2**20, ",.0f"),
        ("  without mapped files, MiB", lambda f: f.most_anonymous_bytes / 2**20, ",.0f"),
        ("disk bytes a record", lambda f: f.disk_bytes_per_record, ",.2f"),
    ]
    for name in results[0].searches_ms:
        rows += [
            (f"{name}: p50, ms", partial(search_figure, name=name, column=0), ",.1f"),
            (f"{name}: p99, ms", partial(search_figure, name=name, column=1), ",.1f"),
            (f"{name}: server CPU, ms", partial(search_figure, name=name, column=2), ",.2f"),
        ]
    return render(results, rows)


def search_figure(figures: Figures, name: str, column: int) -> float:
    return figures.searches_ms[name][column]


if __name__ == "__main__":
    sys.exit(main())
