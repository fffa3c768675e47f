"""A record that is sent again is kept once; whatever differs is kept."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from obsd.durable import wal
from obsd.durable.records import iter_records
from obsd.logindex import duplicates, filenames
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.logindex.wal_record import MAGIC, WalRecord
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import StorageUnavailableError
from obsd.model.log_predicate import Everything
from obsd.model.log_record import LogRecord
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request, write, write_body

EVER = (-(1 << 62), 1 << 62)

Open = Callable[..., LogEngine]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def open_engine(tmp_path: Path, clock: ManualClock) -> Iterator[Open]:
    engines: list[LogEngine] = []

    def open_one(name: str = "logs") -> LogEngine:
        engines.append(LogEngine.open(tmp_path / name, LogOptions(granule_rows=16), clock))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def stored(engine: LogEngine) -> list[LogRecord]:
    return list(engine.arrived(-1, 10_000, Everything(), QueryBudget())[0])


def lines(count: int, **fields: Any) -> list[LogRecord]:
    return [record(f"line {n}", NOW_NS + n, **fields) for n in range(count)]


def test_a_request_that_is_sent_again_changes_nothing(open_engine: Open) -> None:
    engine = open_engine()
    for _ in range(3):
        outcome = write(engine, lines(30))
        assert (outcome.accepted, outcome.rejected) == (30, {})
        assert stored(engine) == lines(30)
    stats = engine.stats()
    assert (stats.records, stats.duplicates) == (30, 60)
    assert engine.last_row() == 29


def test_records_are_known_in_other_requests_and_in_the_same(open_engine: Open) -> None:
    engine = open_engine()
    sent = lines(10)
    write(engine, [sent[0], sent[0], sent[1]])
    write(engine, [sent[2], sent[1], sent[3], sent[0], sent[3]])
    assert stored(engine) == sent[:4]
    write(engine, sent)
    assert stored(engine) == sent


def test_what_differs_in_anything_is_kept(open_engine: Open) -> None:
    engine = open_engine()
    one = record("same", attributes={"a": 1})
    others = [
        replace(one, body="other"),
        replace(one, time_ns=NOW_NS + 1, observed_ns=NOW_NS + 1),
        replace(one, severity_number=9),
        replace(one, severity_text="INFO"),
        replace(one, attributes={"a": 1.0}),
        replace(one, attributes={"b": 1}),
        replace(one, attributes={"a": 1, "b": 1}),
        replace(one, resource={"host": "h"}),
        replace(one, trace_id="0af7" * 8),
        replace(one, span_id="8f" * 8),
    ]
    write(engine, [one, *others])
    assert stored(engine) == [one, *others]


def test_it_does_not_count_when_a_record_was_observed(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, [record("a", observed_ns=NOW_NS + 5)])
    write(engine, [record("a", observed_ns=NOW_NS + 9)])
    assert [each.observed_ns for each in stored(engine)] == [NOW_NS + 5]


def test_records_without_a_time_are_never_the_same(open_engine: Open) -> None:
    engine = open_engine()
    for _ in range(2):
        write(engine, [record("a", 0)] * 10)
    assert len(stored(engine)) == 20


def test_distinct_records_are_kept_as_often_as_they_come(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, [record("a")] * 10, distinct=True)
    write(engine, [record("a")] * 10, distinct=True)
    assert len(stored(engine)) == 20


@pytest.mark.parametrize("between", ["nothing", "flush", "settle"])
def test_a_restart_and_a_crash_forget_nothing_of_late(
    open_engine: Open, tmp_path: Path, between: str
) -> None:
    engine = open_engine()
    sent = lines(40)
    write(engine, sent[:20])
    write(engine, sent[10:30])  # Half of it is known: replay must number the rest the same way.
    if between != "nothing":
        getattr(engine, between)()
    write(engine, sent[25:35])
    before = stored(engine)
    assert before == sent[:35]
    shutil.copytree(tmp_path / "logs", tmp_path / "crashed")
    engine.close()
    for name in ("crashed", "logs"):
        again = open_engine(name)
        assert stored(again) == before
        write(again, sent)
        assert stored(again) == sent
        assert again.last_row() == 39


def test_what_a_power_failure_takes_from_the_wal_is_not_known(
    open_engine: Open, tmp_path: Path
) -> None:
    engine = open_engine()
    write(engine, lines(3))
    hindered = tmp_path / "logs" / filenames.SEGMENTS_DIRECTORY / "MANIFEST.tmp"
    hindered.mkdir()
    with pytest.raises(StorageUnavailableError):
        engine.flush()  # It would have written what is known, while the WAL need not be synced.
    shutil.copytree(
        tmp_path / "logs",
        tmp_path / "lost",
        ignore=shutil.ignore_patterns(filenames.WAL_DIRECTORY),
    )
    hindered.rmdir()
    again = open_engine("lost")
    write(again, lines(3))
    assert stored(again) == lines(3)


def test_what_a_flush_did_not_come_to_store_is_known(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    write(engine, lines(3))
    hindered = tmp_path / "logs" / f"{filenames.SEEN}.tmp"
    hindered.mkdir()
    with pytest.raises(StorageUnavailableError):
        engine.flush()
    assert stored(engine) == lines(3)
    write(engine, lines(3))
    hindered.rmdir()
    shutil.copytree(tmp_path / "logs", tmp_path / "crashed")
    again = open_engine("crashed")
    write(again, lines(4))
    assert stored(again) == lines(4)
    again.flush()
    assert again.stats().wal_bytes == 0


def test_what_turns_out_to_be_lost_while_it_is_stored_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / filenames.SEEN
    known = duplicates.Duplicates(path, NOW_MS)
    store = known.snapshot()
    known.notice_damage(1)
    store()
    assert not path.exists()
    known.snapshot()()
    assert path.exists()
    known.close()


def test_the_wal_says_what_was_left_out(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    sent = lines(4)
    write(engine, sent[:2])
    write(engine, [sent[2], sent[1], sent[3], sent[0]])
    write(engine, sent[:2])
    (path,) = (tmp_path / "logs" / filenames.WAL_DIRECTORY).iterdir()
    found = [WalRecord.decode(each.payload) for each in iter_records(path, MAGIC)]
    assert [(each.first_row, tuple(each.dropped)) for each in found] == [
        (0, ()),
        (2, (1, 3)),
        (4, ()),
    ]
    assert found[2].size_bytes == 0  # Nothing to keep, but something to wait for.
    for each in found:
        assert WalRecord.decode(b"".join(each.encode())) == each


def test_a_damaged_list_is_no_obstacle(
    open_engine: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()
    write(engine, lines(3))
    engine.close()
    path = tmp_path / "logs" / filenames.SEEN
    path.write_bytes(path.read_bytes()[:-1])
    engine = open_engine()
    assert "is damaged" in caplog.text
    write(engine, lines(3))
    assert len(stored(engine)) == 6


def test_old_ones_are_let_go_of(open_engine: Open, clock: ManualClock) -> None:
    engine = open_engine()
    write(engine, lines(5))
    for _ in range(2):
        engine.flush_due()
        write(engine, lines(5))
        clock.advance_ms(duplicates.ROTATE_MS)
    assert len(stored(engine)) == 5
    engine.flush_due()
    write(engine, [record(f"line {n}", NOW_NS + n) for n in range(5)])
    assert len(stored(engine)) == 10
    engine.flush_due()


def test_what_was_not_stored_is_not_known(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(wal.Wal, "append", refuse)
        with pytest.raises(StorageUnavailableError):
            engine.write(request(lines(3)), lambda _: None)
    write(engine, lines(3))
    assert stored(engine) == lines(3)


def test_a_sync_that_fails_makes_a_request_that_relies_on_it_fail(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()
    syncing, go_on = threading.Event(), threading.Event()
    answers: list[Exception | None] = []
    both = threading.Barrier(2)

    def fail(_: int) -> None:
        syncing.set()
        assert go_on.wait(10)
        raise OSError(5, "Input/output error")

    def on_durable(error: Exception | None) -> None:
        answers.append(error)
        if len(answers) == 2:
            both.wait(10)

    with caplog.at_level(logging.CRITICAL), monkeypatch.context() as patched:
        patched.setattr(wal.os, "fdatasync", fail)
        engine.write(request(lines(3)), on_durable)
        assert syncing.wait(10)
        engine.write(request(lines(3)), on_durable)  # Its sender has lost patience.
        go_on.set()
        both.wait(10)
    assert all(isinstance(each, StorageUnavailableError) for each in answers)
    write_body(engine, request(lines(3)))
    assert len(stored(engine)) == 6  # Kept twice rather than lost.
