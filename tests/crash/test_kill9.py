"""`kill -9` at random moments under load: nothing acknowledged is lost, and nothing is there twice.

The moments come from a seed that a failing test prints; CRASH_SEED repeats them.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crash.writers import Load, Writer
from tests.e2e.processes import Server, obsd_server, wait_until
from tests.e2e.wire import WRITE_HEADERS, WRITE_PATH, remote_read, rich_body, write_body

KILLS = 20
WRITERS = 4
LONGEST_RUN_S = 0.8
READY_S = 3.0
HOUR_MS = 3_600_000

# Flushes follow one another, so that kills land in them and in the merges that they cause.
ENVIRONMENT = {"OBSD_STORAGE__FLUSH_INTERVAL": "200ms"}


@dataclass(slots=True)
class Flusher:
    """Asks for flushes and merges without a pause; counts those that a kill interrupted."""

    finished: int = 0
    interrupted: int = 0
    _thread: threading.Thread | None = field(default=None)

    def start(self, server: Server) -> None:
        self._thread = threading.Thread(target=self._run, args=(server,))
        self._thread.start()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join()

    def _run(self, server: Server) -> None:
        while True:
            try:
                answer = server.request("/api/v1/admin/flush", method="POST")
            except OSError:
                self.interrupted += 1
                return
            assert answer.status < 300, answer.text
            self.finished += 1


def say(text: str) -> None:
    print(text)  # noqa: T201 - pytest shows it when the test fails


def test_nothing_acknowledged_is_lost_at_any_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    say(f"CRASH_SEED={seed}")
    moments = random.Random(seed)
    first_ms = int(time.time() * 1000) - HOUR_MS
    load = Load([Writer(number, first_ms + number) for number in range(WRITERS)])
    flusher = Flusher()
    server = obsd_server(tmp_path, "--no-self-monitoring", environment=ENVIRONMENT)
    seconds_to_ready: list[float] = []
    server.start()
    try:
        for kill in range(KILLS):
            before = load.acknowledged
            load.start(server.port)
            flusher.start(server)
            wait_until(lambda: load.acknowledged > before, "something is acknowledged", 20)  # noqa: B023
            time.sleep(moments.uniform(0, LONGEST_RUN_S))
            server.kill()
            load.stop()
            flusher.join()
            seconds_to_ready.append(server.start())
            say(
                f"kill {kill}: {load.acknowledged - before} acknowledged, "
                f"ready after {seconds_to_ready[-1]:.2f} s"
            )
            load.check(server, first_ms + HOUR_MS)
    finally:
        server.stop()
    say(f"{flusher.finished} flushes finished, {flusher.interrupted} were interrupted")
    assert flusher.interrupted > 0
    # Not each of them: one slow start of a busy machine says nothing.
    assert statistics.median(seconds_to_ready) < READY_S


@pytest.mark.parametrize("flushed", [False, True], ids=["in the log", "in a part"])
def test_histograms_exemplars_and_metadata_survive_a_kill(tmp_path: Path, flushed: bool) -> None:
    time_ms = int(time.time() * 1000)
    server = obsd_server(tmp_path, "--no-self-monitoring")
    server.start()
    try:
        body = rich_body("crash_rich", time_ms)
        answer = server.request(WRITE_PATH, method="POST", body=body, headers=WRITE_HEADERS)
        assert answer.status == 204, answer.text
        if flushed:
            assert server.request("/api/v1/admin/flush", method="POST").status < 300
        before = everything_about("crash_rich", server, time_ms)
        server.kill()
        server.start()
        assert everything_about("crash_rich", server, time_ms) == before
    finally:
        server.stop()


def everything_about(name: str, server: Server, time_ms: int) -> list[Any]:
    """The histograms, exemplars and metadata of one metric, of which there is one each."""
    (stored,) = remote_read(server, {"__name__": name}, time_ms, time_ms).values()
    assert len(stored.histograms) == 1
    times = {"start": str(time_ms / 1000 - 60), "end": str(time_ms / 1000 + 60)}
    exemplars = server.data("/api/v1/query_exemplars", {"query": name, **times})
    assert [len(entry["exemplars"]) for entry in exemplars] == [1]
    metadata = server.data("/api/v1/metadata", {"metric": name})
    assert metadata == {name: [{"type": "histogram", "help": "Help.", "unit": ""}]}
    return [stored.histograms, exemplars, metadata]


def test_the_last_write_of_a_time_wins_through_flush_merge_and_kill(tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000)
    times = range(now_ms - 100, now_ms)
    server = obsd_server(tmp_path, "--no-self-monitoring")
    server.start()

    def write_all(value: float) -> None:
        body = write_body([({"__name__": "crash_overwritten"}, [(at, value) for at in times])])
        answer = server.request(WRITE_PATH, method="POST", body=body, headers=WRITE_HEADERS)
        assert answer.status == 204, answer.text

    def values() -> list[float]:
        read = remote_read(server, {"__name__": "crash_overwritten"}, times[0], times[-1])
        (stored,) = read.values()
        assert [at for at, _ in stored.samples] == list(times)
        return [value for _, value in stored.samples]

    try:
        for value in range(6):
            write_all(value)
            assert values() == [value] * len(times)
            if value % 2:
                assert server.request("/api/v1/admin/flush", method="POST").status < 300
            server.kill()
            server.start()
            assert values() == [value] * len(times)
    finally:
        server.stop()


def test_what_a_limit_let_in_survives_a_kill(tmp_path: Path) -> None:
    """A partly refused request is half an acknowledgement: its stored half must stay."""
    now_ms = int(time.time() * 1000)
    environment = {"OBSD_STORAGE__MAX_ACTIVE_SERIES": "5"}
    server = obsd_server(tmp_path, "--no-self-monitoring", environment=environment)
    server.start()

    def write(numbers: range, time_ms: int) -> int:
        series = [({"__name__": "limited", "n": str(n)}, [(time_ms, 1.0)]) for n in numbers]
        body = write_body(series)
        return server.request(WRITE_PATH, method="POST", body=body, headers=WRITE_HEADERS).status

    def samples() -> list[int]:
        found = remote_read(server, {"__name__": "limited"}, now_ms - 10, now_ms)
        return [len(stored.samples) for stored in found.values()]

    try:
        assert write(range(10), now_ms - 1) == 400
        assert samples() == [1] * 5
        assert write(range(5), now_ms) == 204
        server.kill()
        server.start()
        assert samples() == [2] * 5
    finally:
        server.stop()


def test_a_stop_under_load_keeps_everything(tmp_path: Path) -> None:
    first_ms = int(time.time() * 1000) - HOUR_MS
    load = Load([Writer(number, first_ms + number) for number in range(WRITERS)])
    server = obsd_server(tmp_path, "--no-self-monitoring")
    server.start()
    try:
        load.start(server.port)
        wait_until(lambda: load.acknowledged > 100, "a hundred batches are acknowledged", 20)
        assert server.stop() == 0  # While the writers go on.
        load.stop()
        server.start()
        load.check(server, first_ms + HOUR_MS)
    finally:
        load.stop()
        server.stop()
