"""Writers, readers, flushes, merges and deletions at one time, from many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from obsd.model.budget import QueryBudget
from obsd.model.span_predicate import CompareField, Field
from obsd.services.span_store import TraceSearch
from obsd.tracestore.engine import SpanEngine
from tests.services.spans import NOW_NS, make_span
from tests.tracestore.spans_written import ANY, EVER, every_page, open_engine, write

WRITERS = 3
BATCHES = 40
SPANS = 5


def trace_number(writer: int, batch: int) -> int:
    return (writer + 1) * 1000 + batch


def write_all(engine: SpanEngine, writer: int) -> None:
    """A trace with each batch, and one span more of the trace before."""
    for batch in range(BATCHES):
        at_ns = NOW_NS - batch * 1000
        spans = [
            make_span(
                trace_number(writer, batch),
                number,
                start_ns=at_ns,
                end_ns=at_ns + number,
                attributes={"doomed": batch % 4 == 0},
            )
            for number in range(1, SPANS)
        ]
        if batch:
            before = trace_number(writer, batch - 1)
            spans.append(make_span(before, SPANS, start_ns=at_ns + 1000, end_ns=at_ns + 1001))
        write(engine, spans)


def test_nothing_is_lost_doubled_or_shown_in_part(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "traces")
    stop = threading.Event()
    failures: list[BaseException] = []

    def until_stopped(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - the test shows whatever it is
            failures.append(error)

    def search() -> None:
        found = every_page(engine, TraceSearch(ANY, *EVER, limit=17))
        assert len({trace.trace_id for trace in found}) == len(found)
        # A request is seen as a whole.
        assert all(SPANS - 1 <= trace.spans <= SPANS for trace in found)

    def look_up() -> None:
        for writer in range(WRITERS):
            found = engine.trace(f"{trace_number(writer, 3):032x}", QueryBudget())
            assert len(found) in (0, SPANS - 1, SPANS)

    def scan() -> None:
        for turn in engine.scan(ANY, [Field("span", "doomed")], *EVER, QueryBudget()):
            assert len(turn.codes[0]) == len(turn.start_ns)

    work = [search, look_up, scan, engine.flush, engine.compact, engine.stats]
    threads = [threading.Thread(target=until_stopped, args=(each,)) for each in work]
    writers = [threading.Thread(target=write_all, args=(engine, n)) for n in range(WRITERS)]
    for thread in (*threads, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    doomed = CompareField(Field("span", "doomed"), "=", value=True)
    deletion = engine.delete(doomed, *EVER, QueryBudget())
    assert deletion.matched == WRITERS * BATCHES // 4 * SPANS
    engine.erase()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    engine.settle()
    for is_new in (False, True):
        kept = open_again(engine, tmp_path) if is_new else engine
        found = every_page(kept, TraceSearch(ANY, *EVER, limit=50))
        assert len(found) == WRITERS * BATCHES * 3 // 4
        assert sum(trace.spans for trace in found) == WRITERS * (BATCHES * 3 // 4 * SPANS - 1)
    kept.close()


def open_again(engine: SpanEngine, directory: Path) -> SpanEngine:
    engine.close()
    return open_engine(directory / "traces")
