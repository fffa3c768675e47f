import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.logsearch import parse
from obsd.logsearch.ast import (
    Between,
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Has,
    MatchAll,
    Negation,
    Pattern,
    Query,
    Text,
)
from obsd.logsearch.parser import MAX_CLAUSES, MAX_DEPTH, MAX_LENGTH
from obsd.model.errors import QueryParseError

A, B, C = Text(None, "a"), Text(None, "b"), Text(None, "c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", MatchAll()),
        (" \n", MatchAll()),
        ("*", MatchAll()),
        ("*:*", MatchAll()),
        ("a", A),
        ("*:a", A),
        ('"a b"', Text(None, "a b")),
        ('"say \\"no\\" \\\\"', Text(None, 'say "no" \\')),
        ("level:error", Text("level", "error")),
        ("http.status_code:500", Text("http.status_code", "500")),
        ("@type:x", Text("@type", "x")),
        ('"odd name":x', Text("odd name", "x")),
        ("path:/health", Text("path", "/health")),
        ("path:/a/b/c", Text("path", "/a/b/c")),
        ("path:/a OR path:/", Disjunction((Text("path", "/a"), Text("path", "/")))),
        ("url:http://x:80/y", Text("url", "http://x:80/y")),
        ("12:30:05", Text(None, "12:30:05")),
        ("service:api*", Pattern("service", "api*")),
        (r"a\*b*", Pattern(None, r"a\*b*")),
        (r"a\*b\ c", Text(None, "a*b c")),
        (r"a\:b", Text(None, "a:b")),
        ('"a*"', Text(None, "a*")),
        ("/a.c d/", Expression(None, "a.c d")),
        ("x:/a/i", Expression("x", "(?i)a")),
        (r"/a\/b\d/", Expression(None, r"a/b\d")),
        ("duration:>100", Comparison("duration", ">", 100)),
        ("duration:>=1.5", Comparison("duration", ">=", 1.5)),
        ("duration:<-3e2", Comparison("duration", "<", -300.0)),
        ("version:<=1.2.3", Comparison("version", "<=", "1.2.3")),
        ('x:<"10"', Comparison("x", "<", "10")),
        ("x:>99999999999999999999", Comparison("x", ">", 1e20)),
        ("x:[1 TO 5]", Between("x", 1, 5)),
        ("x:{1 TO 5]", Between("x", 1, 5, low_included=False)),
        ("x:[ * TO b }", Between("x", None, "b", high_included=False)),
        ('x:["*" TO *]', Between("x", "*", None)),
        ("x:*", Has("x")),
        ("x:**", Has("x")),
        ("-a", Negation(A)),
        ("NOT a", Negation(A)),
        ("!a", Negation(A)),
        ("--a", Negation(Negation(A))),
        ("+a", A),
        ("a-b", Text(None, "a-b")),
        ("- a", Conjunction((Text(None, "-"), A))),
        ("a b", Conjunction((A, B))),
        ("a AND b", Conjunction((A, B))),
        ("a && b", Conjunction((A, B))),
        ("a || b", Disjunction((A, B))),
        ("a and b", Conjunction((A, Text(None, "and"), B))),
        ("a b OR c", Disjunction((Conjunction((A, B)), C))),
        ("a AND (b OR c)", Conjunction((A, Disjunction((B, C))))),
        ("a (b c)", Conjunction((A, B, C))),
        ("NOT a b", Conjunction((Negation(A), B))),
        ("-(a OR b)", Negation(Disjunction((A, B)))),
        ("(a)(b)", Conjunction((A, B))),
        ("x:(a OR b)", Disjunction((Text("x", "a"), Text("x", "b")))),
        ("x:(a -b* >3)", Conjunction((
            Text("x", "a"), Negation(Pattern("x", "b*")), Comparison("x", ">", 3)))),
        ("x:(a (b OR c:d))", Conjunction((
            Text("x", "a"), Disjunction((Text("x", "b"), Text("x", "c:d")))))),
        ("größe:5 中文", Conjunction((Text("größe", "5"), Text(None, "中文")))),
    ],
)  # fmt: skip
def test_query_means_its_tree(text: str, tree: Query) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("level:", 1, 7, 'expected a value right after "level:"'),
        ("Error: refused", 1, 7, "put it in quotes"),
        ("a\n  AND", 2, 6, "unexpected end of the query, expected a term"),
        ("a AND OR b", 1, 7, 'unexpected OR, expected a term; write "OR" in quotes'),
        ("AND", 1, 1, "unexpected AND"),
        ("NOT", 1, 4, "unexpected end of the query"),
        ("a (b", 1, 3, 'this "(" is not closed, expected ")"'),
        ("()", 1, 2, 'unexpected ")", expected a term after "("'),
        ("a)", 1, 2, 'unexpected ")", expected another term or the end'),
        ('a "b', 1, 3, "this quoted text does not end"),
        ("x:[1 5]", 1, 6, 'unexpected "5", expected "TO" and the upper bound'),
        ("x:[1 TO 5", 1, 10, 'unexpected end of the query, expected "]" or "}"'),
        ("x:[ TO 5]", 1, 8, 'unexpected "5", expected "TO"'),
        ("x:[]", 1, 4, 'expected a number or text after "["'),
        ("x:>", 1, 4, 'unexpected end of the query, expected a number or text after ">"'),
        ('"":x', 1, 1, "expected a field's name in the quotes"),
        ("a\\", 1, 2, "nothing follows the backslash"),
        ("x:(a", 1, 3, 'this "(" is not closed'),
    ],
)
def test_error_says_where_and_what_is_expected(
    text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(QueryParseError) as raised:
        parse(text)
    assert (raised.value.line, raised.value.column) == (line, column)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * (MAX_DEPTH + 2) + "a" + ")" * (MAX_DEPTH + 2), "nested more than"),
        ("-" * (MAX_DEPTH + 2) + "a", "nested more than"),
        ("a " * (MAX_CLAUSES + 1), "more than"),
        ("a" * (MAX_LENGTH + 1), "longer than"),
    ],
)
def test_query_has_limits(text: str, message: str) -> None:
    with pytest.raises(QueryParseError, match=message):
        parse(text)


def test_deepest_query_parses() -> None:
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == A


PIECES = st.sampled_from(
    [*'ab"()[]{}:*?/\\-+!<>= \n', "AND", "OR", "NOT", " TO ", "level:", "time:", "10", "é", "&&"]
)


def place_of_error(text: str) -> tuple[int, int]:
    """Where it is no query; the very beginning if it is one."""
    try:
        parse(text)
    except QueryParseError as error:
        return error.line, error.column
    return 1, 1


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_a_query_or_an_error_within_it(text: str) -> None:
    line, column = place_of_error(text)
    lines = text.split("\n")
    assert 1 <= line <= len(lines)
    assert 1 <= column <= len(lines[line - 1]) + 1
