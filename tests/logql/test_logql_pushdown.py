"""What the engine decides changes no answer: queries give what plain filtering gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logql import LineProcessor, ast, parse, parse_log_query, run_log_query, run_range
from obsd.logql.pushdown import push_down
from obsd.model.budget import QueryBudget
from obsd.model.log_predicate import And, Everything, Not, Regex
from obsd.model.log_record import LogRecord
from tests.logql.memory_storage import MemoryStorage, S, record
from tests.oracles import logql as oracle
from tests.oracles.log_predicate import matches

keys = st.sampled_from(["app", "env", "k8s.pod.name", "host.name", "level", "status"])
texts = st.sampled_from(["api", "API", "a.b", "error", "warn", "500", ""])
bodies = st.sampled_from(
    [
        "error: x=1 status=500",
        "ERROR",
        "",
        None,
        "a.b\nc",
        "GET /a 200",
        '{"status": 500, "level": "warn", "app": "x"}',
        7,
        {"a": "error"},
    ]
)
records = st.lists(
    st.builds(
        record,
        bodies,
        st.integers(0, 60).map(lambda half: half / 2),
        service=st.sampled_from(["", "api", "web"]),
        severity_number=st.sampled_from([0, 9, 13, 17]),
        trace_id=st.sampled_from(["", "ab" * 16]),
        resource=st.dictionaries(keys, texts | st.just(500), max_size=3),
        attributes=st.dictionaries(keys, texts | st.just(2.5), max_size=3),
    ),
    max_size=14,
)
values = st.sampled_from(["api", "API", "a.b", "error", "warn", "unknown", "500", "", "web"])
regexes = st.sampled_from(
    ["a.*", "", "api|web", "[a-z]+", ".+", "(?i)api", "\\w+", "\\d+", "[^\\d]*", "unknown.*", "a.b"]
)
names = st.sampled_from(
    ["app", "env", "k8s_pod_name", "service_name", "level", "detected_level", "host_name",
     "trace_id", "status", "absent"]
)  # fmt: skip


def quoted(text: str) -> str:
    return f"`{text}`"


conditions = st.one_of(
    st.tuples(names, st.sampled_from(["=", "!="]), values.map(quoted)),
    st.tuples(names, st.sampled_from(["=~", "!~"]), regexes.map(quoted)),
).map("".join)
line_values = st.sampled_from(["error", "ERROR", "a.b", "", "status=", "x", "\n"])
line_filters = st.one_of(
    st.tuples(st.sampled_from(["|=", "!="]), st.lists(line_values, min_size=1, max_size=2)),
    st.tuples(st.sampled_from(["|~", "!~"]), st.lists(regexes, min_size=1, max_size=2)),
    st.tuples(st.sampled_from(["|>", "!>"]), st.lists(st.sampled_from(
        ["<_>error<_>", "GET <_> 200", "<_>", "a<_>c", ""]), min_size=1, max_size=2)),
).map(lambda pair: f"{pair[0]} {' or '.join(map(quoted, pair[1]))}")  # fmt: skip
stages = st.one_of(
    line_filters,
    conditions.map(lambda c: f"| {c}"),
    st.tuples(conditions, st.sampled_from(["and", "or", ","]), conditions).map(
        lambda three: f"| {' '.join(three)}"
    ),
    st.sampled_from(
        ["| status >= 500", "| json", "| logfmt", '| line_format "{{.app}}"', "| drop app",
         "| keep app, level", "| label_format app=env", "| unpack"]
    ),
)  # fmt: skip
queries = (
    st.tuples(st.lists(conditions, max_size=2), st.lists(stages, max_size=3))
    .map(lambda parts: f"{{{', '.join([*parts[0], 'service_name=~`.+`'])}}} {' '.join(parts[1])}")
    .filter(lambda text: "drop app !" not in text and "keep app, level !" not in text)
)
# What stands behind these names would be their condition, which takes no `or`.


@given(text=queries, records=records, forward=st.booleans())
def test_log_queries(text: str, records: list[LogRecord], forward: bool) -> None:
    query = parse_log_query(text)
    wanted = oracle.lines(query, records, 5 * S, 25 * S)
    result = run_log_query(
        query, MemoryStorage(records), 5 * S, 25 * S, 100, "forward" if forward else "backward",
        QueryBudget(),
    )  # fmt: skip
    found = [
        (e.time_ns, e.line, s.labels.as_dict(), e.structured_metadata, e.parsed)
        for s in result.streams
        for e in s.entries
    ]
    expected = [
        (w.time_ns, w.line, dict(w.labels), w.structured_metadata, w.parsed) for w in wanted
    ]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    for stream in result.streams:
        times = [entry.time_ns for entry in stream.entries]
        assert times == sorted(times, reverse=not forward)


@given(text=queries, records=records)
def test_a_predicate_leaves_out_nothing_that_the_stages_let_through(
    text: str, records: list[LogRecord]
) -> None:
    query = parse_log_query(text)
    pushed, processor = push_down(query), LineProcessor(query)
    is_exact = not pushed.stages and not pushed.matchers
    for each in records:
        found = processor.process(each) is not None
        admitted = matches(pushed.predicate, each)
        assert admitted >= found
        assert admitted == found or not is_exact


@pytest.mark.parametrize("op", ["|=", "!="])
def test_a_line_is_looked_at_once_for_many_texts(op: str) -> None:
    texts = " or ".join(f"`word.{number}`" for number in range(1_000))
    pushed = push_down(parse_log_query(f"{{service_name=~`.+`}} {op} {texts}"))
    assert not pushed.stages
    assert isinstance(pushed.predicate, And)
    found = pushed.predicate.of[-1]
    if op == "!=":
        assert isinstance(found, Not)
        found = found.of
    assert isinstance(found, Regex)
    assert found.pattern.startswith("word\\.0|word\\.1|")


@given(
    text=queries,
    records=records,
    op=st.sampled_from(["count_over_time", "rate", "bytes_over_time", "bytes_rate"]),
    by=st.lists(names, max_size=2, unique=True),
    range_s=st.integers(1, 9),
    step_s=st.integers(1, 9),
    offset_s=st.integers(0, 3),
)
def test_counts(
    text: str,
    records: list[LogRecord],
    op: str,
    by: list[str],
    range_s: int,
    step_s: int,
    offset_s: int,
) -> None:
    text += " | __error__=``"
    expr = parse(f"sum by ({', '.join(by)}) ({op}({text} [{range_s}s] offset {offset_s}s))")
    assert isinstance(expr, ast.VectorAggregation)
    assert isinstance(expr.expr, ast.RangeAggregation)
    start_ns, end_ns = 4 * S, 30 * S
    storage = MemoryStorage(records)
    matrix = run_range(expr, storage, start_ns, end_ns, step_s * S, QueryBudget())
    times = list(range(start_ns, end_ns + 1, step_s * S))
    wanted = oracle.counts(expr.expr, by, records, times)
    found = {
        labels: {
            time_ns: pytest.approx(value)
            for time_ns, value, there in zip(times, row, present, strict=True)
            if there
        }
        for labels, row, present in zip(matrix.labels, matrix.values, matrix.present, strict=True)
    }
    assert found == wanted
    assert list(matrix.labels) == sorted(matrix.labels)


@pytest.mark.parametrize(
    ("text", "is_counted"),
    [
        ('sum(count_over_time({app="x"} |= "a" [1m]))', True),
        ('sum by (level, app) (rate({app=~"x|y"} | detected_level="error" [1m]))', True),
        ('sum by (app) (bytes_rate({app="x"}[1m]))', True),
        ('count_over_time({app="x"}[1m])', False),
        ('sum by (a) (count_over_time({app="x"} | json [1m]))', False),
        ('sum(sum_over_time({app="x"} | unwrap a [1m]))', False),
    ],
)
def test_the_engine_counts_what_it_can(text: str, is_counted: bool) -> None:
    storage = MemoryStorage([])
    expr = parse(text)
    assert not isinstance(expr, ast.LogQuery)
    run_range(expr, storage, 0, 60 * S, S, QueryBudget())
    assert (storage.counted > 0) == is_counted


def test_nothing_is_left_to_test_where_the_engine_has_decided() -> None:
    pushed = push_down(parse_log_query('{app="x"} |= "a" !~ "b|c" | detected_level="error"'))
    assert pushed.stages == ()
    assert pushed.matchers == ()
    assert pushed.predicate != Everything()
