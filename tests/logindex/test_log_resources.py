"""What produced log records, and how much: in memtables and in segments, against a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.errors import BadInputError, QueryCanceledError
from obsd.model.log_predicate import Everything, Token
from obsd.model.log_record import Value
from obsd.model.resource_logs import LogAmount
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

ANY = Everything()
SECOND_NS = 1_000_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    engine = LogEngine.open(tmp_path / "logs", LogOptions(granule_rows=16), ManualClock(NOW_MS))
    yield engine
    engine.close()


def amounts(engine: LogEngine, **options: bool) -> dict[str, list[LogAmount]]:
    found = engine.resources(
        ANY, NOW_NS, NOW_NS + 10 * SECOND_NS, 2 * SECOND_NS, QueryBudget(), **options
    )
    return {repr(dict(each.resource)): list(each.amounts) for each in found}


def test_each_resource_is_there_once_with_its_steps(engine: LogEngine) -> None:
    nested: Value = {"a": [1, 2.5, None, {"b": True}]}
    resources: list[dict[str, Value]] = [{"app": "x"}, {"app": "y", "n": 3, "nested": nested}, {}]
    bodies: list[Value] = ["order 17 took 250ms", "é", {"a": 1}, "", None]
    sizes = [19, 2, 7, 0, 0]
    written = [
        record(bodies[n % 5], NOW_NS + n * SECOND_NS // 10, resource=resources[n % 3])
        for n in range(100)
    ]
    expected: dict[str, list[LogAmount]] = {repr(each): [] for each in resources}
    for which, each in enumerate(resources):
        for step in range(5):
            rows = [n for n in range(20 * step, 20 * step + 20) if n % 3 == which]
            size = sum(sizes[n % 5] for n in rows)
            expected[repr(each)].append(LogAmount(step, len(rows), size))
    write(engine, written[:40])
    engine.flush()
    write(engine, written[40:])
    assert amounts(engine, weigh=True) == expected
    unweighed = {name: [a._replace(bytes=0) for a in of] for name, of in expected.items()}
    assert amounts(engine) == unweighed
    engine.settle()
    assert amounts(engine, weigh=True) == expected


def test_only_what_matches_is_counted(engine: LogEngine) -> None:
    write(engine, [record(f"line {n}", NOW_NS + n, resource={"n": n % 2}) for n in range(10)])
    [found] = engine.resources(Token(None, "7"), NOW_NS, NOW_NS + 10, 10, QueryBudget())
    assert dict(found.resource) == {"n": 1}
    assert found.amounts == [LogAmount(0, 1, 0)]
    assert engine.resources(Token(None, "7"), NOW_NS, NOW_NS + 7, 10, QueryBudget()) == []


def test_a_range_is_one_and_the_budget_is_asked(engine: LogEngine) -> None:
    with pytest.raises(BadInputError):
        engine.resources(ANY, 0, 10, 0, QueryBudget())
    with pytest.raises(BadInputError):
        engine.resources(ANY, 10, 10, 1, QueryBudget())
    write(engine, [record("x")])
    budget = QueryBudget()
    budget.cancel()
    with pytest.raises(QueryCanceledError):
        engine.resources(ANY, NOW_NS, NOW_NS + 1, 1, budget)
