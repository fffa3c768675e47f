"""`obsd/durable/wal.py`: framing, group commit, torn tails, refusing disks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.durable import records
from obsd.durable.wal import Wal, segment_name
from obsd.model.errors import CorruptDataError, StorageUnavailableError
from obsd.tsdb.wal_record import MAGIC, WalRecord

_TIMES = st.integers(-(2**62), 2**62)
_PLACES = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)
wal_records = st.builds(WalRecord, st.booleans(), _TIMES, _TIMES, _TIMES, _PLACES, st.binary())


class Durable:
    """Collects what `on_durable` is called with, in order."""

    def __init__(self) -> None:
        self.results: list[Exception | None] = []
        self._called = threading.Condition()

    def __call__(self, error: Exception | None) -> None:
        with self._called:
            self.results.append(error)
            self._called.notify_all()

    def wait_for(self, count: int) -> list[Exception | None]:
        with self._called:
            assert self._called.wait_for(lambda: len(self.results) >= count, timeout=10)
            return list(self.results)


def write(directory: Path, written: list[WalRecord]) -> None:
    wal = Wal(directory, MAGIC)
    durable = Durable()
    for record in written:
        wal.append(record.encode(), durable)
    assert durable.wait_for(len(written)) == [None] * len(written)
    wal.close()


def read(directory: Path) -> list[WalRecord]:
    wal = Wal(directory, MAGIC)
    found = [WalRecord.decode(payload) for payload in wal.replay()]
    wal.close()
    return found


@given(st.lists(wal_records, max_size=20))
def test_replay_gives_back_what_was_appended(
    tmp_path_factory: pytest.TempPathFactory, written: list[WalRecord]
) -> None:
    directory = tmp_path_factory.mktemp("wal")
    write(directory, written)
    assert read(directory) == written


def test_appends_of_a_second_start_follow_those_of_the_first(tmp_path: Path) -> None:
    first, second = (WalRecord(False, n, 0, 9, (), b"body") for n in (1, 2))
    write(tmp_path, [first])
    write(tmp_path, [second])
    assert read(tmp_path) == [first, second]


def test_a_torn_last_record_is_skipped_at_every_length(tmp_path: Path) -> None:
    whole = WalRecord(False, 1, 0, 9, (), b"whole")
    write(tmp_path, [whole])
    (segment,) = tmp_path.iterdir()
    kept = segment.read_bytes()
    torn = b"".join(records.frame(*WalRecord(True, 2, 0, 9, (), b"torn away").encode()))
    for length in range(len(torn)):
        segment.write_bytes(kept + torn[:length])
        assert read(tmp_path) == [whole]


def test_a_flipped_bit_ends_its_segment_and_no_other(tmp_path: Path) -> None:
    for n in (1, 2):
        write(tmp_path, [WalRecord(False, n, 0, 9, (), b"body")])
    first = tmp_path / segment_name(1)
    data = bytearray(first.read_bytes())
    for at in range(len(MAGIC), len(data)):
        data[at] ^= 0x10
        first.write_bytes(data)
        assert [r.now_ms for r in read(tmp_path)] == [2]
        data[at] ^= 0x10


def test_a_segment_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / segment_name(1)).write_bytes(b"OBSDWAL9")
    with pytest.raises(CorruptDataError, match="magic number"):
        read(tmp_path)


def test_the_documented_example_decodes(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "format" / "wal.md"
    block = page.read_text().split("```hex\n")[1].split("```")[0]
    example = bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))
    (tmp_path / segment_name(1)).write_bytes(example)
    assert read(tmp_path) == [WalRecord(False, 1000, 0, 2000, (), b"\0")]


def test_deleting_keeps_what_came_after_the_rotation(tmp_path: Path) -> None:
    wal = Wal(tmp_path, MAGIC)
    durable = Durable()
    wal.append(WalRecord(False, 1, 0, 9, (), b"old").encode(), durable)
    covered = wal.rotate()
    wal.append(WalRecord(False, 2, 0, 9, (), b"new").encode(), durable)
    wal.delete_through(covered)
    assert wal.segment_count == 1
    wal.close()
    assert [r.body for r in read(tmp_path)] == [b"new"]


def test_a_refused_write_leaves_nothing_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = Wal(tmp_path, MAGIC)
    durable = Durable()
    wal.append(WalRecord(False, 1, 0, 9, (), b"before").encode(), durable)
    real_writev = os.writev

    def writes_half(fd: int, pieces: list[bytes]) -> int:
        return real_writev(fd, [b"".join(pieces)[:10]])

    monkeypatch.setattr(os, "writev", writes_half)
    with pytest.raises(StorageUnavailableError, match="No space left"):
        wal.append(WalRecord(False, 2, 0, 9, (), b"refused").encode(), durable)
    monkeypatch.undo()
    wal.append(WalRecord(False, 3, 0, 9, (), b"after").encode(), durable)
    durable.wait_for(2)
    wal.close()
    assert [r.body for r in read(tmp_path)] == [b"before", b"after"]


def test_a_failed_sync_is_told_and_its_segment_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = Wal(tmp_path, MAGIC)
    durable = Durable()

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    wal.append(WalRecord(False, 1, 0, 9, (), b"unsafe").encode(), durable)
    assert isinstance(durable.wait_for(1)[0], StorageUnavailableError)
    monkeypatch.undo()
    wal.append(WalRecord(False, 2, 0, 9, (), b"safe").encode(), durable)
    assert durable.wait_for(2)[1] is None
    assert wal.segment_count == 2
    wal.close()


def test_after_a_failed_sync_nothing_more_of_its_segment_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = Wal(tmp_path, MAGIC)
    durable = Durable()
    syncing, appended = threading.Event(), threading.Event()
    real_sync = os.fdatasync

    def fails_once(fd: int) -> None:
        if not appended.is_set():
            syncing.set()
            assert appended.wait(timeout=10)
            raise OSError(5, "Input/output error")
        real_sync(fd)

    monkeypatch.setattr(os, "fdatasync", fails_once)
    wal.append(WalRecord(False, 1, 0, 9, (), b"lost").encode(), durable)
    assert syncing.wait(timeout=10)
    # Into the same segment, whose sync succeeds, while what comes before is not on the disk.
    wal.append(WalRecord(False, 2, 0, 9, (), b"behind it").encode(), durable)
    appended.set()
    assert [type(e) for e in durable.wait_for(2)] == [StorageUnavailableError] * 2
    wal.append(WalRecord(False, 3, 0, 9, (), b"elsewhere").encode(), durable)
    assert durable.wait_for(3)[2] is None
    assert wal.segment_count == 2
    wal.close()


def test_a_segment_is_deleted_before_those_that_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = Wal(tmp_path, MAGIC)
    durable = Durable()
    covered = []
    for n in range(2):
        wal.append(WalRecord(False, n, 0, 9, (), b"body").encode(), durable)
        covered.append(wal.rotate())

    def refuses(path: Path) -> None:
        raise OSError(5, f"Input/output error: {path}")

    monkeypatch.setattr(Path, "unlink", refuses)
    with pytest.raises(OSError, match="0000000001"):
        wal.delete_through(covered[0])
    monkeypatch.undo()
    wal.delete_through(covered[1])
    assert list(tmp_path.iterdir()) == []
    assert wal.size_bytes == 0
    wal.close()
