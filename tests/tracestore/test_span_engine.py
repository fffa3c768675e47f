"""The span engine: refusals, traces in pieces, followers, memory, damage, a disk that refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import (
    BadInputError,
    OverloadedError,
    QueryCanceledError,
    StorageUnavailableError,
    TooLargeError,
    UndecodableError,
)
from obsd.model.head_memory import HeadMemory
from obsd.model.span import ServiceSpans, Span, SpanKind, StatusCode, TraceSummary
from obsd.model.span_predicate import CompareField, Field
from obsd.services.protobuf import bytes_field
from obsd.services.span_encoding import encode_spans
from obsd.services.span_store import TraceOrder, TraceSearch
from obsd.tracestore import filenames
from obsd.tracestore.engine import SpanEngine
from obsd.tracestore.options import SpanOptions
from tests.services.spans import NOW_MS, NOW_NS, SECOND_NS, make_span
from tests.tracestore.spans_written import (
    ANY,
    DAY_NS,
    EVER,
    FOREVER,
    every_page,
    traces_of,
    write,
    write_body,
)

Open = Callable[..., SpanEngine]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "traces"


@pytest.fixture
def open_engine(directory: Path, clock: ManualClock) -> Iterator[Open]:
    engines: list[SpanEngine] = []

    def open_one(options: SpanOptions = FOREVER, **changes: object) -> SpanEngine:
        engines.append(SpanEngine.open(directory, replace(options, **changes), clock))  # type: ignore[arg-type]
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


def ids(spans: list[Span]) -> list[int]:
    return [int(span.span_id, 16) for span in spans]


def shop(trace: int, at_ns: int = NOW_NS) -> list[Span]:
    """A checkout whose payment failed."""
    below = {"parent_id": f"{1:016x}", "kind": SpanKind.CLIENT}
    return [
        make_span(trace, 1, name="checkout", start_ns=at_ns, end_ns=at_ns + SECOND_NS),
        make_span(
            trace,
            2,
            service="payments",
            name="pay",
            start_ns=at_ns + 10,
            end_ns=at_ns + 500,
            status=StatusCode.ERROR,
            **below,
        ),
    ]


@pytest.mark.parametrize("stored", ["memory", "segments", "both"])
def test_a_trace_in_pieces_is_one(open_engine: Open, stored: str) -> None:
    engine = open_engine()
    root, payment = shop(7)
    write(engine, [payment])
    if stored != "memory":
        engine.flush()
    write(engine, [root])
    if stored == "segments":
        engine.flush()
    assert engine.trace(root.trace_id, QueryBudget()) == [root, payment]
    services = {"web": ServiceSpans(1, 0), "payments": ServiceSpans(1, 1)}
    whole = TraceSummary(root.trace_id, "web", "checkout", NOW_NS, SECOND_NS, 2, 1, services)
    failed = CompareField(Field("intrinsic", "status"), "=", 2)
    assert traces_of(engine, failed) == [whole]
    engine.settle()
    assert engine.stats().segments == 1
    assert traces_of(engine, failed) == [whole]


def test_what_is_not_known_is_nothing(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, shop(1))
    for _ in range(2):
        assert engine.trace("ab" * 16, QueryBudget()) == []
        assert engine.otlp("ab" * 16, QueryBudget()) is None
        engine.flush()
    for wrong in ("", "xy" * 16, "ab" * 8, "ab" * 17, " ab" * 11):
        with pytest.raises(BadInputError):
            engine.trace(wrong, QueryBudget())


def test_a_span_that_comes_again_counts_once(open_engine: Open) -> None:
    engine = open_engine()
    first = make_span(1, 1, name="before")
    again = replace(first, name="after")
    of_client = replace(first, kind=SpanKind.CLIENT)  # Zipkin's two halves share an id.
    write(engine, [first])
    engine.flush()
    write(engine, [again, of_client])
    for _ in range(3):
        found = engine.trace(first.trace_id, QueryBudget())
        assert sorted(map(repr, found)) == sorted(map(repr, [again, of_client]))
        (trace,) = traces_of(engine)
        assert trace.spans == 2
        engine.settle()


def test_refused_spans_are_counted_and_the_others_stored(open_engine: Open) -> None:
    engine = open_engine(SpanOptions(), max_span_bytes=1000, max_attributes=3)
    good = make_span(1, 1)
    bad = [
        make_span(1, 2, trace_id="00" * 16),
        make_span(1, 3, span_id="00" * 8),
        make_span(1, 4, start_ns=NOW_NS - 8 * DAY_NS, end_ns=NOW_NS),
        make_span(1, 5, name="x" * 1000),
        make_span(1, 6, attributes={f"k{n}": n for n in range(4)}),
    ]
    outcome = write(engine, [*bad[:2], good, *bad[2:]])
    assert outcome.accepted == 1
    assert outcome.rejected == {
        "invalid_trace_id": 1,
        "invalid_span_id": 1,
        "too_old": 1,
        "too_large": 1,
        "too_many_attributes": 1,
    }
    assert len(outcome.messages) == 5
    assert ids(engine.trace(good.trace_id, QueryBudget())) == [1]
    assert engine.stats().rejected == outcome.rejected
    assert engine.stats().spans == 1


def test_what_is_no_request_stores_nothing(open_engine: Open, directory: Path) -> None:
    engine = open_engine(max_span_bytes=1 << 30)

    def told(error: Exception | None) -> None:
        pytest.fail(f"nothing was written, yet its durability is told: {error}")

    with pytest.raises(UndecodableError):
        engine.write(b"\x0a\xff", told)
    empty_events = bytes_field(1, b"t" * 16) + bytes_field(2, b"s" * 8) + b"\x5a\x00" * 12_000_000
    with pytest.raises(TooLargeError):
        engine.write(bytes_field(1, bytes_field(2, bytes_field(2, empty_events))), told)
    assert engine.last_row() == -1
    assert engine.stats().wal_bytes == 0
    empty: list[Exception | None] = []
    assert engine.write(b"", empty.append).accepted == 0
    assert empty == [None]
    assert list((directory / filenames.WAL_DIRECTORY).iterdir()) == []


def test_pages_neither_repeat_nor_leave_out(open_engine: Open) -> None:
    engine = open_engine()
    for trace in range(40):
        at_ns = NOW_NS - (trace % 8) * SECOND_NS  # Many begin at one time.
        write(engine, shop(trace + 1, at_ns))
        if trace % 7 == 6:
            engine.flush()
    for order in TraceOrder:
        for limit in (1, 7, 40, 100):
            found = every_page(engine, TraceSearch(ANY, *EVER, limit=limit, order=order))
            assert len({trace.trace_id for trace in found}) == len(found) == 40
    newest = every_page(engine, TraceSearch(ANY, *EVER, limit=9))
    assert [t.start_ns for t in newest] == sorted((t.start_ns for t in newest), reverse=True)
    for cursor in ("", "1", "x_00", "1_00", f"{1 << 70}_{'00' * 16}"):
        with pytest.raises(BadInputError):
            engine.search(TraceSearch(ANY, *EVER, cursor=cursor), QueryBudget())


def test_a_bad_pattern_is_the_caller_s_fault(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, shop(1))
    wrong = CompareField(Field("span", "a"), "=~", "(")
    with pytest.raises(BadInputError):
        traces_of(engine, wrong)
    with pytest.raises(BadInputError):
        engine.arrived(-1, 10, wrong, QueryBudget())
    with pytest.raises(BadInputError):
        list(engine.scan(wrong, [], *EVER, QueryBudget()))
    with pytest.raises(BadInputError):
        engine.delete(wrong, *EVER, QueryBudget())


def test_a_query_that_is_canceled_ends(open_engine: Open) -> None:
    engine = open_engine()
    write(engine, shop(1))
    engine.flush()
    write(engine, shop(2))
    budget = QueryBudget()
    budget.cancel()
    with pytest.raises(QueryCanceledError):
        engine.search(TraceSearch(ANY, *EVER), budget)
    with pytest.raises(QueryCanceledError):
        list(engine.scan(ANY, [], *EVER, budget))
    with pytest.raises(QueryCanceledError):
        engine.spans(ANY, *EVER, 10, budget)


# Followers


def test_followers_see_everything_once_before_a_flush(open_engine: Open) -> None:
    engine = open_engine()
    seen: list[int] = []
    at = -1

    def follow(through: int) -> None:
        nonlocal at
        found, at = engine.arrived(at, 1000, ANY, QueryBudget())
        assert at >= through
        seen.extend(ids(found))

    engine.before_flush.append(follow)
    for number in range(5):
        write(engine, [make_span(1, 2 * number + 1), make_span(1, 2 * number + 2)])
        if number % 2:
            engine.flush()
    engine.close()
    assert seen == list(range(1, 11))


def test_a_follower_that_fails_keeps_no_flush_from_its_end(
    open_engine: Open, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()

    def fail(_: int) -> None:
        raise ZeroDivisionError

    engine.before_flush.append(fail)
    write(engine, shop(1))
    engine.flush()
    assert "has missed some" in caplog.text
    assert engine.stats().memtable_spans == 0
    assert len(traces_of(engine)) == 1


def test_arrivals_keep_their_numbers_through_a_crash(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    write(engine, [make_span(1, n) for n in range(1, 4)])
    engine.flush()
    write(engine, [make_span(1, n) for n in range(4, 7)])
    assert engine.last_row() == 5
    shutil.copytree(tmp_path / "traces", tmp_path / "after")
    after = SpanEngine.open(tmp_path / "after", FOREVER, ManualClock(NOW_MS))
    try:
        assert after.last_row() == 5
        found, last = after.arrived(3, 10, ANY, QueryBudget())
        assert (ids(found), last) == ([5, 6], 5)
        assert ids(after.arrived(-1, 2, ANY, QueryBudget())[0]) == [4, 5]
    finally:
        after.close()


# Memory


def test_a_flush_is_due_by_spans_bytes_and_age(open_engine: Open, clock: ManualClock) -> None:
    engine = open_engine(flush_spans=3)
    assert not engine.flush_due()
    write(engine, [make_span(1, 1)])
    assert not engine.flush_due()
    write(engine, [make_span(1, 2), make_span(1, 3)])
    assert engine.flush_due()
    engine.flush()
    assert not engine.flush_due()
    write(engine, [make_span(1, 4)])
    clock.advance_ms(300_000)
    assert engine.flush_due()
    engine.close()
    engine = open_engine(flush_bytes=20_000)
    write(engine, [make_span(1, n, attributes={"text": "x" * 500}) for n in range(1, 60)])
    assert engine.flush_due()


def write_forever(engine: SpanEngine) -> None:
    for number in range(1, 10_000):
        write(engine, [make_span(1, number, attributes={"text": "x" * 500})])


def test_full_memtables_refuse_until_a_flush(open_engine: Open, directory: Path) -> None:
    memory = HeadMemory()
    options = replace(FOREVER, max_memtable_bytes=50_000)
    clock = ManualClock(NOW_MS)
    one = SpanEngine.open(directory, options, clock, memory)
    other = SpanEngine.open(directory.parent / "other", options, clock, memory)
    try:
        with pytest.raises(OverloadedError):
            write_forever(one)
        with pytest.raises(OverloadedError):
            write(other, [make_span(1, 1)])
        assert one.flush_due()
        one.flush()
        write(other, [make_span(1, 1)])
    finally:
        one.close()
        other.close()
    with pytest.raises(OverloadedError):
        write(one, [make_span(1, 1)])


def test_a_huge_trace_is_kept_and_found(open_engine: Open) -> None:
    engine = open_engine(granule_spans=16)
    spans = [make_span(1, n, start_ns=NOW_NS + n, parent_id=f"{1:016x}") for n in range(1, 2000)]
    for first in range(0, len(spans), 500):
        write(engine, spans[first : first + 500])
        engine.flush()
    write(engine, shop(2))
    for _ in range(2):
        assert engine.trace(spans[0].trace_id, QueryBudget()) == spans
        assert {trace.spans for trace in traces_of(engine)} == {1999, 2}
        engine.settle()


# Damage


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.95, 1.0])
def test_a_damaged_segment_is_set_aside_and_the_rest_serves(
    open_engine: Open, directory: Path, share: float
) -> None:
    engine = open_engine()
    for trace in range(1, 60):
        write(engine, shop(trace))
    engine.flush()
    write(engine, shop(100))
    engine.flush()
    engine.close()
    first, _ = sorted((directory / filenames.SEGMENTS_DIRECTORY).glob("*.spans"))
    data = bytearray(first.read_bytes())
    data[int((len(data) - 1) * share)] ^= 0xFF
    first.write_bytes(bytes(data))
    engine = open_engine()
    for trace in range(1, 60):
        found = engine.trace(f"{trace:032x}", QueryBudget())
        assert found in ([], shop(trace))
    assert traces_of(engine)
    everything = list(engine.scan(ANY, [], *EVER, QueryBudget()))
    assert sum(len(turn.start_ns) for turn in everything) >= 2
    assert engine.trace(f"{100:032x}", QueryBudget()) == shop(100)
    engine.settle()
    assert engine.stats().quarantined_segments == 1
    assert (directory / "quarantine" / first.name).exists()


def test_a_cut_segment_is_set_aside(open_engine: Open, directory: Path) -> None:
    engine = open_engine()
    write(engine, shop(1))
    engine.close()
    (path,) = (directory / filenames.SEGMENTS_DIRECTORY).glob("*.spans")
    whole = path.read_bytes()
    for kept in range(0, len(whole), 7):
        shutil.rmtree(directory / "quarantine", ignore_errors=True)
        path.write_bytes(whole[:kept])
        (directory / filenames.SEGMENTS_DIRECTORY / filenames.MANIFEST).unlink(missing_ok=True)
        engine = open_engine()
        assert engine.stats().quarantined_segments == 1
        assert traces_of(engine) == []
        engine.close()


def test_a_wal_record_that_does_not_decode_is_lost_alone(
    open_engine: Open, directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine()
    for trace in range(1, 10):
        write(engine, shop(trace))
    crashed = tmp_path / "crashed"
    shutil.copytree(directory, crashed)
    (segment,) = (crashed / filenames.WAL_DIRECTORY).iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(bytes(data))
    after = SpanEngine.open(crashed, FOREVER, ManualClock(NOW_MS))
    try:
        assert len(traces_of(after)) == 8
        assert "WAL is damaged" in caplog.text
        after.flush()
        assert [p.read_bytes() for p in (crashed / "quarantine").iterdir()] == [bytes(data)]
    finally:
        after.close()


def test_a_disk_that_refuses_a_flush_loses_nothing(open_engine: Open, directory: Path) -> None:
    engine = open_engine()
    write(engine, shop(1))
    segments = directory / filenames.SEGMENTS_DIRECTORY
    hidden = directory / "hidden"
    segments.rename(hidden)
    with pytest.raises(StorageUnavailableError):
        engine.flush()
    assert len(traces_of(engine)) == 1
    write(engine, shop(2))
    hidden.rename(segments)
    assert engine.flush_due()
    engine.flush()
    assert len(traces_of(engine)) == 2
    assert engine.stats().wal_bytes == 0


def test_replay_decides_as_before_whatever_is_set_now(
    open_engine: Open, directory: Path, tmp_path: Path
) -> None:
    engine = open_engine(max_attributes=2)
    small, large = (
        make_span(1, 1, attributes={"a": 1}),
        make_span(1, 2, attributes=dict.fromkeys("abc", 1)),
    )
    assert write(engine, [small, large]).accepted == 1
    shutil.copytree(directory, tmp_path / "after")
    after = SpanEngine.open(
        tmp_path / "after", replace(FOREVER, max_attributes=100), ManualClock(NOW_MS + 10**9)
    )
    try:
        assert after.trace(small.trace_id, QueryBudget()) == [small]
        assert after.last_row() == 0
    finally:
        after.close()


def test_a_request_without_times_gets_that_of_its_arrival(open_engine: Open) -> None:
    engine = open_engine()
    write_body(engine, encode_spans([make_span(1, 1, start_ns=0, end_ns=0)]))
    (found,) = engine.trace(f"{1:032x}", QueryBudget())
    assert (found.start_ns, found.end_ns) == (NOW_NS, NOW_NS)
