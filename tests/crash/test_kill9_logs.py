"""`kill -9` at random moments while logs arrive: what was acknowledged is there, and once.

The moments come from a seed that a failing test prints; CRASH_SEED repeats them.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from tests.crash.log_writers import LogWriter, search
from tests.crash.test_kill9 import ENVIRONMENT, Flusher, say
from tests.crash.writers import Load
from tests.e2e.processes import obsd_server, wait_until

KILLS = 8
WRITERS = 4
LONGEST_RUN_S = 0.8
NEEDLES = 25
WAIT_S = 20.0


def test_no_acknowledged_record_is_lost_or_doubled_at_any_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    say(f"CRASH_SEED={seed}")
    moments = random.Random(seed)
    now_ms = int(time.time() * 1000)
    writers = [LogWriter(number, now_ms) for number in range(WRITERS)]
    load = Load(writers)
    flusher = Flusher()
    server = obsd_server(tmp_path, "--no-self-monitoring", environment=ENVIRONMENT)
    segments = tmp_path / "obsd" / "projects" / "default" / "logs" / "segments"
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
            load.check(server, now_ms)
            ids = [id_ for writer in writers for id_ in writer.acknowledged_ids()]
            for id_ in [ids[0], ids[-1], *moments.sample(ids, min(NEEDLES, len(ids)))]:
                page = search(server, id_, now_ms)
                assert page["total"] == 1, f"{id_}: {page['total']} records"
                assert [e["message"] for e in page["logs"]] == [LogWriter.message(id_)]
            wait_until(lambda: not unlisted(segments), "what the crash left over is gone", WAIT_S)
    finally:
        server.stop()
    say(
        f"{flusher.finished} flushes finished, {flusher.interrupted} were interrupted, "
        f"{unpublished} of them with files that were not in the manifest yet"
    )
    assert flusher.interrupted > 0


def unlisted(segments: Path) -> set[str]:
    """Files of flushes and merges that are not, or no longer, in the manifest."""
    present = {path.name for path in segments.iterdir()} - {"MANIFEST"}
    return present - set(json.loads((segments / "MANIFEST").read_bytes())["segments"])


def test_a_stop_under_load_keeps_every_record(tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000)
    writers = [LogWriter(number, now_ms) for number in range(WRITERS)]
    load = Load(writers)
    server = obsd_server(tmp_path, "--no-self-monitoring")
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
