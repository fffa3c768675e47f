"""How long obsd takes to be ready again after `kill -9` under full load.

    python benchmarks/restart.py [--seconds 60] [--series 200000]

Bodies are made while sending, since minutes of them do not fit into memory; the rate that is
printed is therefore lower than that of `remote_write.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from bodies import VALUE_KINDS, Bodies, Shape
from peers import Obsd, Usage
from sender import Sent, http_request, send

INTERVAL_MS = 15_000
KILL_TIMEOUT_S = 30.0
MAX_RATE = 2_000_000  # Samples/s; decides how far in the past the first sample must be.


def main() -> int:
    options = parse_options()
    rounds = int(MAX_RATE * options.seconds / options.series) + 2
    shape = Shape(
        series=options.series,
        labels=options.labels,
        samples_per_request=options.samples_per_request,
        values=options.values,
        first_ms=int(time.time() * 1000) - rounds * INTERVAL_MS,
        interval_ms=INTERVAL_MS,
    )
    with tempfile.TemporaryDirectory(prefix="obsd-restart-", dir=options.directory) as directory:
        server = Obsd(Path(directory))
        print(f"ready on an empty directory after {server.start():.2f} s")
        sent = load_then_kill(server, shape, options.connections, options.seconds)
        print(f"killed with {server.disk_bytes() / 2**20:,.0f} MiB on disk")
        with server:
            cpu_seconds = server.usage().cpu_seconds
            print(
                f"ready {server.start_seconds:.2f} s after the next start, "
                f"with {cpu_seconds:.2f} CPU-seconds"
            )
            verify(server, shape, rounds, sent, options.connections)
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--series", type=int, default=200_000)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--samples-per-request", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--values", choices=VALUE_KINDS, default="mixed")
    parser.add_argument("--directory", type=Path, help="for the data; default: the usual one")
    options = parser.parse_args()
    if options.series % (options.samples_per_request * options.connections):
        parser.error("--series must be a multiple of --samples-per-request times --connections")
    return options


def load_then_kill(server: Obsd, shape: Shape, connections: int, seconds: float) -> Sent:
    """Send at full rate for the given time, and kill the server while requests are in flight."""
    used: list[Usage] = []

    def kill() -> None:
        used.append(server.usage())
        server.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    requests: list[Iterable[bytes]] = [_requests(share) for share in shape.split(connections)]
    sent = send(server.port, requests, seconds + KILL_TIMEOUT_S)
    timer.join()
    assert sent.disconnected
    samples = sent.requests * shape.samples_per_request
    print(
        f"{samples:,} samples in {sent.seconds:.0f} s, {samples / sent.seconds:,.0f} samples/s, "
        f"{samples / used[0].cpu_seconds:,.0f} per CPU-second of the server, "
        f"{sent.retries} retries, p99 {sent.latency_ms(0.99):.1f} ms, "
        f"RSS {used[0].rss_bytes / 2**20:,.0f} MiB"
    )
    return sent


def _requests(shape: Shape) -> Iterator[bytes]:
    bodies = Bodies(shape)
    while True:
        for body in bodies.next_round():
            yield http_request(body)


def verify(server: Obsd, shape: Shape, rounds: int, sent: Sent, connections: int) -> None:
    """All that was acknowledged is there; what was in flight may be there as well."""
    acknowledged = sent.requests * shape.samples_per_request
    at_most = acknowledged + connections * shape.samples_per_request
    found = server.count_samples(shape, rounds)
    if not acknowledged <= found <= at_most:
        raise SystemExit(f"{found:,} samples found, {acknowledged:,} were acknowledged")
    print(f"all {acknowledged:,} acknowledged samples are there")


if __name__ == "__main__":
    sys.exit(main())
