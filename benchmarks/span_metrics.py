"""What deriving metrics costs a span, alone: decoded requests, counted natively in one thread.

python benchmarks/span_metrics.py --spans 800000
"""

from __future__ import annotations

import argparse
import time

from trace_bodies import SPANS, TraceBodies

from obsd import _native
from obsd.config.tree import SpanMetricsConfig
from obsd.services.span_metrics.options import native_options

INTERVAL_S = 15.0
SPANS_PER_REQUEST = 800
EVER = (0, 0, 1 << 30, 1 << 20)
"""Limits of requests: nothing is too old or too large."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=800_000)
    parser.add_argument("--rate", type=int, default=50_000, help="spans a second that come")
    arguments = parser.parse_args()
    counters = _native.SpanCounters(*native_options(SpanMetricsConfig()))
    now_ms = 1_700_000_000_000
    step_ns = SPANS * 1_000_000_000 // arguments.rate
    bodies = TraceBodies(arguments.spans, SPANS_PER_REQUEST, now_ms * 1_000_000, step_ns)
    row, counting_s = 0, 0.0
    for body in bodies.requests():
        batch = _native.SpanBatch.decode(body, EVER)
        started_s = time.process_time()
        counters.count_batch(batch, row, now_ms + row * 1000 // arguments.rate)
        counting_s += time.process_time() - started_s
        row += batch.spans
    totals = counters.totals()
    print(f"counting   {counting_s / row * 1e6:.3f} us of CPU a span, {row} spans")
    print(f"series     {totals['series']}, waiting spans {totals['pending']}")
    for name, work in (
        ("checkpoint", counters.encode),
        ("samples", lambda: counters.samples(now_ms, False)),
    ):
        started_s = time.process_time()
        made = work()
        size = len(made) if isinstance(made, bytes) else sum(map(len, made))
        ms = (time.process_time() - started_s) * 1000
        print(f"{name:<10} {ms:.1f} ms of CPU and {size} bytes, every {INTERVAL_S:.0f} s")


if __name__ == "__main__":
    main()
