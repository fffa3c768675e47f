"""`kill -9` while traces are deleted: what is deleted stays so, and nothing else goes.

The moments come from a seed that a failing test prints; CRASH_SEED repeats them.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from tests.crash.span_writers import DAY_MS, KEEPING, call, search, send
from tests.crash.test_damage import flush
from tests.crash.test_kill9 import say
from tests.e2e.processes import Server, obsd_server, wait_until
from tests.logindex.stored_bytes import files_with

PATH = "/api/v1/monitoring/traces/delete"
JSON = {"Content-Type": "application/json"}
KILLS = 6
BATCH = 120
WAIT_S = 30.0


def write(server: Server, now_ms: int, word: str, first: int) -> None:
    """Traces of two days, so that there are several files; the word is in one span of each."""
    spans = []
    for number in range(first, first + BATCH):
        trace = call(number, now_ms - number % 2 * DAY_MS - 5000, f"of-{word}")
        trace[2].attributes["word"] = word  # type: ignore[index]
        spans += trace
    answer = send(server, spans)
    assert answer.status == 200, answer.text


def delete(server: Server, word: str, now_ms: int) -> Any:
    query = f'{{ span.word = "{word}" }}'
    body = {"query": query, "from": (now_ms - 3 * DAY_MS) / 1000, "to": now_ms / 1000 + 1}
    answer = server.request(PATH, method="POST", body=json.dumps(body).encode(), headers=JSON)
    assert answer.status == 202, answer.text
    return answer.json()


def states(server: Server) -> list[str]:
    answer = server.request(PATH)
    assert answer.status == 200, answer.text
    return [each["state"] for each in answer.json()["deletions"]]


def count(server: Server, word: str, now_ms: int) -> int:
    return len(search(server, now_ms, service=f"of-{word}"))


def test_a_deletion_of_traces_outlives_a_kill_at_any_moment(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    say(f"CRASH_SEED={seed}")
    moments = random.Random(seed)
    now_ms = int(time.time() * 1000)
    server = obsd_server(tmp_path, "--no-self-monitoring", environment=KEEPING)
    data = tmp_path / "obsd" / "projects" / "default" / "traces"
    server.start()
    pending = 0
    try:
        for kill in range(KILLS):
            first = 1 + kill * 3 * BATCH
            write(server, now_ms, f"keep{kill}k", first)
            write(server, now_ms, f"drop{kill}k", first + BATCH)
            if kill % 2:
                flush(server)
            assert delete(server, f"drop{kill}k", now_ms)["matched"] == BATCH * 4
            write(server, now_ms, f"late{kill}k", first + 2 * BATCH)
            time.sleep(moments.uniform(0, 0.03))
            server.kill()
            server.start()
            for before in range(kill + 1):
                assert count(server, f"drop{before}k", now_ms) == 0
                assert count(server, f"keep{before}k", now_ms) == BATCH
                assert count(server, f"late{before}k", now_ms) == BATCH
            pending += "pending" in states(server)
        flush(server)
        wait_until(lambda: set(states(server)) == {"done"}, "every deletion is done", WAIT_S)
        for kill in range(KILLS):
            assert files_with(data, f"drop{kill}k") == []
            assert files_with(data, f"keep{kill}k")
    finally:
        server.stop()
    say(f"{pending} of {KILLS} kills left a deletion for the next start")
