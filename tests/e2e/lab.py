"""A scrape target of which every scrape is known beforehand: exemplars, odd values, gaps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GONE_AFTER_SCRAPES = 18


@contextmanager
def lab_target() -> Iterator[int]:
    """Serve the target on a free loopback port, which is given."""
    scrapes = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal scrapes
            scrapes += 1
            body = exposition(scrapes).encode()
            self.send_response(200)
            self.send_header(
                "Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8"
            )
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest owns the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def exposition(scrape: int) -> str:
    """OpenMetrics text; everything in it is a function of the number of the scrape."""
    since_restart = scrape % 9  # A counter that restarts now and then.
    buckets = [scrape, 3 * scrape, 7 * scrape, 8 * scrape]
    lines = [
        "# TYPE lab_requests counter",
        "# HELP lab_requests Requests answered, by \\\\path\\\\.",
        f'lab_requests_total{{path="/a",code="200"}} {scrape * 7} '
        f'# {{trace_id="a{scrape:04d}"}} 0.{scrape % 10}',
        f'lab_requests_total{{path="/a",code="500"}} {scrape // 3}',
        f'lab_requests_total{{path="/b \\"quoted\\" größe",code="200"}} {scrape * 1.25}',
        "# TYPE lab_restarting counter",
        f"lab_restarting_total {since_restart * 100}",
        "# TYPE lab_duration_seconds histogram",
        "# UNIT lab_duration_seconds seconds",
        "# HELP lab_duration_seconds How long it took.",
        f'lab_duration_seconds_bucket{{le="0.1"}} {buckets[0]} # {{trace_id="d{scrape}"}} 0.05',
        f'lab_duration_seconds_bucket{{le="1.0"}} {buckets[1]}',
        f'lab_duration_seconds_bucket{{le="10.0"}} {buckets[2]}',
        f'lab_duration_seconds_bucket{{le="+Inf"}} {buckets[3]}',
        f"lab_duration_seconds_count {buckets[3]}",
        f"lab_duration_seconds_sum {scrape * 4.2}",
        "# TYPE lab_value gauge",
        f'lab_value{{kind="sawtooth"}} {scrape % 5 - 2}',
        f'lab_value{{kind="tiny"}} {scrape * 1e-9}',
        f'lab_value{{kind="huge"}} {scrape * 1e21}',
        f'lab_value{{kind="fraction"}} {scrape / 3}',
        'lab_value{kind="nan"} NaN',
        'lab_value{kind="infinite"} -Inf',
        'lab_value{kind="zero"} -0.0',
        "# TYPE lab_build info",
        'lab_build_info{version="1.2.3",revision="abc"} 1',
        "# TYPE lab_gone gauge",
    ]
    if scrape <= GONE_AFTER_SCRAPES:
        lines.append(f"lab_gone {scrape}")
    if scrape % 4 < 2:  # There in two scrapes, then not in two.
        lines += ["# TYPE lab_flapping gauge", f"lab_flapping {scrape}"]
    return "\n".join([*lines, "# EOF", ""])
