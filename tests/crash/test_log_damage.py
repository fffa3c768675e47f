"""Damaged files of logs: what is whole is served, what is not is said, nothing whole is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.log_writers import DAY_MS, LOGS_HEADERS, LOGS_PATH, logs_body, messages, search
from tests.crash.test_damage import flip_a_byte, flush, metric
from tests.e2e.processes import Server, obsd_server, running, wait_until

WAIT_S = 20.0
QUARANTINED = "obsd_log_quarantined_segments"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(obsd_server(tmp_path, "--no-self-monitoring")) as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the server of this test keeps the logs of the default project."""
    return tmp_path / "obsd" / "projects" / "default" / "logs"


@pytest.fixture
def now_ms() -> int:
    return int(time.time() * 1000)


def texts(name: str, count: int) -> list[str]:
    return [f"{name} request {number:016} took {number % 977} ms" for number in range(count)]


def write(server: Server, first_ms: int, bodies: list[str]) -> None:
    body = logs_body("damage", ((first_ms + i, text) for i, text in enumerate(bodies)))
    answer = server.request(LOGS_PATH, method="POST", body=body, headers=LOGS_HEADERS)
    assert (answer.status, answer.body) == (200, b""), answer.text


def read(server: Server, name: str, now_ms: int) -> list[str]:
    """Everything with this word, the oldest first."""
    return messages(server, name, now_ms)[::-1]


def segment_files(data: Path) -> set[Path]:
    return set((data / "segments").glob("*.logs"))


# The write-ahead log


def test_a_torn_end_of_the_log_wal_costs_nothing(server: Server, data: Path, now_ms: int) -> None:
    wanted = texts("torn", 100)
    for number, text in enumerate(wanted):
        write(server, now_ms - 1000 + number, [text])
    server.kill()
    segment = max((data / "wal").iterdir())
    whole = segment.read_bytes()
    # What a crash in mid-append leaves: the beginning of a record, here that of the first one.
    segment.write_bytes(whole + whole[8 : 8 + 40])
    server.start()
    assert read(server, "torn", now_ms) == wanted
    assert "torn record" in server.log.read_text()
    write(server, now_ms, ["torn and written to"])
    for flushed in (False, True):
        if flushed:
            flush(server)
        server.kill()
        server.start()
        assert read(server, "torn", now_ms) == [*wanted, "torn and written to"]


def test_a_log_wal_cut_in_its_last_record_loses_that_one(
    server: Server, data: Path, now_ms: int
) -> None:
    wanted = texts("cut", 20)
    for number, text in enumerate(wanted):
        write(server, now_ms - 1000 + number, [text])
    server.kill()
    segment = max((data / "wal").iterdir())
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5])
    server.start()
    assert read(server, "cut", now_ms) == wanted[:-1]
    assert "torn record" in server.log.read_text()


def test_a_damaged_log_wal_record_is_lost_alone(server: Server, data: Path, now_ms: int) -> None:
    wanted = texts("flipped", 9)
    for number, text in enumerate(wanted):
        write(server, now_ms - 1000 + number, [text])
    server.kill()
    segment = max((data / "wal").iterdir())
    # Nine records of nearly one length: the middle of the file is well inside the fifth one.
    flip_a_byte(segment, segment.stat().st_size // 2)
    damaged = segment.read_bytes()
    server.start()
    kept = read(server, "flipped", now_ms)
    assert kept == [*wanted[:4], *wanted[5:]]
    assert segment.name in server.log.read_text()
    # Whoever wants to rescue the record has the file, also when a flush has let go of the log.
    flush(server)
    copies = [path.read_bytes() for path in (data / "quarantine").rglob("*") if path.is_file()]
    assert damaged in copies
    server.kill()
    server.start()
    assert read(server, "flipped", now_ms) == kept


# Segments


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_damaged_segment_is_set_aside_and_the_rest_serves(
    server: Server, data: Path, now_ms: int, place: float
) -> None:
    # A day has segments of its own, so that no merge puts these two together.
    old, new = texts("damaged", 3000), texts("whole", 500)
    write(server, now_ms - DAY_MS, old)
    flush(server)
    before = segment_files(data)
    write(server, now_ms - 1000, new)
    flush(server)
    assert read(server, "damaged", now_ms) == old
    server.kill()
    (victim,) = before & segment_files(data)
    flip_a_byte(victim, round((victim.stat().st_size - 1) * place))
    server.start()
    assert read(server, "whole", now_ms) == new
    # The damage may be seen at the start, or when something of it is read.
    assert set(read(server, "damaged", now_ms)) <= set(old), "damage was served as data"
    search(server, old[1234].split()[2], now_ms)
    wait_until(lambda: metric(server, QUARANTINED) == 1, "the damage is in /metrics", WAIT_S)
    assert victim.stem in server.log.read_text()
    assert not victim.exists()
    assert (data / "quarantine" / victim.name).exists()
    # Set aside for good: the next start is clean, and new records of the same time are kept.
    assert server.stop() == 0
    server.start()
    assert read(server, "damaged", now_ms) == []
    write(server, now_ms - DAY_MS, old)
    flush(server)
    assert read(server, "damaged", now_ms) == old
    assert read(server, "whole", now_ms) == new
