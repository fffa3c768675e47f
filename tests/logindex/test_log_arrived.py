"""Records in order of arrival, through flushes, merges, restarts and concurrent writes."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import BadInputError, QueryCanceledError
from obsd.model.log_predicate import Everything, Predicate, Regex, Token
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

DAY_MS = 86_400_000
OPTIONS = LogOptions(retention_ms=None, granule_rows=7, merge_run=2)
ANY = Everything()


def all_arrived(
    engine: LogEngine, limit: int, predicate: Predicate = ANY, after_row: int = -1
) -> list[object]:
    """Bodies, page by page."""
    found: list[object] = []
    while True:
        records, last = engine.arrived(after_row, limit, predicate, QueryBudget())
        assert len(records) <= limit
        found += [each.body for each in records]
        if last == after_row:
            return found
        assert len(records) == limit or last == engine.last_row()
        after_row = last


steps = st.one_of(
    st.lists(st.integers(0, 3), min_size=1, max_size=12),  # Days ago of records to write.
    st.sampled_from(["flush", "compact", "settle", "restart"]),
)


@settings(max_examples=15, deadline=None)
@given(script=st.lists(steps, max_size=12), limit=st.integers(1, 9))
def test_arrival_is_in_the_order_of_writes_whatever_the_times_are(
    tmp_path_factory: pytest.TempPathFactory, script: list[list[int] | str], limit: int
) -> None:
    directory = tmp_path_factory.mktemp("arrived")
    engine = LogEngine.open(directory, OPTIONS, ManualClock(NOW_MS))
    count = 0
    for step in script:
        if isinstance(step, list):
            days = enumerate(step, count)
            write(engine, [record(f"r{n}", NOW_NS - d * DAY_MS * 1_000_000) for n, d in days])
            count += len(step)
        elif step == "restart":
            engine.close()
            engine = LogEngine.open(directory, OPTIONS, ManualClock(NOW_MS))
        else:
            getattr(engine, step)()
        assert engine.last_row() == count - 1
        assert all_arrived(engine, limit) == [f"r{n}" for n in range(count)]
    half = count // 2
    assert all_arrived(engine, limit, after_row=half) == [f"r{n}" for n in range(half + 1, count)]
    odd = [f"r{n}" for n in range(count) if n % 2]
    assert all_arrived(engine, limit, Regex("body", "[13579]$")) == odd
    engine.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    engine = LogEngine.open(tmp_path / "logs", OPTIONS, ManualClock(NOW_MS))
    yield engine
    engine.close()


def test_rows_that_do_not_match_are_passed_over(engine: LogEngine) -> None:
    write(engine, [record(f"r{n}") for n in range(50)])
    found, last = engine.arrived(-1, 5, Token(None, "r17"), QueryBudget())
    assert [each.body for each in found] == ["r17"]
    assert last == engine.last_row() == 49
    assert engine.arrived(last, 5, ANY, QueryBudget()) == ([], 49)
    assert engine.arrived(1000, 5, ANY, QueryBudget()) == ([], 1000)


def test_records_past_retention_do_not_arrive(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    engine = LogEngine.open(tmp_path / "logs", LogOptions(retention_ms=2 * DAY_MS), clock)
    write(engine, [record("old", NOW_NS - DAY_MS * 1_000_000), record("new")])
    clock.advance_ms(DAY_MS + 1)
    assert all_arrived(engine, 1) == ["new"]
    engine.close()


def test_a_canceled_look_stops_and_a_bad_pattern_is_bad_input(engine: LogEngine) -> None:
    write(engine, [record("a")])
    budget = QueryBudget()
    budget.cancel()
    with pytest.raises(QueryCanceledError):
        engine.arrived(-1, 1, ANY, budget)
    with pytest.raises(BadInputError):
        engine.arrived(-1, 1, Regex("body", "("), QueryBudget())


def test_nothing_is_skipped_while_writes_flushes_and_merges_go_on(engine: LogEngine) -> None:
    writers, batches = 3, 40
    stop = threading.Event()

    def maintain() -> None:
        while not stop.is_set():
            engine.flush()
            engine.compact()

    def write_all(writer: int) -> None:
        for n in range(batches):
            write(engine, [record(f"{writer}-{n}-{i}") for i in range(5)])

    threads = [threading.Thread(target=write_all, args=(n,)) for n in range(writers)]
    maintenance = threading.Thread(target=maintain)
    for thread in [maintenance, *threads]:
        thread.start()
    seen: list[str] = []
    last = -1
    try:
        while len(seen) < writers * batches * 5:
            records, last = engine.arrived(last, 50, ANY, QueryBudget())
            seen += [str(each.body) for each in records]
            assert len(set(seen)) == len(seen)
            if not any(thread.is_alive() for thread in threads) and last == engine.last_row():
                break
    finally:
        stop.set()
        for thread in [maintenance, *threads]:
            thread.join()
    assert len(seen) == writers * batches * 5
    for writer in range(writers):  # Each writer waits for its answer: its records are in sequence.
        own = [body for body in seen if body.startswith(f"{writer}-")]
        assert own == [f"{writer}-{n}-{i}" for n in range(batches) for i in range(5)]


@settings(max_examples=15, deadline=None)
@given(script=st.lists(steps, max_size=10), cuts=st.lists(st.integers(-1, 40), max_size=4))
def test_counts_of_what_arrived_add_up(
    tmp_path_factory: pytest.TempPathFactory, script: list[list[int] | str], cuts: list[int]
) -> None:
    engine = LogEngine.open(tmp_path_factory.mktemp("counted"), OPTIONS, ManualClock(NOW_MS))
    bodies: list[str] = []
    for step in script:
        if isinstance(step, list):
            texts = [f"kind {days}" for days in step]
            times = [NOW_NS - days * DAY_MS * 1_000_000 for days in step]
            sent = [record(text, ns) for text, ns in zip(texts, times, strict=True)]
            write(engine, sent, distinct=True)
            bodies += texts
        elif step == "flush":
            engine.flush()
        elif step != "restart":
            engine.settle()
    bounds = sorted({-1, engine.last_row(), *(cut for cut in cuts if cut < len(bodies))})
    found: Counter[str] = Counter()
    for after, through in itertools.pairwise(bounds):
        counts = engine.count_arrived(
            after, through, Token("body", "kind"), ["body"], QueryBudget()
        )
        assert dict(counts) == {
            (body,): n for body, n in Counter(bodies[after + 1 : through + 1]).items()
        }
        found.update({body: n for (body,), n in counts})
    assert found == Counter(bodies)
    engine.close()
