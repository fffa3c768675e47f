"""Remote write into obsd and into VictoriaMetrics: the same bodies, one server after the other.

    python benchmarks/remote_write.py [--series 100000] [--seconds 15] …

See benchmarks/README.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bodies import MIN_LABELS, VALUE_KINDS, Bodies, Shape
from peers import Obsd, Peer, Prometheus, VictoriaMetrics
from report import render
from sender import http_request, send

EXPECTED_RATE = 3_000_000  # Samples/s that the bodies must last for; a faster server ends early.
INTERVAL_MS = 15_000  # What most people scrape at.
MAX_BODY_BYTES = 3 << 30
WARM_UP_TIMEOUT_S = 300.0
SETTLE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did with the bodies; the names are those of the JSON output."""

    server: str
    samples: int
    seconds: float
    cpu_seconds: float
    cpu_seconds_with_flush: float
    sender_cpu_seconds: float
    retries: int
    p50_ms: float
    p99_ms: float
    idle_rss_bytes: int
    rss_bytes: int
    anonymous_bytes: int
    bytes_per_series: float
    anonymous_bytes_per_series: float
    disk_bytes_per_sample: float
    disk_bytes_per_sample_without_index: float
    registration_seconds: float
    registration_cpu_seconds: float

    @property
    def samples_per_cpu_second(self) -> float:
        return self.samples / self.cpu_seconds

    @property
    def samples_per_cpu_second_with_flush(self) -> float:
        return self.samples / self.cpu_seconds_with_flush

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds


Rounds = list[list[bytes]]


def main() -> int:
    options = parse_options()
    rounds = options.rounds or max(1, int(EXPECTED_RATE * options.seconds / options.series))
    shape = Shape(
        series=options.series,
        labels=options.labels,
        samples_per_request=options.samples_per_request,
        values=options.values,
        first_ms=int((time.time() - options.hours_ago * 3600) * 1000) - (rounds + 4) * INTERVAL_MS,
        interval_ms=INTERVAL_MS,
    )
    requests = build(shape, rounds + 1)
    peers: list[type[Peer]] = [Obsd, VictoriaMetrics]
    if options.prometheus:
        peers.append(Prometheus)
    if options.only:
        peers = [peer for peer in peers if peer.name in options.only]
    with tempfile.TemporaryDirectory(prefix="obsd-benchmark-", dir=options.directory) as directory:
        results = [measure(peer(Path(directory)), shape, requests, options) for peer in peers]
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([figures_json(result) for result in results], indent=2))
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--samples-per-request", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--labels", type=int, default=10, help=f"a series, at least {MIN_LABELS}")
    parser.add_argument("--values", choices=VALUE_KINDS, default="mixed")
    parser.add_argument("--seconds", type=float, default=15, help="of load, for each server")
    parser.add_argument("--rounds", type=int, help="samples a series; default: what lasts long")
    parser.add_argument("--hours-ago", type=float, default=0, help="when the samples end")
    parser.add_argument("--prometheus", action="store_true", help="measure Prometheus as well")
    parser.add_argument("--only", action="append", help="measure only the server of this name")
    parser.add_argument("--directory", type=Path, help="for the data; default: the usual one")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    if options.labels < MIN_LABELS:
        parser.error(f"--labels must be at least {MIN_LABELS}")
    if options.series % options.samples_per_request:
        parser.error("--series must be a multiple of --samples-per-request")
    return options


def build(shape: Shape, rounds: int) -> Rounds:
    """The requests of every round, of as many rounds as memory holds."""
    started = time.perf_counter()
    bodies = Bodies(shape)
    requests: Rounds = []
    total_bytes = 0
    while len(requests) < rounds and total_bytes < MAX_BODY_BYTES:
        requests.append([http_request(body) for body in bodies.next_round()])
        total_bytes += sum(map(len, requests[-1]))
    count = len(requests) * shape.requests_per_round
    print(
        f"{shape.series:,} series of {shape.labels} labels, {shape.values} values, "
        f"{len(requests) - 1} rounds after the first: {count:,} requests of "
        f"{total_bytes / count / 1024:.0f} KiB, built in {time.perf_counter() - started:.0f} s"
    )
    return requests


