"""Damaged files: what is whole is served, what is not is said, and nothing whole is lost."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.durable.wal import Wal
from obsd.tsdb.wal_record import MAGIC, WalRecord
from tests.e2e.processes import Server, obsd_server, wait_until
from tests.e2e.wire import WRITE_HEADERS, WRITE_PATH, remote_read, write_body

WAIT_S = 20.0
HOUR_MS = 3_600_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = obsd_server(tmp_path, "--no-self-monitoring")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the server of this test keeps the metrics of the default project."""
    return tmp_path / "obsd" / "projects" / "default" / "metrics"


@pytest.fixture
def now_ms() -> int:
    return int(time.time() * 1000)


def write(server: Server, name: str, samples: list[tuple[int, float]]) -> None:
    body = write_body([({"__name__": name}, samples)])
    answer = server.request(WRITE_PATH, method="POST", body=body, headers=WRITE_HEADERS)
    assert answer.status == 204, answer.text


def read(server: Server, name: str, now_ms: int) -> list[tuple[int, float]]:
    found = remote_read(server, {"__name__": name}, now_ms - 24 * HOUR_MS, now_ms)
    return [sample for stored in found.values() for sample in stored.samples]


def flush(server: Server) -> None:
    answer = server.request("/api/v1/admin/flush", method="POST")
    assert answer.status < 300, answer.text


def metric(server: Server, name: str) -> float:
    """A metric of obsd's own, summed over its labels."""
    text = server.request("/metrics").text
    values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
    assert values, f"{name} is not in /metrics"
    return sum(map(float, values))


# The write-ahead log


def wal_record(number: int) -> WalRecord:
    body = bytes([number]) * (10 + number)
    return WalRecord(
        version_2=number % 2 == 0,
        now_ms=1_700_000_000_000 + number,
        min_ts_ms=-number,
        max_ts_ms=number,
        refused=(),
        body=body,
    )


def replayed(wal: Wal) -> list[WalRecord]:
    return [WalRecord.decode(payload) for payload in wal.replay()]


def append_all(wal: Wal, wanted: list[WalRecord]) -> None:
    """Append, and wait until all of it is on disk."""
    durable = threading.Semaphore(0)
    errors = []

    def on_durable(error: Exception | None) -> None:
        errors.append(error)
        durable.release()

    for record in wanted:
        wal.append(record.encode(), on_durable)
    assert all(durable.acquire(timeout=WAIT_S) for _ in wanted)
    assert errors == [None] * len(wanted)


def test_a_wal_cut_anywhere_in_its_last_record_keeps_the_others(tmp_path: Path) -> None:
    whole = [wal_record(number) for number in range(4)]
    directory = tmp_path / "whole"
    wal = Wal(directory, MAGIC)
    append_all(wal, whole[:-1])
    (segment,) = directory.iterdir()
    last_record_at = segment.stat().st_size
    append_all(wal, whole[-1:])
    wal.close()
    written = segment.read_bytes()
    for size in range(last_record_at, len(written) + 1):
        torn = tmp_path / f"cut-{size}"
        torn.mkdir()
        (torn / segment.name).write_bytes(written[:size])
        kept = whole if size == len(written) else whole[:-1]
        more = wal_record(9)
        wal = Wal(torn, MAGIC)
        assert replayed(wal) == kept, f"cut at byte {size}"
        append_all(wal, [more])
        wal.close()
        wal = Wal(torn, MAGIC)
        assert replayed(wal) == [*kept, more], f"cut at byte {size}, then written to"
        wal.close()


def test_a_flipped_bit_in_the_last_record_drops_it_alone(tmp_path: Path) -> None:
    whole = [wal_record(number) for number in range(3)]
    wal = Wal(tmp_path, MAGIC)
    append_all(wal, whole[:-1])
    (segment,) = tmp_path.iterdir()
    last_record_at = segment.stat().st_size
    append_all(wal, whole[-1:])
    wal.close()
    written = segment.read_bytes()
    for position in range(last_record_at, len(written)):
        damaged = bytearray(written)
        damaged[position] ^= 1
        segment.write_bytes(damaged)
        wal = Wal(tmp_path, MAGIC)
        assert replayed(wal) == whole[:-1], f"bit flipped in byte {position}"
        wal.close()


