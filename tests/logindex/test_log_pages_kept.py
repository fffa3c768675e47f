"""Pages are the same whether what they need is read, or kept from a search before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd import _native
from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.log_predicate import And, Equals, Everything, Not, Or, Phrase, Predicate, Token
from obsd.model.log_record import LogRecord
from tests.logindex.matching import matches
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

EVER = (-(1 << 62), 1 << 62)
RECORDS = 600
CACHE_BYTES = 64 << 20

PREDICATES: tuple[Predicate, ...] = (
    Everything(),
    Equals("id", "90007"),
    Equals("id", "90300"),
    Equals("id", "none"),
    Equals("id", "key-31"),
    Or((Equals("id", "90007"), Equals("id", "90471"))),
    Not(Equals("id", "90007")),
    And((Equals("service", "shop"), Equals("level", "error"))),
    Phrase(None, ("pool", "exhausted")),
    Phrase(None, ("pool", "empty")),
    Token("body", "exhausted"),
    Token(None, "job"),
    Token(None, "17"),
    Equals("n", "7"),
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    options = LogOptions(granule_rows=100)
    engine = LogEngine.open(tmp_path / "logs", options, ManualClock(NOW_MS))
    for first in range(0, RECORDS, 150):
        write(engine, [_record(number) for number in range(first, first + 150)])
    engine.settle()
    write(engine, [_record(number) for number in range(RECORDS, RECORDS + 130)])
    yield engine
    engine.close()
    _native.bound_log_columns(CACHE_BYTES)


def _record(number: int) -> LogRecord:
    body = (
        f"Connection pool exhausted after {number} ms",
        f"job {number % 40} done in zone a{number % 7}",
        "nothing to do",
    )[number % 3]
    identity = f"Key-{number}" if number % 31 == 0 else str(90_000 + number)
    return record(
        body,
        time_ns=NOW_NS - number * 1000,
        service="shop" if number % 2 else "cart",
        severity_number=17 if number % 5 == 0 else 9,
        attributes={"id": identity, "n": number % 11},
    )


def _pages(engine: LogEngine, predicate: Predicate) -> list[tuple[int, bytes, str | None]]:
    pages = []
    for limit, newest_first in ((7, True), (7, False), (1000, True)):
        page = engine.search_entries(
            predicate, *EVER, limit, None, QueryBudget(), newest_first=newest_first
        )
        pages.append((page.total, page.entries, page.next_cursor))
    return pages


@pytest.mark.parametrize("predicate", PREDICATES, ids=str)
def test_what_is_kept_changes_no_page(engine: LogEngine, predicate: Predicate) -> None:
    _native.bound_log_columns(0)
    assert _native.log_columns_bytes() == 0
    read = _pages(engine, predicate)
    assert _native.log_columns_bytes() == 0
    everything = engine.search(Everything(), *EVER, 1000, None, QueryBudget()).records
    assert read[0][0] == sum(matches(predicate, each) for each in everything)
    _native.bound_log_columns(CACHE_BYTES)
    assert _pages(engine, predicate) == read
    assert _pages(engine, predicate) == read
    assert (_native.log_columns_bytes() > 0) == (read[0][0] > 0)