def measure(peer: Peer, shape: Shape, requests: Rounds, options: argparse.Namespace) -> Figures:
    """Register the series with the first round, then measure the others."""
    with peer:
        idle = peer.usage()
        warm_up = send(peer.port, shares([requests[0]], options.connections), WARM_UP_TIMEOUT_S)
        assert warm_up.requests == shape.requests_per_round
        settle(peer)
        before = peer.usage()
        sender_before = own_cpu_seconds()
        sent = send(peer.port, shares(requests[1:], options.connections), options.seconds)
        sender_cpu_seconds = own_cpu_seconds() - sender_before
        after = peer.usage()
        if sent.disconnected:
            raise SystemExit(f"{peer.name} closed a connection")
        peer.flush()
        settle(peer)
        flushed = peer.usage()
        samples = sent.requests * shape.samples_per_request
        stored = shape.series + samples
        verify(peer, shape, len(requests), stored)
        return Figures(
            server=peer.name,
            samples=samples,
            seconds=sent.seconds,
            cpu_seconds=after.cpu_seconds - before.cpu_seconds,
            cpu_seconds_with_flush=flushed.cpu_seconds - before.cpu_seconds,
            sender_cpu_seconds=sender_cpu_seconds,
            retries=warm_up.retries + sent.retries,
            p50_ms=sent.latency_ms(0.5),
            p99_ms=sent.latency_ms(0.99),
            idle_rss_bytes=idle.rss_bytes,
            rss_bytes=after.rss_bytes,
            anonymous_bytes=after.anonymous_bytes,
            bytes_per_series=(after.rss_bytes - idle.rss_bytes) / shape.series,
            anonymous_bytes_per_series=(after.anonymous_bytes - idle.anonymous_bytes)
            / shape.series,
            disk_bytes_per_sample=peer.disk_bytes() / stored,
            disk_bytes_per_sample_without_index=peer.sample_disk_bytes() / stored,
            registration_seconds=warm_up.seconds,
            registration_cpu_seconds=before.cpu_seconds - idle.cpu_seconds,
        )


def shares(rounds: Rounds, connections: int) -> list[Iterable[bytes]]:
    """Each connection's requests, so that a series stays on one connection."""
    return [
        [request for requests in rounds for request in requests[number::connections]]
        for number in range(connections)
    ]


def settle(peer: Peer) -> None:
    """Wait until the server's own work in the background is done."""
    deadline = time.perf_counter() + SETTLE_TIMEOUT_S
    quiet, last = 0, peer.usage().cpu_seconds
    while quiet < 3 and time.perf_counter() < deadline:
        time.sleep(0.5)
        now = peer.usage().cpu_seconds
        quiet = quiet + 1 if now - last <= 0.05 else 0
        last = now


def own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def verify(peer: Peer, shape: Shape, rounds: int, stored: int) -> None:
    """Count by query what the server holds: all that it acknowledged, and nothing twice."""
    found = peer.count_samples(shape, rounds)
    if found != stored:
        raise SystemExit(f"{peer.name} holds {found:,.0f} samples, acknowledged were {stored:,}")
    print(f"{peer.name}: all {stored:,} acknowledged samples are there")


def table(results: list[Figures]) -> str:
    """One column a server; the last one is the first server against the second."""
    rows: list[tuple[str, Callable[[Figures], float], str]] = [
        ("samples per CPU-second", lambda f: f.samples_per_cpu_second, ",.0f"),
        ("  with the flush to disk", lambda f: f.samples_per_cpu_second_with_flush, ",.0f"),
        ("samples/s, wall", lambda f: f.samples_per_second, ",.0f"),
        ("samples sent", lambda f: f.samples, ",.0f"),
        ("seconds", lambda f: f.seconds, ",.1f"),
        ("server CPU seconds", lambda f: f.cpu_seconds, ",.2f"),
        ("sender CPU seconds", lambda f: f.sender_cpu_seconds, ",.2f"),
        ("requests retried", lambda f: f.retries, ",.0f"),
        ("request p50, ms", lambda f: f.p50_ms, ",.2f"),
        ("request p99, ms", lambda f: f.p99_ms, ",.2f"),
        ("idle RSS, MiB", lambda f: f.idle_rss_bytes / 2**20, ",.0f"),
        ("RSS under load, MiB", lambda f: f.rss_bytes / 2**20, ",.0f"),
        ("RSS per series above idle, B", lambda f: f.bytes_per_series, ",.0f"),
        ("  anonymous memory alone, B", lambda f: f.anonymous_bytes_per_series, ",.0f"),
        ("disk bytes per sample", lambda f: f.disk_bytes_per_sample, ",.2f"),
        ("  without the index", lambda f: f.disk_bytes_per_sample_without_index, ",.2f"),
        ("new series: seconds", lambda f: f.registration_seconds, ",.2f"),
        ("new series: CPU seconds", lambda f: f.registration_cpu_seconds, ",.2f"),
    ]
    return render(results, rows)


def figures_json(figures: Figures) -> dict[str, object]:
    return asdict(figures) | {
        "samples_per_cpu_second": figures.samples_per_cpu_second,
        "samples_per_cpu_second_with_flush": figures.samples_per_cpu_second_with_flush,
        "samples_per_second": figures.samples_per_second,
    }


if __name__ == "__main__":
    sys.exit(main())
