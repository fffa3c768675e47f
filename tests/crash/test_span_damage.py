"""Damaged files of spans, and a full disk: what is whole is served, and nothing whole is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.tracestore.inspect import inspect
from tests.crash.span_writers import DAY_MS, KEEPING, call, search, send, spans_of
from tests.crash.test_damage import flip_a_byte, flush, metric
from tests.crash.test_full_disk import SmallDisk, fill, small_disk
from tests.e2e.processes import Server, obsd_server, running, wait_until

WAIT_S = 20.0
QUARANTINED = "obsd_span_quarantined_segments"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(obsd_server(tmp_path, "--no-self-monitoring", environment=KEEPING)) as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the server of this test keeps the traces of the default project."""
    return tmp_path / "obsd" / "projects" / "default" / "traces"


@pytest.fixture
def now_ms() -> int:
    return int(time.time() * 1000)


def write(server: Server, numbers: range, at_ms: int, service: str) -> None:
    spans = [span for n in numbers for span in call(n, at_ms + n % 1000, service)]
    answer = send(server, spans)
    assert (answer.status, answer.body) == (200, b""), answer.text


def numbers_of(server: Server, service: str, now_ms: int) -> set[int]:
    found = search(server, now_ms, service=service)
    assert {trace["spans"] for trace in found} <= {4}
    return {int(trace["trace_id"], 16) for trace in found}


def test_a_torn_end_of_the_span_wal_costs_nothing(server: Server, data: Path, now_ms: int) -> None:
    for number in range(1, 100):
        write(server, range(number, number + 1), now_ms - 1000, "torn")
    server.kill()
    segment = max((data / "wal").iterdir())
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[8 : 8 + 40])
    server.start()
    assert numbers_of(server, "torn", now_ms) == set(range(1, 100))
    assert "torn record" in server.log.read_text()
    write(server, range(100, 101), now_ms, "torn")
    for flushed in (False, True):
        if flushed:
            flush(server)
        server.kill()
        server.start()
        assert numbers_of(server, "torn", now_ms) == set(range(1, 101))


def test_a_damaged_span_wal_record_is_lost_alone(server: Server, data: Path, now_ms: int) -> None:
    for number in range(1, 10):
        write(server, range(number, number + 1), now_ms - 1000, "flipped")
    server.kill()
    segment = max((data / "wal").iterdir())
    # Nine records of nearly one length: the middle of the file is well inside the fifth one.
    flip_a_byte(segment, segment.stat().st_size // 2)
    damaged = segment.read_bytes()
    server.start()
    assert numbers_of(server, "flipped", now_ms) == set(range(1, 10)) - {5}
    flush(server)
    copies = [path.read_bytes() for path in (data / "quarantine").rglob("*") if path.is_file()]
    assert damaged in copies


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_damaged_span_segment_is_set_aside_and_the_rest_serves(
    server: Server, data: Path, now_ms: int, place: float
) -> None:
    # A day has segments of its own, so that no merge puts these two together.
    old, new = range(1, 800), range(1000, 1100)
    write(server, old, now_ms - DAY_MS, "damaged")
    flush(server)
    before = set((data / "segments").glob("*.spans"))
    write(server, new, now_ms - 2000, "whole")
    flush(server)
    server.kill()
    (victim,) = before & set((data / "segments").glob("*.spans"))
    flip_a_byte(victim, round((victim.stat().st_size - 1) * place))
    server.start()
    assert numbers_of(server, "whole", now_ms) == set(new)
    # The damage may be seen at the start, or when something of it is read.
    assert numbers_of(server, "damaged", now_ms) <= set(old), "damage was served as data"
    for number in old:
        if metric(server, QUARANTINED):
            break
        spans_of(server, f"{number:032x}")
    if metric(server, QUARANTINED):
        assert (data / "quarantine" / victim.name).exists()
    else:  # A filter, which is left aside when it is damaged: every row has been looked at.
        assert numbers_of(server, "damaged", now_ms) == set(old)
        assert "bad checksum of a filter" in {each.message for each in inspect(data)}
    assert server.stop() == 0
    server.start()
    write(server, old, now_ms - DAY_MS, "damaged")
    flush(server)
    assert numbers_of(server, "damaged", now_ms) == set(old)
    assert numbers_of(server, "whole", now_ms) == set(new)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    with small_disk(directory) as mounted:
        yield mounted


def test_spans_wait_and_reads_go_on_while_the_disk_is_full(
    tmp_path: Path, disk: SmallDisk, now_ms: int
) -> None:
    server = obsd_server(tmp_path, "--no-self-monitoring", data=disk.mounted_at / "obsd")
    server.command[:0] = disk.enter
    server.start()
    stored: set[int] = set()
    numbers = iter(range(1, 1 << 30))

    def write_one() -> int:
        number = next(numbers)
        spans = call(number, now_ms - 1000, "full", 200)
        status = send(server, spans).status
        if status == 200:
            stored.add(number)
        else:
            assert status == 503
        return status

    def check() -> None:
        found = {int(t["trace_id"], 16): t["spans"] for t in search(server, now_ms, service="full")}
        assert stored <= found.keys(), "acknowledged traces are lost"
        assert set(found.values()) == {200}

    try:
        write_one()
        flush(server)
        write_one()
        ballast = fill(disk)
        while write_one() == 200:
            pass
        assert [write_one() for _ in range(5)] == [503] * 5
        check()
        server.request("/api/v1/admin/flush", method="POST")  # It has no room, and costs nothing.
        check()
        server.kill()
        server.start()
        check()
        ballast.unlink()
        wait_until(lambda: write_one() == 200, "writes are accepted again", WAIT_S)
        flush(server)
        check()
    finally:
        server.stop()
