"""`kill -9` at random moments while spans arrive: what was acknowledged is there, and once.

The moments come from a seed that a failing test prints; CRASH_SEED repeats them.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from tests.crash.span_writers import KEEPING, SPANS_PER_TRACE, SpanWriter, spans_of
from tests.crash.test_kill9 import ENVIRONMENT, READY_S, Flusher, say
from tests.crash.test_kill9_logs import unlisted
from tests.crash.writers import Load
from tests.e2e.processes import obsd_server, wait_until

KILLS = 8
WRITERS = 4
LONGEST_RUN_S = 0.8
SAMPLES = 20
WAIT_S = 20.0


def test_no_acknowledged_span_is_lost_or_doubled_at_any_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    say(f"CRASH_SEED={seed}")
    moments = random.Random(seed)
    now_ms = int(time.time() * 1000)
    writers = [SpanWriter(number, now_ms) for number in range(WRITERS)]
    load = Load(writers)
    flusher = Flusher()
    server = obsd_server(tmp_path, "--no-self-monitoring", environment=ENVIRONMENT | KEEPING)
    segments = tmp_path / "obsd" / "projects" / "default" / "traces" / "segments"
    unpublished = 0
    server.start()
    try:
        for kill in range(KILLS):
            before = load.acknowledged
            load.start(server.port)
            flusher.start(server)
            wait_until(lambda: load.acknowledged > before, "something is acknowledged", WAIT_S)  # noqa: B023
            time.sleep(moments.uniform(0, LONGEST_RUN_S))
            server.kill()
            load.stop()
            flusher.join()
            left_over = unlisted(segments)
            unpublished += bool(left_over)
            ready_s = server.start()
            say(
                f"kill {kill}: {load.acknowledged - before} requests acknowledged, ready after "
                f"{ready_s:.2f} s, left over: {sorted(left_over)}"
            )
            assert ready_s < READY_S
            load.check(server, now_ms)
            known = [trace for writer in writers for trace in writer.acknowledged_traces()]
            for trace_id, least in [known[0], known[-1], *moments.sample(known, SAMPLES)]:
                found = spans_of(server, trace_id)
                assert least <= len(set(found)) == len(found) <= SPANS_PER_TRACE
            wait_until(lambda: not unlisted(segments), "what the crash left over is gone", WAIT_S)
    finally:
        server.stop()
    say(
        f"{flusher.finished} flushes finished, {flusher.interrupted} were interrupted, "
        f"{unpublished} of them with files that were not in the manifest yet"
    )
    assert flusher.interrupted > 0


def test_a_stop_under_load_keeps_every_span(tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000)
    load = Load([SpanWriter(number, now_ms) for number in range(WRITERS)])
    server = obsd_server(tmp_path, "--no-self-monitoring", environment=KEEPING)
    server.start()
    try:
        load.start(server.port)
        wait_until(lambda: load.acknowledged > 100, "a hundred requests are acknowledged", WAIT_S)
        assert server.stop() == 0  # While the writers go on.
        load.stop()
        server.start()
        load.check(server, now_ms)
    finally:
        load.stop()
        server.stop()
