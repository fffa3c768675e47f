"""The log engine: limits, refusals, pages, counts, retention, damage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model import severity
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import BadInputError, OverloadedError, QueryCanceledError, UndecodableError
from obsd.model.log_predicate import Equals, Everything, Not, Phrase, Predicate, Token
from obsd.model.log_record import LogRecord
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request, write

DAY_MS = 86_400_000
EVER = (-(1 << 62), 1 << 62)
ANY = Everything()
SECOND_NS = 1_000_000_000

Open = Callable[..., LogEngine]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def open_engine(tmp_path: Path, clock: ManualClock) -> Iterator[Open]:
    engines: list[LogEngine] = []

    def open_one(**options: int | None) -> LogEngine:
        engine = LogEngine.open(tmp_path / "logs", LogOptions(**options), clock)  # type: ignore[arg-type]
        engines.append(engine)
        return engine

    yield open_one
    for engine in engines:
        engine.close()


def search(engine: LogEngine, predicate: Predicate = ANY) -> list[LogRecord]:
    page = engine.search(predicate, *EVER, 1000, None, QueryBudget())
    assert page.total == len(page.records)
    return page.records


def test_types_come_back_as_they_were_sent(open_engine: Open) -> None:
    engine = open_engine()
    attributes = {
        "n": 7,
        "x": 7.0,
        "t": True,
        "b": b"\x00\xff",
        "none": None,
        "list": [1, "1", [2.5]],
        "map": {"a": {"b": [None]}},
    }
    sent = [
        record("text", NOW_NS, attributes=attributes),
        record({"msg": "hello", "code": 5}, NOW_NS - 1, attributes={"n": "7"}),
        record(["a", 1], NOW_NS - 2, attributes={"n": [7]}),
        record(None, NOW_NS - 3, trace_id="0af7" * 8, span_id="8f" * 8, service="api"),
    ]
    write(engine, sent)
    assert search(engine) == sent
    assert [type(v) for v in search(engine)[0].attributes.values()] == [
        type(v) for v in attributes.values()
    ]
    engine.settle()
    assert search(engine) == sent


def test_times_that_are_missing(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, [record("a", 0, observed_ns=NOW_NS - 5), record("b", 0, observed_ns=0)])
    found = {r.body: (r.time_ns, r.observed_ns) for r in search(engine)}
    assert found == {"a": (NOW_NS - 5, NOW_NS - 5), "b": (NOW_NS, NOW_NS)}


def test_bad_records_are_refused_one_by_one(open_engine: Open) -> None:
    engine = open_engine(max_body_bytes=100, max_metadata_bytes=300)
    deep: list[object] = []
    for _ in range(40):
        deep = [deep]
    outcome = write(
        engine,
        [
            record("old", NOW_NS - 8 * DAY_MS * 1_000_000),
            record("early", NOW_NS + 11 * 60 * SECOND_NS),
            record("x" * 200),
            record("meta", attributes={"a": "x" * 400}),
            record("deep", attributes={"a": deep}),
            record("good"),
        ],
    )
    assert outcome.accepted == 1
    assert outcome.rejected == {
        "too_old": 1,
        "too_far_in_future": 1,
        "body_too_large": 1,
        "metadata_too_large": 1,
        "too_deep": 1,
    }
    assert len(outcome.messages) == 5
    assert [r.body for r in search(engine)] == ["good"]
    assert engine.stats().rejected == outcome.rejected


@pytest.mark.parametrize("body", [b"\x0a", b"\xff\xff", b"\x0a\x02\x08\x01\x0a", b"{}"])
def test_what_is_no_request_stores_nothing(open_engine: Open, body: bytes) -> None:
    engine = open_engine()
    with pytest.raises(UndecodableError):
        engine.write(body, lambda _: None)
    assert search(engine) == []
    assert engine.stats().wal_bytes == 0


def test_full_memtables_refuse_writes(open_engine: Open) -> None:
    engine = open_engine(max_memtable_bytes=100)
    write(engine, [record(f"some text {n}") for n in range(10)])
    with pytest.raises(OverloadedError):
        engine.write(request([record("more")]), lambda _: None)
    engine.flush()
    write(engine, [record("more")])
    assert len(search(engine)) == 11


def test_many_keys_share_a_column(open_engine: Open) -> None:
    engine = open_engine()
    sent = [
        record(f"r{n}", NOW_NS - n, attributes={f"k{n}-{i}": f"v{n}x{i}" for i in range(50)})
        for n in range(20)
    ]
    write(engine, sent)
    assert search(engine) == sent
    assert [r.body for r in search(engine, Token(None, "v19x49"))] == ["r19"]
    assert [r.body for r in search(engine, Equals("k19-49", "v19x49"))] == ["r19"]
    engine.settle()
    assert search(engine) == sent
    names = engine.field_names(Token(None, "v19x49"), *EVER, 100, QueryBudget())
    assert len(names.counts) == 50


def test_pages_neither_repeat_nor_leave_out(open_engine: Open) -> None:
    engine = open_engine(granule_rows=10)
    write(engine, [record(f"r{n}", NOW_NS - n // 5) for n in range(95)])
    for newest_first in (True, False):
        found: list[LogRecord] = []
        cursor: str | None = None
        for _ in range(14):
            page = engine.search(
                Everything(), *EVER, 7, cursor, QueryBudget(), newest_first=newest_first
            )
            found += page.records
            assert page.total == 95
            cursor = page.next_cursor
            engine.flush()  # Cursors outlive flushes.
        assert cursor is None
        assert len({r.body for r in found}) == 95
        times = [r.time_ns for r in found]
        assert times == sorted(times, reverse=newest_first)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1_x", f"{1 << 70}_1"])
def test_a_bad_cursor_is_bad_input(open_engine: Open, cursor: str) -> None:
    with pytest.raises(BadInputError):
        open_engine().search(Everything(), *EVER, 1, cursor, QueryBudget())


def test_counts_over_time_and_by_field(open_engine: Open) -> None:
    engine = open_engine(granule_rows=10)
    sent = [
        record(
            "request done",
            NOW_NS - n * SECOND_NS,
            severity_number=17 if n % 3 == 0 else 9,
            attributes={"route": f"/r{n % 2}"} if n % 5 else {},
        )
        for n in range(60)
    ]
    write(engine, sent)
    start, end = NOW_NS - 59 * SECOND_NS, NOW_NS + SECOND_NS
    for _ in range(2):
        counts = engine.count_over_time(
            Phrase(None, ("request", "done")), start, end, 20 * SECOND_NS, (), QueryBudget()
        )
        assert [(label, c.tolist()) for label, c in counts] == [((), [20, 20, 20])]
        by_level = engine.count_over_time(
            Everything(), start, end, 60 * SECOND_NS, ["level"], QueryBudget()
        )
        assert [(label, c.tolist()) for label, c in by_level] == [
            (("error",), [20]),
            (("info",), [40]),
        ]
        routes = engine.field_values(Everything(), "route", *EVER, 10, QueryBudget())
        assert (routes.counts, routes.max_error) == ([("/r0", 24), ("/r1", 24)], 0)
        names = engine.field_names(Everything(), *EVER, 10, QueryBudget())
        assert names.counts == [("route", 48)]
        engine.settle()
    nothing = engine.count_over_time(
        Token(None, "absent"), start, end, 20 * SECOND_NS, (), QueryBudget()
    )
    assert [(label, c.tolist()) for label, c in nothing] == [((), [0, 0, 0])]


def test_levels_by_number_and_by_word(open_engine: Open) -> None:
    engine = open_engine()
    sent = [
        record(f"{word}", NOW_NS - n, severity_text=word)
        for n, word in enumerate([*severity._NUMBERS, "Odd", " WARN "])
    ]
    write(engine, sent)
    for level in severity.LEVELS:
        wanted = {r.body for r in sent if severity.level_of(0, r.severity_text) == level}
        assert {r.body for r in search(engine, Equals("level", level))} == wanted


def test_a_canceled_search_stops(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, [record("a")])
    budget = QueryBudget()
    budget.cancel()
    with pytest.raises(QueryCanceledError):
        engine.search(Everything(), *EVER, 1, None, budget)


def test_retention_hides_and_then_deletes(open_engine: Open, clock: ManualClock) -> None:
    engine = open_engine(retention_ms=2 * DAY_MS)
    write(engine, [record("old", NOW_NS - DAY_MS * 1_000_000), record("new")])
    engine.flush()
    assert engine.stats().segments == 2
    clock.advance_ms(DAY_MS + 1)
    assert [r.body for r in search(engine)] == ["new"]
    counts = engine.count_over_time(Everything(), *EVER, 1 << 61, (), QueryBudget())
    assert counts[0][1].sum() == 1
    assert engine.apply_retention() == 1
    assert engine.stats().segments == 1
    assert [r.body for r in search(engine)] == ["new"]


def test_a_day_that_is_over_becomes_one_segment(open_engine: Open, clock: ManualClock) -> None:
    engine = open_engine()
    for n in range(3):
        write(engine, [record(f"r{n}")])
        engine.flush()
    assert not engine.compact()
    clock.advance_ms(2 * DAY_MS)
    assert engine.compact()
    assert engine.stats().segments == 1
    assert len(search(engine)) == 3


def test_a_damaged_segment_is_set_aside(
    open_engine: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()
    write(engine, [record("yesterday, all well", NOW_NS - DAY_MS * 1_000_000), record("today")])
    engine.close()
    path = max((tmp_path / "logs" / "segments").glob("*.logs"))
    whole = path.read_bytes()
    for at in range(16, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        with caplog.at_level(logging.CRITICAL):
            engine = open_engine()
            bodies = [r.body for r in search(engine, Not(Token(None, "absent")))]
            found = search(engine)
        assert [r.body for r in found] == ["yesterday, all well"]
        assert set(bodies) <= {"yesterday, all well", "today"}
        assert engine.stats().quarantined_segments == 1
        engine.close()
        quarantined = tmp_path / "logs" / "quarantine" / path.name
        quarantined.unlink()
        path.write_bytes(whole)
        manifest = tmp_path / "logs" / "segments" / "MANIFEST"
        manifest.unlink()


def flip_a_byte(segment: Path) -> None:
    """In the last block."""
    data = bytearray(segment.read_bytes())
    data[-40] ^= 0x40
    segment.write_bytes(data)


class SearchMeanwhile(QueryBudget):
    """Does something when a search looks whether it may go on, at first."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work: Callable[[], object] | None = work

    def check(self) -> None:
        work, self.work = self.work, None
        if work:
            work()


