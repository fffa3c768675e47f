"""Patterns of a search by the engine: every record is counted once, wherever it is."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd._native import PatternMiner
from obsd.logindex import filenames
from obsd.logindex.engine import LogEngine
from obsd.logindex.inspect import inspect
from obsd.logindex.options import LogOptions
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.finding import Level
from obsd.model.log_pattern import LogPattern
from obsd.model.log_predicate import Equals, Everything, Predicate, Token
from obsd.model.log_record import LogRecord
from obsd.model.log_text import text_of
from tests.logindex.otlp_requests import NOW_MS, NOW_NS, record, write

SECOND_NS = 1_000_000_000
SPAN = (NOW_NS - 100 * SECOND_NS, NOW_NS + SECOND_NS)


def open_engine(directory: Path, rows: int = 64) -> LogEngine:
    return LogEngine.open(directory / "logs", LogOptions(granule_rows=rows), ManualClock(NOW_MS))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LogEngine]:
    opened = open_engine(tmp_path)
    yield opened
    opened.close()


def patterns(
    engine: LogEngine, predicate: Predicate | None = None, samples: int = 1000
) -> list[LogPattern]:
    return engine.patterns(predicate or Everything(), *SPAN, SECOND_NS, samples, QueryBudget())


def lines() -> list[LogRecord]:
    made = []
    for number in range(90):
        time_ns = NOW_NS - number * SECOND_NS
        level, service = (17, "shop") if number % 3 == 0 else (9, "web")
        made += [
            record(f"order {number} of user{number} took {number} ms", time_ns,
                   severity_number=level, service=service),
            record(f"link of eth{number % 2} is up", time_ns),
            record({"state": "on", "n": number}, time_ns),
        ]  # fmt: skip
    return [*made, record(None), record("a body with \x12 in it")]


def test_counts_samples_levels_and_services(engine: LogEngine) -> None:
    write(engine, lines())
    engine.flush()
    write(engine, lines(), distinct=True)
    found = {pattern.template: pattern for pattern in patterns(engine)}
    orders = found["order <_> of user<_> took <_>"]
    assert orders.count == 180
    assert orders.counts.tolist()[10:] == [0] + [2] * 90
    assert dict(orders.levels) == {"info": 120, "error": 60}
    assert dict(orders.services) == {"web": 120, "shop": 60}
    assert (orders.first_ns, orders.last_ns) == (NOW_NS - 89 * SECOND_NS, NOW_NS)
    assert orders.sample is not None
    assert orders.sample.body == "order 0 of user0 took 0 ms"
    assert list(orders.values) == ["0", "0", "0 ms"]
    assert found["link of eth<_> is up"].count == 180
    assert found['{"state":"on","n":<_>}'].count == 180
    assert sum(pattern.count for pattern in found.values()) == 2 * len(lines())
    errors = patterns(engine, Equals("level", "error"), samples=0)
    assert [(p.count, p.sample) for p in errors] == [(60, None)]


def test_ids_are_those_of_the_lines_and_stay(engine: LogEngine, tmp_path: Path) -> None:
    write(engine, lines())
    before = {p.id: p.count for p in patterns(engine)}
    bodies = [text_of(each.body) for each in lines()]
    assert Counter(engine.pattern_ids(bodies)) == before
    engine.close()
    again = open_engine(tmp_path)
    assert {p.id: p.count for p in patterns(again)} == before
    assert again.pattern_ids(bodies) == engine.pattern_ids(bodies)
    again.close()


def test_what_a_miner_has_learnt_outlives_the_process(engine: LogEngine, tmp_path: Path) -> None:
    users = ["ada", "bob", "cyd", "dan", "eve", "fay"]
    (many,) = set(engine.pattern_ids([f"quota of {user} is used up" for user in users]))
    engine.close()
    again = open_engine(tmp_path)
    assert again.pattern_ids(["quota of zoe is used up"]) == [many]
    assert again.pattern_template(many) == (many, "quota of <_> is used up")
    assert again.pattern_template("no id") is None
    again.close()


def test_values_of_the_holes(engine: LogEngine) -> None:
    write(engine, lines())
    (orders,) = [p for p in patterns(engine) if p.template.startswith("order")]
    found = engine.pattern_values(orders.id, Everything(), *SPAN, 1000, QueryBudget())
    assert found is not None
    assert found.examined == 90
    assert sorted(map(int, found.values[1])) == list(range(90))
    some = engine.pattern_values(orders.id, Everything(), *SPAN, 7, QueryBudget())
    assert some is not None
    assert some.values[2] == [f"{n} ms" for n in range(7)] or len(some.values[2]) == 7
    assert engine.pattern_values("0" * 16, Everything(), *SPAN, 7, QueryBudget()) is None


def test_damage_to_the_file_costs_only_what_was_learnt(
    engine: LogEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(engine, lines())
    expected = {p.id for p in patterns(engine)}
    engine.close()
    path = tmp_path / "logs" / filenames.PATTERNS
    assert all(finding.level is Level.OK for finding in inspect(tmp_path / "logs"))
    path.write_bytes(path.read_bytes()[:-1])
    (bad,) = [f for f in inspect(tmp_path / "logs") if f.level is not Level.OK]
    assert "checksum" in bad.message
    with caplog.at_level(logging.WARNING):
        again = open_engine(tmp_path)
        assert {p.id for p in patterns(again)} == expected
    assert "patterns are learnt anew" in caplog.text
    again.close()
    PatternMiner.load(path.read_bytes())


@settings(max_examples=40, deadline=None)
@given(
    bodies=st.lists(
        st.one_of(
            st.text(max_size=40),
            st.from_regex(r"(eth|[a-f])?[0-9]{1,3}( [a-z]{1,3}[0-9:]{0,2}){0,3}", fullmatch=True),
            st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
        ),
        max_size=150,
    )
)  # fmt: skip
def test_counts_add_up_to_what_the_search_finds(
    bodies: list[str | dict[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    engine = open_engine(tmp_path_factory.mktemp("engine"), rows=16)
    write(engine, [record(body) for body in bodies])
    total = engine.search(Everything(), *SPAN, 1, None, QueryBudget()).total
    found = patterns(engine, samples=0)
    assert sum(pattern.count for pattern in found) == total
    assert len({pattern.id for pattern in found}) == len(found)
    engine.close()


def test_what_is_erased_is_in_no_template(engine: LogEngine, tmp_path: Path) -> None:
    write(engine, [record("the secret word is xyzzy"), record("nothing to see")])
    path = tmp_path / "logs" / filenames.PATTERNS
    assert len(patterns(engine)) == 2
    engine.flush()
    assert b"xyzzy" in path.read_bytes()
    engine.delete(Token(None, "xyzzy"), *SPAN, QueryBudget())
    assert engine.erase()
    assert not path.exists()
    assert [p.template for p in patterns(engine)] == ["nothing to see"]
    engine.close()
    assert b"xyzzy" not in path.read_bytes()
