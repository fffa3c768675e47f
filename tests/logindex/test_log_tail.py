"""A tail has what is written while it is open, in the order of arrival, as far as there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.logindex.tail import LogArrivals
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import BadInputError, QueryCanceledError, UndecodableError
from obsd.model.log_predicate import Everything, Regex, Token
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, request, write

ANY = Everything()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    opened = LogEngine.open(tmp_path / "logs", LogOptions(granule_rows=4), ManualClock(NOW_MS))
    yield opened
    opened.close()


def bodies(arrivals: LogArrivals, limit: int = 100) -> list[object]:
    records, total = arrivals.search(ANY, limit, QueryBudget())
    assert total == arrivals.count
    return [each.body for each in records]


def test_a_tail_has_what_came_since_the_last_look(engine: LogEngine) -> None:
    write(engine, [record("before")])
    tail = engine.open_tail(1 << 20)
    assert tail.is_empty
    write(engine, [record(f"r{n}", NOW_NS - n) for n in range(10)])
    engine.flush()
    write(engine, [record("later")])
    assert not tail.is_empty
    assert bodies(tail.take()) == ["r9", *(f"r{n}" for n in range(8, -1, -1)), "later"]
    assert tail.is_empty
    arrivals = tail.take()
    assert (arrivals.count, arrivals.missed, bodies(arrivals)) == (0, 0, [])
    engine.close_tail(tail)
    write(engine, [record("after")])
    assert tail.is_empty


def test_every_tail_has_everything(engine: LogEngine) -> None:
    tails = [engine.open_tail(1 << 20) for _ in range(3)]
    write(engine, [record("a")])
    engine.close_tail(tails[1])
    write(engine, [record("b")])
    assert [bodies(tail.take()) for tail in tails] == [["a", "b"], ["a"], ["a", "b"]]


def test_what_has_no_room_is_counted(engine: LogEngine) -> None:
    small, large = [record("s")], [record("x" * 1000)] * 3
    tail = engine.open_tail(len(request(large)) + 1)
    for records in (large, large, small):  # The last one would fit; but the gap is before it.
        write(engine, records, distinct=True)
    arrivals = tail.take()
    assert (arrivals.count, arrivals.missed) == (3, 4)
    write(engine, small)
    assert bodies(tail.take()) == ["s"]


def test_refused_records_and_requests_do_not_arrive(engine: LogEngine) -> None:
    tail = engine.open_tail(1 << 20)
    write(engine, [record("old", 1), record("new")])
    with pytest.raises(UndecodableError):
        engine.write(b"\xff", lambda _: None)
    arrivals = tail.take()
    assert (arrivals.missed, bodies(arrivals)) == (0, ["new"])


def test_searches_are_bounded(engine: LogEngine) -> None:
    tail = engine.open_tail(1 << 20)
    write(engine, [record(f"n {n}", NOW_NS + n) for n in range(20)])
    arrivals = tail.take()
    records, total = arrivals.search(Token(None, "n"), 3, QueryBudget())
    assert ([each.body for each in records], total) == (["n 0", "n 1", "n 2"], 20)
    budget = QueryBudget()
    budget.cancel()
    with pytest.raises(QueryCanceledError):
        arrivals.search(ANY, 3, budget)
    with pytest.raises(BadInputError):
        arrivals.search(Regex(None, "("), 3, QueryBudget())
