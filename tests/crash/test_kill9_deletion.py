"""`kill -9` and full disks while logs are deleted: what is deleted stays so, and nothing else goes.

The moments come from a seed that a failing test prints; CRASH_SEED repeats them.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.log_writers import DAY_MS, LOGS_HEADERS, LOGS_PATH, logs_body, search
from tests.crash.test_full_disk import SmallDisk, fill, small_disk
from tests.crash.test_kill9 import say
from tests.e2e.processes import Server, obsd_server, wait_until
from tests.logindex.stored_bytes import files_with

PATH = "/api/v1/monitoring/logs/delete"
JSON = {"Content-Type": "application/json"}
KILLS = 6
BATCH = 400
WAIT_S = 30.0


def write(server: Server, now_ms: int, word: str, count: int = BATCH, first: int = 0) -> None:
    """Records of two days, so that there are several files."""
    texts = (
        (now_ms - n % 2 * DAY_MS - n, f"{word} number {n} of them")
        for n in range(first, first + count)
    )
    body = logs_body("deletion", texts)
    answer = server.request(LOGS_PATH, method="POST", body=body, headers=LOGS_HEADERS)
    assert answer.status == 200, answer.text


def delete(server: Server, word: str, now_ms: int) -> Any:
    body = {"query": word, "from": (now_ms - 3 * DAY_MS) / 1000, "to": now_ms / 1000 + 1}
    return server.request(PATH, method="POST", body=json.dumps(body).encode(), headers=JSON)


def states(server: Server) -> list[str]:
    answer = server.request(PATH)
    assert answer.status == 200, answer.text
    return [each["state"] for each in answer.json()["deletions"]]


def flush(server: Server) -> int:
    return server.request("/api/v1/admin/flush", method="POST").status


def test_a_deletion_outlives_a_kill_at_any_moment(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    say(f"CRASH_SEED={seed}")
    moments = random.Random(seed)
    now_ms = int(time.time() * 1000)
    server = obsd_server(tmp_path, "--no-self-monitoring")
    data = tmp_path / "obsd"
    server.start()
    pending = 0
    try:
        for kill in range(KILLS):
            write(server, now_ms, f"keep{kill}k")
            write(server, now_ms, f"drop{kill}k")
            if kill % 2:
                assert flush(server) < 300
                write(server, now_ms, f"drop{kill}k", first=BATCH)
            answer = delete(server, f"drop{kill}k", now_ms)
            assert answer.status == 202, answer.text
            assert answer.json()["matched"] == BATCH * (1 + kill % 2)
            write(server, now_ms, f"late{kill}k", 10)
            time.sleep(moments.uniform(0, 0.03))
            server.kill()
            server.start()
            for before in range(kill + 1):
                later = 5 if before < kill else 0
                assert search(server, f"drop{before}k", now_ms)["total"] == later
                assert search(server, f"keep{before}k", now_ms)["total"] == BATCH
                assert search(server, f"late{before}k", now_ms)["total"] == 10
            pending += "pending" in states(server)
            write(server, now_ms, f"again drop{kill}k", 5)  # Has come later, and so is kept.
        assert flush(server) < 300
        assert set(states(server)) == {"done"}
        for kill in range(KILLS):
            assert search(server, f"keep{kill}k", now_ms)["total"] == BATCH
            assert search(server, f"again drop{kill}k", now_ms)["total"] == 5
            assert delete(server, f"drop{kill}k", now_ms).json()["matched"] == 5
        wait_until(lambda: set(states(server)) == {"done"}, "every deletion is done", WAIT_S)
        for kill in range(KILLS):
            assert files_with(data, f"drop{kill}k") == []
            assert files_with(data, f"keep{kill}k")
    finally:
        server.stop()
    say(f"{pending} of {KILLS} kills left a deletion for the next start")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    with small_disk(directory) as mounted:
        yield mounted


def test_a_full_disk_delays_the_erasure_and_not_the_deletion(
    tmp_path: Path, disk: SmallDisk
) -> None:
    now_ms = int(time.time() * 1000)
    server = obsd_server(tmp_path, "--no-self-monitoring", data=disk.mounted_at / "obsd")
    server.command[:0] = disk.enter
    server.start()
    noise = random.Random(1)
    try:
        # Large enough that no segment can be written anew on the full disk.
        texts = (
            (now_ms - n, f"{'drop7k' if n % 50 == 0 else 'keep7k'} {noise.randbytes(600).hex()}")
            for n in range(2000)
        )
        body = logs_body("disk", texts)
        answer = server.request(LOGS_PATH, method="POST", body=body, headers=LOGS_HEADERS)
        assert answer.status == 200, answer.text
        assert flush(server) < 300
        ballast = fill(disk, leave_bytes=256 << 10)
        answer = delete(server, "drop7k", now_ms)
        assert answer.status == 202, answer.text
        assert answer.json()["matched"] == 40

        def error() -> str:
            (only,) = server.request(PATH).json()["deletions"]
            assert only["state"] == "pending"
            return str(only["error"])

        wait_until(lambda: "No space" in error(), "the erasure has failed", WAIT_S)
        assert search(server, "drop7k", now_ms)["total"] == 0
        server.kill()
        server.start()
        assert search(server, "drop7k", now_ms)["total"] == 0
        assert search(server, "keep7k", now_ms)["total"] == 1960
        assert files_with(disk.outside / "obsd", "drop7k")
        ballast.unlink()
        assert flush(server) < 300
        assert states(server) == ["done"]
        assert files_with(disk.outside / "obsd", "drop7k") == []
        assert search(server, "keep7k", now_ms)["total"] == 1960
    finally:
        server.stop()