def test_a_server_starts_over_a_torn_wal(server: Server, data: Path, now_ms: int) -> None:
    samples = [(now_ms - 1000 + i, float(i)) for i in range(100)]
    for sample in samples:
        write(server, "torn_wal", [sample])
    server.kill()
    segment = max((data / "wal").iterdir())
    whole = segment.read_bytes()
    # What a crash in mid-append leaves: the beginning of a record, here that of the first one.
    segment.write_bytes(whole + whole[8 : 8 + 40])
    server.start()
    assert read(server, "torn_wal", now_ms) == samples
    assert "torn record" in server.log.read_text()
    write(server, "torn_wal", [(now_ms, 7.0)])
    server.kill()
    server.start()
    assert read(server, "torn_wal", now_ms) == [*samples, (now_ms, 7.0)]


# Parts


def flip_a_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("where", ["beginning", "middle", "end"])
def test_a_damaged_part_is_set_aside_and_the_rest_serves(
    server: Server, data: Path, now_ms: int, where: str
) -> None:
    # Well inside one partition of two hours, so that one part has all of it.
    first_ms = (now_ms - 10 * HOUR_MS) // (2 * HOUR_MS) * (2 * HOUR_MS) + HOUR_MS
    old = [(first_ms + i * 1000, i * 1.5) for i in range(500)]
    new = [(now_ms - 500_000 + i * 1000, i * 2.5) for i in range(500)]
    write(server, "damaged_part", old)
    flush(server)
    before = part_files(data)
    write(server, "whole_part", new)
    flush(server)
    assert read(server, "damaged_part", now_ms) == old
    server.kill()
    (victim,) = before & part_files(data)
    size = victim.stat().st_size
    flip_a_byte(victim, {"beginning": 3, "middle": size // 2, "end": size - 3}[where])
    server.start()
    assert read(server, "whole_part", now_ms) == new
    # The damage may be seen at the start, or when something of it is read.
    damaged = read(server, "damaged_part", now_ms)
    assert set(damaged) <= set(old), "damage was served as data"
    wait_until(lambda: metric(server, QUARANTINED) == 1, "the damage is in /metrics", WAIT_S)
    assert victim.stem in server.log.read_text()
    assert not victim.exists()
    assert list((data / "quarantine").iterdir())
    # Set aside for good: the next start is clean, and new data for the same time is kept.
    server.stop()
    server.start()
    write(server, "damaged_part", old)
    flush(server)
    assert read(server, "damaged_part", now_ms) == old
    assert read(server, "whole_part", now_ms) == new


QUARANTINED = "obsd_quarantined_parts"


def part_files(data: Path) -> set[Path]:
    return set((data / "parts").glob("*.part"))


# The series log


def test_a_damaged_series_log_is_refused_and_left_as_it_is(
    server: Server, data: Path, now_ms: int
) -> None:
    """Without the log's labels, samples would show up under other names, or under none."""
    log = data / "series"
    before = log.stat().st_size
    write(server, "series_first", [(now_ms - 2000, 1.0)])
    flush(server)
    position = (before + log.stat().st_size) // 2 + 4
    write(server, "series_second", [(now_ms - 1000, 2.0)])
    flush(server)
    server.kill()
    whole = log.read_bytes()
    flip_a_byte(log, position)
    damaged = log.read_bytes()
    ended = subprocess.run(
        server.command, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert ended.returncode == 1
    assert str(log) in ended.stderr.splitlines()[-1]
    assert log.read_bytes() == damaged
    # Whoever has a copy of the file gets everything back.
    log.write_bytes(whole)
    server.start()
    assert read(server, "series_first", now_ms) == [(now_ms - 2000, 1.0)]
    assert read(server, "series_second", now_ms) == [(now_ms - 1000, 2.0)]


def test_a_damaged_wal_record_is_lost_alone(server: Server, data: Path, now_ms: int) -> None:
    samples = [(now_ms - 1000 + i, float(i)) for i in range(9)]
    for sample in samples:
        write(server, "damaged_wal", [sample])
    server.kill()
    segment = max((data / "wal").iterdir())
    # Nine records of one length: the middle of the file is well inside the fifth one.
    flip_a_byte(segment, segment.stat().st_size // 2)
    server.start()
    kept = read(server, "damaged_wal", now_ms)
    assert len(kept) >= len(samples) - 1
    assert set(kept) < set(samples), "the flipped byte was in no record"
    assert segment.name in server.log.read_text()