def test_what_another_search_has_set_aside_fails_none(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    for body in ("first", "second"):
        write(engine, [record(body)])
        engine.flush()
    first = min((tmp_path / "logs" / "segments").glob("*.logs"))
    flip_a_byte(first)

    def other() -> None:
        assert engine.search(Everything(), *EVER, 10, None, QueryBudget()).total == 1

    budget = SearchMeanwhile(other)
    assert engine.search(Everything(), *EVER, 10, None, budget).total == 1
    assert budget.work is None
    assert engine.stats().quarantined_segments == 1


@pytest.mark.parametrize("merged", [True, False])
def test_a_head_that_is_damaged_after_it_was_read_is_not_copied(
    open_engine: Open, tmp_path: Path, merged: bool
) -> None:
    engine = open_engine(granule_rows=2)
    for bodies in (("a", "b", "gone"), ("c", "d")):
        write(engine, [record(body) for body in bodies])
        engine.flush()
    first = min((tmp_path / "logs" / "segments").glob("*.logs"))
    data = bytearray(first.read_bytes())
    data[16 + 8 + 1] ^= 0x40  # In the head of the first granule, which is whole.
    first.write_bytes(data)
    if not merged:
        engine.delete(Token("body", "gone"), *EVER, QueryBudget())
    engine.settle()
    assert [found.body for found in search(engine)] == ["d", "c"]
    assert engine.stats().segments == 1
    assert all(deletion.done_ms is not None for deletion in engine.deletions())


def test_merges_and_erasures_go_on_without_what_a_search_set_aside(
    open_engine: Open, tmp_path: Path
) -> None:
    engine = open_engine()
    for body in ("first", "second"):
        write(engine, [record(body)])
        engine.flush()
    segments = engine._catalog.live.segments
    flip_a_byte(segments[0].path)
    assert engine.search(Everything(), *EVER, 10, None, QueryBudget()).total == 1
    engine._merger._merge(segments)
    engine.delete(Token("body", "first"), *EVER, QueryBudget())
    engine._eraser._erase_from_segment(segments[0], engine._deletions.pending)
    assert engine._catalog.live.segments == segments[1:]


def test_damage_in_the_wal_costs_the_damaged_request_alone(
    open_engine: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()
    for n in range(3):
        write(engine, [record(f"r{n}")])
    directory = tmp_path / "logs" / "wal"
    (path,) = directory.glob("*.wal")
    whole = bytearray(path.read_bytes())
    engine.close()  # Flushes; what follows is the directory of a server that was killed before.
    for file in (tmp_path / "logs" / "segments").iterdir():
        file.unlink()
    whole[len(whole) // 2] ^= 0x40
    path.write_bytes(whole)
    with caplog.at_level(logging.CRITICAL):
        engine = open_engine()
    assert sorted(str(r.body) for r in search(engine)) == ["r0", "r2"]
    assert list((tmp_path / "logs" / "quarantine").glob("*"))
    engine.flush()
    write(engine, [record("r3")])
    assert len(search(engine)) == 3


def test_writes_and_searches_while_flushing_and_merging(open_engine: Open) -> None:
    """Every search sees each record that was written before it began, once."""
    engine = open_engine(granule_rows=16, merge_run=2)
    stop = threading.Event()

    def maintain() -> None:
        while not stop.is_set():
            engine.flush()
            engine.compact()

    maintenance = threading.Thread(target=maintain)
    maintenance.start()
    try:
        for n in range(60):
            write(engine, [record(f"r{n}x{i}") for i in range(5)])
            page = engine.search(ANY, *EVER, 1000, None, QueryBudget())
            assert page.total == len(page.records) == 5 * (n + 1)
    finally:
        stop.set()
        maintenance.join()


def test_odd_times_do_not_make_a_segment_each(open_engine: Open) -> None:
    engine = open_engine(retention_ms=None)
    sent = [record(f"r{n}", NOW_NS - n * DAY_MS * 1_000_000) for n in range(100)]
    write(engine, sent)
    engine.flush()
    assert engine.stats().segments <= 32
    assert search(engine) == sent


def test_large_records_fill_granules_by_size(open_engine: Open) -> None:
    engine = open_engine()
    sent = [record(chr(ord("A") + n) * 500_000, NOW_NS - n) for n in range(48)]
    for n in range(0, 48, 4):
        write(engine, sent[n : n + 4])
        engine.flush()
    engine.settle()
    stats = engine.stats()
    assert stats.segments == 1
    assert stats.granules > 1
    assert search(engine) == sent
