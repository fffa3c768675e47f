"""Queries over the real engine find what the rules say, in memory and in segments."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsd.logindex.engine import LogEngine
from obsd.logindex.options import LogOptions
from obsd.logsearch import compile_query
from obsd.model.budget import QueryBudget
from obsd.model.clock import ManualClock
from obsd.model.log_record import LogRecord, Value
from obsd.services.log_encoding import encode_logs
from tests.oracles.log_predicate import matches

NOW_NS = 1_800_000_000_000_000_000
COUNT = 600

BODIES: list[Value] = [
    "Connection refused by 10.0.0.1",
    "connection: REFUSED",
    "GET /health 200",
    "user_id=42 took 1.5s => ok",
    "größe Straße 中文 नमस्ते",
    "",
    "x" * 300,
    {"user": "alice", "n": [1, 2]},
    ["list", "of words"],
    42,
    1.5,
    True,
    b"\x00\xff",
    None,
]
VALUES: list[Value] = [
    "api", "API", "api-gateway", "/health", "/health/live", "500", "5e2", "abc", "", "true",
    500, 499, -3, 0, 500.0, 0.1, True, False, b"\xab", None, [1, "api", [2]], {"id": 7}, [], {},
]  # fmt: skip
NAMES = ["path", "status", "user", "user.id", "tags", "odd name"]


def make_records() -> list[LogRecord]:
    choose = random.Random(7)
    records = []
    for number in range(COUNT):
        resource: dict[str, Value] = {"host": choose.choice(["h1", "h2"])}
        service = choose.choice(["", "api", "API", "web-1"])
        if service:
            resource["service.name"] = service
        names = choose.sample(NAMES, choose.randrange(4))
        records.append(
            LogRecord(
                time_ns=NOW_NS - number * 1_000_000_000,
                observed_ns=NOW_NS,
                severity_number=choose.choice([0, 1, 6, 9, 13, 17, 21, 24]),
                severity_text=choose.choice(["", "Warning", "ERR", "odd"]),
                service=service,
                body=choose.choice(BODIES),
                trace_id=choose.choice(["", "5b8efff798038103d269b633813fc60c"]),
                span_id=choose.choice(["", "eee19b7ec3c1b174"]),
                resource=resource,
                attributes={name: choose.choice(VALUES) for name in names},
            )
        )
    return records


RECORDS = make_records()


@pytest.fixture(scope="module", params=["memory", "segments", "both"])
def engine(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogEngine]:
    directory: Path = tmp_path_factory.mktemp(request.param)
    options = LogOptions(granule_rows=64)
    engine = LogEngine.open(directory, options, ManualClock(NOW_NS // 1_000_000))
    for start in range(0, COUNT, 100):
        durable = threading.Event()
        body = encode_logs(RECORDS[start : start + 100])
        outcome = engine.write(body, lambda error, durable=durable: durable.set())
        assert (outcome.accepted, outcome.rejected) == (100, {})
        assert durable.wait(10)
        if request.param == "segments" or (request.param == "both" and start < 300):
            engine.flush()
    yield engine
    engine.close()


WORDS = """refused connection conn* *fuse* c?nn* "connection refused" 10.0.0.1 10.0.* /ref.sed/
/REF/i 42 500 größe STRASSE straße 中文 नमस्ते => "=> ok" alice words true api *:api* xxx* ff * 1
5b8efff798038103d269b633813fc60c eee19b7ec3c1b174"""
VALUES_ASKED = """api api* *api* *PI a?i /^a.i$/ 500 500.0 5e2 true false "" * /health /health* >100
>=499 <0 <=0.1 >abc [0 TO 500] {0 TO 500} [* TO 0} ["a" TO "b"] (api OR 500) (* -api) ab 7 1 2"""
FIELDS = (
    """path status user user.id tags "odd name" service host body body.user body.n none trace_id"""
)


def split(text: str) -> list[str]:
    """At spaces outside of quotes and brackets."""
    return re.findall(r'(?:"[^"]*"|\([^)]*\)|[\[{][^\]}]*[\]}]|[^\s"(\[{])+', text)


LEVELS = [
    "level:error",
    "level:>=warn",
    "level:<info",
    "level:*",
    "level:w*",
    "severity:{info TO *]",
]
TIMES = ["time:>-2m", "time:[-5m TO -1m}", "time:*", f"time:<={NOW_NS // 10**9 - 300}"]
TERMS = st.one_of(
    st.sampled_from(split(WORDS) + LEVELS + TIMES),
    st.builds("{}:{}".format, st.sampled_from(split(FIELDS)), st.sampled_from(split(VALUES_ASKED))),
)
QUERIES = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds("({} {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT {}".format, inner),
    ),
    max_leaves=5,
)


def check(engine: LogEngine, query: str) -> None:
    predicate = compile_query(query, NOW_NS)
    expected = [record for record in RECORDS if matches(predicate, record)]
    page = engine.search(predicate, 0, NOW_NS + 1, COUNT, None, QueryBudget())
    assert [r.time_ns for r in page.records] == [r.time_ns for r in expected], query
    assert (page.total, page.total_exact) == (len(expected), True)
    assert page.records == expected


TERMS_ONE_BY_ONE = split(WORDS) + LEVELS + TIMES
TERMS_ONE_BY_ONE += [f"{f}:{v}" for f in split(FIELDS) for v in split(VALUES_ASKED)]


def test_each_term_finds_what_the_rules_say(engine: LogEngine) -> None:
    for query in TERMS_ONE_BY_ONE:
        check(engine, query)


@settings(max_examples=300, deadline=None)
@given(query=QUERIES)
def test_queries_find_what_the_rules_say(engine: LogEngine, query: str) -> None:
    check(engine, query)
