"""Texts to trees, trees to texts, and what is said of texts that are no queries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logql import LogqlParseError, ast, format_query, parse, parse_matchers, print_expr
from obsd.model.matcher import Matcher, MatchOp

VALID = [
    '{app="api"}',
    '{app="api",}',
    '{app="api", env!="dev", host=~"web-.+", zone!~"a|b"}',
    "{app=`a\\b`} # a comment",
    '{app="\\u00e9\\x41\\n"}',
    '({app="api"})',
    '{app="api"} |= "a" != "b" |~ "c.*" !~ "d"',
    '{app="api"} |= "a" or "b" or "c"',
    '{app="api"} |= ip("10.0.0.0/8") or ip("::1")',
    '{app="api"} |> "<_> took <_> ms" !> "<_>x"',
    '{app="api"} | json',
    '{app="api"} | json a="b.c[0]", d="[\\"e f\\"]", g',
    '{app="api"} | logfmt --strict --keep-empty a="b", c',
    '{app="api"} | regexp "(?P<a>\\\\d+)"',
    '{app="api"} | pattern `<ip> - <_> "<method>"`',
    '{app="api"} | unpack | decolorize',
    '{app="api"} | status >= 500 and method = "GET" or took > 1.5s',
    '{app="api"} | a="b", c="d" e!="f"',
    '{app="api"} | (a="b" or c=~"d") and size < 20KB',
    '{app="api"} | a == 1 | b != -1.5 | c > 1e3 | d = 0x10',
    '{app="api"} | addr = ip("10.0.0.1-10.0.0.9") | other != ip("::/0")',
    '{app="api"} | __error__ = "" | __error_details__ != "x"',
    '{app="api"} | line_format "{{.a}} {{ .b | ToUpper }}"',
    '{app="api"} | label_format a=b, c="{{.d}}"',
    '{app="api"} | drop a, b="c", d=~"e" | keep f',
    'rate({app="api"}[5m])',
    'count_over_time({app="api"} |= "x" [1h30m] offset 1h)',
    'count_over_time({app="api"}[5m] offset -5m)',
    'count_over_time(({app="api"} | json)[5m])',
    'count_over_time({app="api"}[5m] |= "x" | json)',
    'sum_over_time({app="api"} | json | unwrap took [5m])',
    'sum_over_time({app="api"} | unwrap duration(took) | __error__="" [5m])',
    'max_over_time({app="api"} | unwrap bytes(size) [5m]) by (app)',
    'quantile_over_time(0.99, {app="api"} | unwrap duration_seconds(t) [5m]) without (a, b)',
    'rate_counter({app="api"} | unwrap n [5m])',
    'absent_over_time({app="api"}[5m])',
    'sum(rate({app="api"}[5m])) by (a)',
    'sum by () (rate({app="api"}[5m]))',
    'SUM BY (a) (RATE({app="api"}[5m]))',
    'topk(3, rate({app="api"}[5m])) without (a)',
    'approx_topk(3, rate({app="api"}[5m]))',
    'sort_desc(count(rate({app="api"}[5m])))',
    'rate({a="b"}[1m]) / on (a) group_left (c) rate({a="b"}[1m])',
    'rate({a="b"}[1m]) > bool ignoring (a) rate({a="b"}[1m])',
    'rate({a="b"}[1m]) * on () group_right rate({a="b"}[1m])',
    'rate({a="b"}[1m]) and rate({a="b"}[1m]) unless rate({a="b"}[1m]) or vector(1)',
    "vector(1)+vector(1)",
    "1 + 2 * 3 ^ 2 ^ 2 % 5 - -1",
    "(1 + 2) * 3",
    'label_replace(rate({a="b"}[1m]), "x", "$1", "y", "(.*)")',
    '{count="a", json_field="b", duration="c", ip="d"}',
]

INVALID = {
    "": "parse error at line 1, col 1: syntax error: unexpected $end",
    "foo": "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER",
    "{": "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }",
    "{app=x}": "parse error at line 1, col 6: syntax error: unexpected IDENTIFIER, "
    "expecting STRING",
    '{app="x"': "parse error at line 1, col 9: syntax error: unexpected $end, expecting , or }",
    '{app="x': "parse error at line 1, col 6: literal not terminated",
    '{app="\\q"}': "parse error at line 1, col 6: unknown escape sequence",
    '\n {app="x"} |=': "parse error at line 2, col 14: syntax error: unexpected $end, "
    "expecting STRING or IP",
    '{app="x"} | json | ': "parse error at line 1, col 20: syntax error: unexpected $end, "
    "expecting IDENTIFIER or (",
    'rate({app="x"})': "parse error at line 1, col 15: syntax error: unexpected )",
    'rate({app="x"}[5m)': "parse error at line 1, col 15: missing closing ']' in duration",
    'rate({app="x"}[5x])': 'parse error at line 1, col 15: not a valid duration string: "5x"',
    'rate({app="x"}[])': "parse error at line 1, col 15: empty duration string",
    'rate({app="x"}[5m]': "parse error at line 1, col 19: syntax error: unexpected $end, "
    "expecting )",
    'sum({app="x"})': "parse error at line 1, col 14: syntax error: unexpected )",
}

INVALID_MEANING = {
    "{}": "queries require at least one regexp or equality matcher",
    '{app=~".*"}': "queries require at least one regexp or equality matcher",
    '{app!="x"}': "queries require at least one regexp or equality matcher",
    'rate({app=""}[1m])': "queries require at least one regexp or equality matcher",
    '{app=~"*"}': "error parsing regexp: no argument for repetition operator",
    'sum_over_time({app="x"}[1m])': "invalid aggregation sum_over_time without unwrap",
    'count_over_time({app="x"} | unwrap a [1m])': "invalid aggregation count_over_time with unwrap",
    'sum_over_time({app="x"} | unwrap a [1m]) by (b)': "grouping not allowed for sum_over_time",
    'quantile_over_time({app="x"} | unwrap a [1m])': "parameter required for operation quantile",
    'rate(5, {app="x"}[1m])': "parameter 5 not supported for operation rate",
    'topk(rate({app="x"}[1m]))': "parameter required for operation topk",
    'topk(0, rate({app="x"}[1m]))': "invalid parameter (must be greater than 0) topk(0",
    'topk(1.5, rate({app="x"}[1m]))': "invalid parameter topk(1.5,",
    'sum(1, rate({app="x"}[1m]))': "unsupported parameter for operation sum(1,",
    'sort(rate({app="x"}[1m])) by (a)': "sort and sort_desc doesn't allow grouping by",
    '1 + {app="x"}': "unexpected type for right leg of binary operation (+): *syntax.MatchersExpr",
    'rate({app="x"}[1m]) or 1': "unexpected literal for right leg of logical/set binary operation",
    '{app="x"} | regexp "a"': "at least one named capture must be supplied",
    '{app="x"} | regexp "(?P<a>"': "error parsing regexp",
    '{app="x"} | pattern "a"': "at least one capture is required",
    '{app="x"} | pattern "<a><b>"': "found consecutive capture",
    '{app="x"} |> "<a>"': "named captures are not allowed",
    '{app="x"} |= ip("300.0.0.1")': "ip: invalid pattern",
    '{app="x"} |~ ip("10.0.0.1")': "ip: invalid operation",
    '{app="x"} | json a="b["': "cannot parse expression [b[]",
    '{app="x"} | line_format "{{.a"': "unclosed action",
    '{app="x"} | line_format "{{foo}}"': 'function "foo" not defined',
    '{app="x"} | label_format a=b, a=c': "multiple label name 'a' not allowed",
    '{app="x"} | label_format __error__=b': "__error__ cannot be formatted",
}


@pytest.mark.parametrize("text", VALID)
def test_a_query_is_read_back_from_its_text(text: str) -> None:
    expr = parse(text)
    assert parse(print_expr(expr)) == expr
    assert parse(format_query(text)) == expr


@pytest.mark.parametrize(("text", "message"), INVALID.items())
def test_syntax_errors_tell_the_place(text: str, message: str) -> None:
    with pytest.raises(LogqlParseError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "message"), INVALID_MEANING.items())
def test_errors_of_meaning_tell_the_reason(text: str, message: str) -> None:
    with pytest.raises(LogqlParseError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("parse error : ")


def test_powers_bind_from_the_right_and_the_rest_from_the_left() -> None:
    assert print_expr(parse("2 ^ 3 ^ 4 - 1 - 2")) == "(((2 ^ (3 ^ 4)) - 1) - 2)"


def test_a_comma_holds_all_that_follows_together() -> None:
    loose = parse('{a="b"} | x="1", y="2" or z="3"')
    assert loose == parse('{a="b"} | x="1" and (y="2" or z="3")')


def test_long_queries_take_several_lines() -> None:
    text = f'sum by (level) (count_over_time({{app="api"}} |= "{"x" * 80}" | json [5m]))'
    assert format_query(text).splitlines() == [
        "sum by (level) (",
        "  count_over_time(",
        '    {app="api"}',
        f'      |= "{"x" * 80}"',
        "      | json [5m]",
        "  )",
        ")",
    ]


def test_a_selector_alone_may_mean_everything() -> None:
    assert parse_matchers("{}") == ()
    assert parse_matchers('{a="b"}') == (Matcher(MatchOp.EQUAL, "a", "b"),)
    with pytest.raises(LogqlParseError):
        parse_matchers('{a="b"} |= "c"')


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000,
        "1+" * 5_000 + "1",
        '{a="b"} | ' + "(" * 5_000,
        '{a="b"} | x="y"' + " or x=1" * 999,
    ],
)
def test_deep_queries_are_refused(text: str) -> None:
    with pytest.raises(LogqlParseError):
        parse(text)


names = st.sampled_from(["a", "b_1", "count", "ip", "_x"])
strings = st.text(max_size=8)
matchers = st.builds(
    Matcher,
    st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]),
    names,
    strings,
)
selectors = st.lists(matchers, max_size=2).map(
    lambda found: (Matcher(MatchOp.EQUAL, "app", "x"), *found)
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
compares: Any = st.sampled_from(["==", "!=", ">", ">=", "<", "<="])
tests = st.recursive(
    st.builds(ast.StringFilter, matchers)
    | st.builds(ast.NumberFilter, names, compares, numbers)
    | st.builds(ast.DurationFilter, names, compares, st.integers(0, 10**15))
    | st.builds(ast.BytesFilter, names, compares, st.integers(0, 10**12)),
    lambda inner: st.builds(ast.AndFilter, inner, inner) | st.builds(ast.OrFilter, inner, inner),
    max_leaves=4,
)
stages = st.one_of(
    st.builds(
        ast.LineFilter,
        st.sampled_from(["|=", "!="]),
        st.lists(st.builds(ast.LineMatch, strings), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(ast.JsonParser),
    st.builds(ast.LogfmtParser, st.booleans(), st.booleans()),
    st.builds(ast.LabelFilter, tests),
    # A name before `!=` would become a condition.
    st.builds(
        lambda items, last: ast.DropLabels((*items, last)),
        st.lists(names | matchers, max_size=2),
        matchers,
    ),
)
log_queries = st.builds(ast.LogQuery, selectors, st.lists(stages, max_size=4).map(tuple))
milliseconds = st.integers(1, 10**9).map(lambda ms: ms * 1_000_000)
groupings = st.none() | st.builds(
    ast.Grouping, st.lists(names, max_size=2).map(tuple), st.booleans()
)
metrics = st.recursive(
    st.builds(
        ast.RangeAggregation,
        st.sampled_from(["rate", "count_over_time", "bytes_rate"]),
        st.builds(ast.LogRange, log_queries, milliseconds, st.just(0) | milliseconds),
    )
    | st.builds(
        ast.RangeAggregation,
        st.just("max_over_time"),
        st.builds(
            ast.LogRange,
            log_queries,
            milliseconds,
            unwrap=st.builds(ast.Unwrap, names, st.sampled_from(["", "bytes", "duration"])),
        ),
        grouping=groupings,
    )
    | st.builds(ast.NumberLiteral, numbers)
    | st.builds(ast.VectorLiteral, numbers.map(abs)),
    lambda inner: (
        st.builds(ast.VectorAggregation, st.sampled_from(["sum", "max"]), inner, grouping=groupings)
        | st.builds(ast.Binary, st.sampled_from(["+", "/", "^", "=="]), inner, inner)
    ),
    max_leaves=4,
)


@given(log_queries | metrics)
def test_any_tree_is_read_back_from_its_text(expr: ast.Expr) -> None:
    text = print_expr(expr)
    assert parse(text) == expr
    assert parse(format_query(text)) == expr


@given(st.text(alphabet='{}()[]|=!~<>"`a1.,+-*/^%# json\\\n', max_size=40))
def test_any_text_is_a_query_or_an_error_of_ours(text: str) -> None:
    try:
        expr = parse(text)
    except LogqlParseError:
        return
    assert parse(print_expr(expr)) == expr
