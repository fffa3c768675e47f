"""The log engine against senders and settings that go to extremes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import OverloadedError, QueryError, TooLargeError
from obsd.model.head_memory import HeadMemory
from obsd.model.log_predicate import Everything, Token
from obsd.services.protobuf import bytes_field
from tests.logindex.otlp_requests import NOW_MS, record, request, write, write_body

EVER = (-(1 << 62), 1 << 62)

Open = Callable[..., LogEngine]


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Open]:
    engines: list[LogEngine] = []

    def open_one(**options: int | None) -> LogEngine:
        engine = LogEngine.open(
            tmp_path / "logs",
            LogOptions(**options),  # type: ignore[arg-type]
            ManualClock(NOW_MS),
        )
        engines.append(engine)
        return engine

    yield open_one
    for engine in engines:
        engine.close()


def refuse_callback(error: Exception | None) -> None:
    pytest.fail(f"nothing was written, yet its durability is told: {error}")


def of_records(records: bytes) -> bytes:
    """A request of encoded `logRecords` fields."""
    return bytes_field(1, bytes_field(2, records))


def of_attribute(name: str, values: Iterable[str]) -> bytes:
    """A request of records that have this attribute."""
    records = bytearray()
    for value in values:
        any_value = bytes_field(1, value.encode())
        attribute = bytes_field(1, name.encode()) + bytes_field(2, any_value)
        records += bytes_field(2, bytes_field(6, attribute))
    return of_records(bytes(records))


def test_tiny_records_do_not_become_a_huge_batch(open_engine: Open) -> None:
    engine = open_engine()
    with pytest.raises(TooLargeError):
        engine.write(of_records(b"\x12\x00" * 4_000_000), refuse_callback)
    with pytest.raises(TooLargeError):
        engine.write(b"\x0a\x00" * 12_000_000, refuse_callback)
    assert engine.stats().records == 0
    assert engine.stats().wal_bytes == 0


def test_empty_attributes_count(open_engine: Open) -> None:
    engine = open_engine()
    told: list[Exception | None] = []
    body = of_records(bytes_field(2, b"\x32\x00" * 40_000))
    outcome = engine.write(body, told.append)
    assert outcome.rejected == {"metadata_too_large": 1}


def test_resources_count_as_memory(open_engine: Open) -> None:
    engine = open_engine()
    large = 60_000
    write(engine, [record(resource={"name": f"{n}" * (large // len(f"{n}"))}) for n in range(100)])
    assert engine.stats().memtable_bytes > 90 * large


def test_variables_count_as_memory_and_are_bounded(open_engine: Open) -> None:
    engine = open_engine()
    bodies = [f"word{'xyz'[n % 3] * n} " + "7 " * 2000 for n in range(60)]
    write(engine, [record(body) for body in bodies])
    assert 5_000_000 < engine.stats().memtable_bytes < 10_000_000
    page = engine.search(Token("body", "7"), *EVER, 100, None, QueryBudget(), newest_first=False)
    assert [found.body for found in page.records] == bodies
    engine.settle()
    page = engine.search(Everything(), *EVER, 100, None, QueryBudget(), newest_first=False)
    assert [found.body for found in page.records] == bodies


def test_a_field_with_any_number_of_values_has_its_most_frequent_ones(open_engine: Open) -> None:
    engine = open_engine()
    value = 0
    for _ in range(6):
        # Of an attribute, so that no granule tells them apart by more than its rows.
        values = [f"v{value + n}" for n in range(25_000)] + ["often"] * 3_000 + ["rare"] * 1_000
        value += 25_000
        write_body(engine, of_attribute("user", values), distinct=True)
    found = engine.field_values(Everything(), "user", *EVER, 2, QueryBudget())
    assert 0 < found.max_error <= 6 * 29_000 // 50_000
    for (name, count), (wanted, exact) in zip(
        found.counts, [("often", 18_000), ("rare", 6_000)], strict=True
    ):
        assert name == wanted
        assert exact - found.max_error <= count <= exact


def test_long_values_are_bounded_too(open_engine: Open) -> None:
    engine = open_engine()
    long = "x" * 60_000
    for first in range(0, 1_200, 100):
        values = [f"{n}{long}" for n in range(first, first + 100)]
        write_body(engine, of_attribute("user", [*values, "often", "often"]), distinct=True)
    found = engine.field_values(Everything(), "user", *EVER, 1, QueryBudget())
    assert (found.counts, found.max_error) == ([("often", 24 - found.max_error)], 1)
    with pytest.raises(QueryError, match="64 MiB"):
        engine.count_over_time(Everything(), *EVER, 1 << 62, ["user"], QueryBudget())


def test_a_retention_of_centuries(open_engine: Open) -> None:
    engine = open_engine(retention_ms=1000 * 365 * 86_400_000, max_future_ms=1 << 60)
    write(engine, [record("old", 1), record("new")])
    assert engine.search(Everything(), *EVER, 10, None, QueryBudget()).total == 2
    engine.settle()
    assert engine.apply_retention() == 0


def test_a_closed_engine_refuses_writes(open_engine: Open) -> None:
    engine = open_engine()
    engine.close()
    with pytest.raises(OverloadedError):
        engine.write(request([record()]), refuse_callback)


def test_what_is_refused_as_a_whole_is_not_logged(open_engine: Open) -> None:
    engine = open_engine()
    told: list[Exception | None] = []
    outcome = engine.write(request([record("x", 1)]), told.append)
    assert told == [None]
    assert outcome.rejected == {"too_old": 1}
    stats = engine.stats()
    assert (stats.wal_bytes, stats.rejected) == (0, {"too_old": 1})


def test_a_large_log_is_due_for_a_flush(open_engine: Open) -> None:
    engine = open_engine(flush_wal_bytes=10_000)
    write(engine, [record("one")])
    assert not engine.flush_due()
    refused = [record(Random(n).randbytes(40).hex(), 1) for n in range(2000)]
    write(engine, [record("two"), *refused])
    assert engine.flush_due()
    engine.flush()
    assert not engine.flush_due()


def test_memtables_of_all_engines_share_a_limit(tmp_path: Path) -> None:
    memory, options = HeadMemory(), LogOptions(max_memtable_bytes=100_000)
    clock = ManualClock(NOW_MS)
    first, second = (
        LogEngine.open(tmp_path / name, options, clock, memory) for name in ("first", "second")
    )
    write(first, [record("x" * 60_000)])
    assert first.flush_due()
    write(second, [record("y" * 50_000)])
    assert not second.flush_due()
    with pytest.raises(OverloadedError):
        second.write(request([record()]), refuse_callback)
    first.close()
    write(second, [record()])
    second.close()
    assert memory.total_bytes() == 0
