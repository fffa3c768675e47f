"""Texts to trees and back: what is a query, and what is said of what is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsd.traceql import Query, TraceqlParseError, parse, parse_field, print_named, print_query
from obsd.traceql.parser import MAX_QUERY_LENGTH
from tests.traceql.queries import queries, spaced

# A query, and how it is printed: with the parentheses that its operators stand for.
READ = {
    "{}": "{ }",
    "{ true }": "{ }",
    "{false}": "{ false }",
    "{.a=1}": "{ .a = 1 }",
    "{.a=1&&.b=2&&.c=3}": "{ (.a = 1) && (.b = 2) && (.c = 3) }",
    "{.a||.b&&.c}": "{ (.a || .b) && .c }",  # One level, the left first.
    "{.a||.b || .c}": "{ .a || .b || .c }",
    "{(.a && (.b && .c))}": "{ .a && (.b && .c) }",
    "{.a + 1 * 2 = 3}": "{ (.a + (1 * 2)) = 3 }",
    "{1 - 2 - 3 = .a}": "{ ((1 - 2) - 3) = .a }",
    "{2 ^ 3 ^ 2 = .a}": "{ (2 ^ (3 ^ 2)) = .a }",
    "{-.a * 2 = 1}": "{ (-(.a * 2)) = 1 }",
    "{-.a + 2 = 1}": "{ ((-.a) + 2) = 1 }",
    "{ -5 = .a }": "{ (-5) = .a }",
    "{ !.a = false }": "{ (!.a) = false }",
    "{ !(.a && .b) }": "{ !(.a && .b) }",
    "{ .a-1 = 2 }": "{ .a-1 = 2 }",  # Of an attribute's name almost everything is a part.
    "{ .a/b*c = 2 }": "{ .a/b*c = 2 }",
    '{ span."a b".c = 1 }': '{ span."a b.c" = 1 }',
    '{ ."5" = 1 }': '{ ."5" = 1 }',
    '{ span."x\\"y\\\\" = 1 }': '{ span."x\\"y\\\\" = 1 }',
    "{ resource.k8s.pod.name = `p` }": '{ resource.k8s.pod.name = "p" }',
    "{ parent.resource.a = parent.span.b }": "{ parent.resource.a = parent.span.b }",
    '{ parent."span.b" = 1 }': '{ parent."span.b" = 1 }',
    "{ event.x = link.y || instrumentation.z }": "{ (event.x = link.y) || instrumentation.z }",
    "{ span:name = `x` }": '{ name = "x" }',
    "{ trace:rootService = rootServiceName }": "{ rootServiceName = rootServiceName }",
    "{ childCount > 2 }": "{ span:childCount > 2 }",
    "{ .a = nil }": "{ .a = nil }",
    "{ nil != .a }": "{ .a != nil }",
    "{ nil = nil }": "{ false }",
    "{ .a = 1 != nil }": "{ (.a = 1) != nil }",
    "{ duration > 1h30m }": "{ duration > 1h30m0s }",
    "{ duration > 1d }": "{ duration > 24h0m0s }",
    "{ duration > 1.5µs }": "{ duration > 1.5µs }",
    "{ duration > 100us }": "{ duration > 100µs }",
    "{ .a = 1_000 }": "{ .a = 1000 }",
    "{ .a = minInt }": "{ .a = minInt }",
    "{ .a = maxInt }": "{ .a = 9223372036854775807 }",
    "{ .a = .5 }": "{ .a = 0.5 }",
    "{ .a = 1e-7 }": "{ .a = 1e-07 }",
    '{ .a =~ "x\\\\d" }': '{ .a =~ "x\\\\d" }',
    "{ kind = server } // all\n/* of\nthem */ | count() > 1": "{ kind = server } | count() > 1",
    "{.a}&&{.b}||{.c}": "({ .a } && { .b }) || { .c }",
    "{.a}>{.b}>>{.c}": "({ .a } > { .b }) >> { .c }",
    "{.a}!>>{.b}&~{.c}": "({ .a } !>> { .b }) &~ { .c }",
    "{.a}~{.b} !~ {.c}": "({ .a } ~ { .b }) !~ { .c }",
    "({.a})": "{ .a }",
    "({.a} | count() > 1 | {.b}) >> {.c}": "({ .a } | count() > 1 | { .b }) >> { .c }",
    "({.a} | by(.b)) && {}": "({ .a } | by(.b)) && { }",
    "count() > 1 | {.a}": "count() > 1 | { .a }",
    "{} | 2 < avg(.a + 1)": "{ } | 2 < avg(.a + 1)",
    "{} | avg(.a) > 1 - 3": "{ } | avg(.a) > (-2)",
    "{} | max(.a) - min(.a) * 2 > 3": "{ } | (max(.a) - (min(.a) * 2)) > 3",
    "({.a}|count()) / ({.b}|count()) > .5": "(({ .a } | count()) / ({ .b } | count())) > 0.5",
    "{} | select(.a,status , span:id)|coalesce()": "{ } | select(.a, status, span:id) | coalesce()",
    "{}|rate()": "{ } | rate()",
    "{} | rate() by (.a, name)": "{ } | rate() by(.a, name)",
    "{} | quantile_over_time(duration,0,.9,1)by(.a)": (
        "{ } | quantile_over_time(duration, 0.0, 0.9, 1.0) by(.a)"
    ),
    "{} | rate() | topk(5) > 1/2 | bottomk (2)": "{ } | rate() | topk(5) > 0.0 | bottomk(2)",
    "{} | max_over_time(duration) > 1500ms": "{ } | max_over_time(duration) > 1.5",
    "({}|rate())*100>5": "(({ } | rate()) * 100.0) > 5.0",
    "-1/({}|rate())": "(-1.0) / ({ } | rate())",
    "({}|rate() > 6)+({}|rate())": "({ } | rate() > 6.0) + ({ } | rate())",
    "{.a} | compare({status=error}, 5, 10, 20)": "{ .a } | compare({ status = error }, 5, 10, 20)",
    "{} | compare({.a})": "{ } | compare({ .a }, 10)",
    "{} with (most_recent=true, a = 1)": "{ } with(most_recent=true, a=1)",
}


@pytest.mark.parametrize(("text", "printed"), READ.items())
def test_queries_are_read_as_their_operators_bind(text: str, printed: str) -> None:
    query = parse(text)
    assert print_query(query) == printed
    assert parse(printed) == query


# A text, and the place and words of its error.
WRONG = {
    "": (1, 1, "unexpected end of query"),
    "   ": (1, 4, "unexpected end of query"),
    "true": (1, 1, "unknown function true"),
    "{": (1, 2, "unexpected end of query"),
    "{ .a = }": (1, 8, "unexpected `}`"),
    "{ .a == 1 }": (1, 7, "unexpected `=`"),
    "{ . }": (1, 4, "name is missing"),
    "{\n  .a = 1\n  .b = 2 }": (3, 3, "unexpected attribute .b"),
    "{ nmae = `x` }": (1, 3, "did you mean name?"),
    "{ http.method = `GET` }": (1, 3, "span.http.method"),
    "{ namespace = 1 }": (1, 3, ".namespace"),
    "{ span:nme = 1 }": (1, 3, "did you mean span:name?"),
    "{ trace:status = ok }": (1, 3, "unknown intrinsic trace:status"),
    "{ parent }": (1, 3, "parent.x"),
    "{ 'x' = .a }": (1, 3, "double quotes"),
    '{ .a = "x }': (1, 8, "not terminated"),
    '{ .a = "\\q" }': (1, 8, "unknown escape"),
    '{ ."a = 1 }': (1, 4, "unexpected end"),
    '{ ."\\n" = 1 }': (1, 4, "escape"),
    "{ .a = 1 } /* x": (1, 12, "comment not terminated"),
    "{ .a = 99999999999999999999 }": (1, 8, "out of range"),
    "{ .a = 9e999 }": (1, 8, "out of range"),
    "{ .a ? 1 }": (1, 6, "unexpected '?'"),
    "{ nil }": (1, 3, "nil can only be compared"),
    "{ nil + 1 = 2 }": (1, 3, "nil can only be compared"),
    "{ .a > nil }": (1, 8, "nil can only be compared"),
    "{ name = nil }": (1, 3, "never true"),
    '{ .a =~ "[" }': (1, 9, "invalid regex"),
    "{ .a =~ .b }": (1, 9, "takes a text"),
    "{ .a =~ 1 }": (1, 9, "takes a text"),
    "{ 1 = `x` }": (1, 3, "same type"),
    "{ status = 1 }": (1, 3, "same type"),
    "{ status > ok }": (1, 3, "illegal operation"),
    "{ kind + 1 = 2 }": (1, 3, "same type"),
    "{ name + name = name }": (1, 3, "illegal operation"),
    "{ -name = .a }": (1, 3, "illegal operation"),
    "{ !name }": (1, 3, "illegal operation"),
    "{ name }": (1, 3, "must be true or false"),
    "{ 1 + 1 }": (1, 3, "must be true or false"),
    "{ .a && name }": (1, 9, "neither true nor false"),
    "{} + {}": (1, 4, "unexpected `+`"),
    "{} > 10": (1, 4, "unexpected `>`"),
    "{} | count()": (1, 6, "compare it with another"),
    "count()": (1, 1, "compare it with another"),
    "({} | count())": (1, 1, "compare it with another"),
    "{} | count() > 1 > 2": (1, 18, "unexpected `>`"),
    "{} | cuont() > 1": (1, 6, "did you mean count?"),
    "{} | count > 1": (1, 12, "expecting ("),
    "{} | avg() > 1": (1, 10, "unexpected `)`"),
    "{} | avg(name) > 1": (1, 10, "takes numbers"),
    "{} | sum(3) > 1": (1, 10, "must reference the span"),
    "{} | by(1)": (1, 9, "must reference the span"),
    "{} | select()": (1, 13, "unexpected `)`"),
    "{} | select(1)": (1, 13, "unexpected integer 1"),
    "coalesce()": (1, 1, "first stage"),
    "3 > 2": (1, 3, "unexpected `>`"),
    "{} | 3 > 2": (1, 8, "unexpected `>`"),
    "{} | avg(.a) > 1 / 0": (1, 18, "division by zero"),
    "{} | avg(.a) > 1s * 2": (1, 19, "durations"),
    "count() > 3 && {}": (1, 13, "unexpected `&&`"),
    "{} | rate": (1, 10, "expecting ("),
    "{} | rate() by": (1, 15, "expecting ("),
    "{} | rate() + 5": (1, 13, "unexpected `+`"),
    "{} | rate() | {}": (1, 15, "topk(…)"),
    "{} | rate() | topx(1)": (1, 15, "did you mean topk?"),
    "{} | rate() | topk(0)": (1, 15, "greater than 0"),
    "{} | rate() | topk(1.5)": (1, 20, "expecting integer"),
    "{} | topk(1)": (1, 6, "cannot stand here"),
    "{} | rate() by(.a,.b,.c,.d,.e,.f)": (1, 6, "at most 5 fields"),
    "{} | histogram_over_time(.x) by(.a,.b,.c,.d,.e)": (1, 6, "at most 4 fields"),
    "{} | quantile_over_time(duration)": (1, 33, "expecting ,"),
    "{} | quantile_over_time(duration, 2)": (1, 6, "between 0 and 1"),
    "{} | max_over_time(name)": (1, 20, "takes numbers"),
    "{} | rate() > {}": (1, 15, "number alone"),
    "({}|rate()) % 2": (1, 13, "unexpected `%`"),
    "({}|rate()) * 10s": (1, 15, "duration cannot be used"),
    "{} | compare({})| topk(1)": (1, 6, "compare()"),
    "{} | compare({}, 0)": (1, 6, "between 1 and 1000"),
    "{} | compare({}, 5, 10)": (1, 6, "from when to when"),
    "{} | compare({}, 5, 20, 10)": (1, 6, "end timestamp"),
    "({}|compare({}))+({}|rate())": (1, 5, "compare()"),
    "{} with (a)": (1, 11, "expecting ="),
    "{} {}": (1, 4, "unexpected `{`"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wrong"), WRONG.items())
def test_errors_tell_the_place_and_what_would_fit(text: str, wrong: tuple[int, int, str]) -> None:
    line, column, words = wrong
    with pytest.raises(TraceqlParseError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column), str(caught.value)
    assert f"line {line}, col {column}" in str(caught.value)


@given(queries())
def test_a_printed_query_is_the_same_query(text: str) -> None:
    query = parse(text)
    printed = print_query(query)
    assert "\n" not in printed
    assert parse(printed) == query
    assert print_query(parse(printed)) == printed


@given(st.text(max_size=60) | st.text('{}()|.&><!~="`ab1s-+*/^% \n:,', max_size=60))
def test_any_text_is_a_query_or_a_parse_error(text: str) -> None:
    read = parsed_or_error(text)
    if isinstance(read, Query):
        assert parse(print_query(read)) == read
    else:
        assert 1 <= read.line <= text.count("\n") + 1
        assert 1 <= read.column <= len(text) + 1


def parsed_or_error(text: str) -> Query | TraceqlParseError:
    try:
        return parse(text)
    except TraceqlParseError as error:
        return error


@given(queries(), st.data())
def test_a_broken_query_is_a_parse_error_or_another_query(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, len(text)))
    for broken in (text[:at], text[:at] + text[to:]):
        read = parsed_or_error(broken)
        assert isinstance(read, Query) or read.column <= len(broken) + 1


DEEP = {
    "parentheses": "{" + "(" * 20_000,
    "minus": "{" + "-" * 20_000 + ".a = 1}",
    "not": "{" + "!" * 20_000 + ".a}",
    "spansets": "(" * 20_000 + "{}" + ")" * 20_000,
    "powers": "{" + "2^" * 20_000 + "2 = .a}",
    "sums": "{" + "1+" * 20_000 + "1 = .a}",
    "relations": "{}" + ">{}" * 20_000,
    "metrics": "({}|rate())" + "*({}|rate())" * 5_000,
    "numbers": "{} | count()" + "+count()" * 10_000 + " > 1",
    "nil": "{ .a " + "= nil " * 10_000 + "}",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=list(DEEP))
def test_no_text_makes_a_tree_too_deep_to_walk(text: str) -> None:
    started = time.monotonic()
    with pytest.raises(TraceqlParseError, match="nested too deeply"):
        parse(text)
    assert time.monotonic() - started < 5


def test_thousands_of_conditions_are_no_depth() -> None:
    text = "{" + " || ".join(f'.a = "{i}"' for i in range(5_000)) + "}"
    assert parse(print_query(parse(text))) == parse(text)
    spansets = " && ".join(["{ .a }"] * 5_000)
    assert print_query(parse(spansets)) == spansets


def test_a_query_has_a_greatest_length() -> None:
    longest = "{ }".ljust(MAX_QUERY_LENGTH)
    assert print_query(parse(longest)) == "{ }"
    with pytest.raises(TraceqlParseError, match="too long"):
        parse(longest + " ")


@pytest.mark.parametrize("piece", ["(", "/*", '"', "`", "{.", "1", "1y", "a.", '."', "|", "!", " "])
def test_time_goes_with_the_length(piece: str) -> None:
    started = time.monotonic()
    with pytest.raises(TraceqlParseError):
        parse(piece * (MAX_QUERY_LENGTH // len(piece)))
    assert time.monotonic() - started < 5


@given(
    spaced("{", st.sampled_from(["span.a", '."x y"', "span:childCount", "event:name"]), "!= nil }")
)
def test_a_field_alone_is_read_as_in_a_query(text: str) -> None:
    name = text.removeprefix("{").split("!=")[0].strip(" \n…/*")
    assert f"{{ {print_named(parse_field(name))} != nil }}" == print_query(parse(text))


@pytest.mark.parametrize("text", ["", "1", "span.a span.b", "{}", "unknown"])
def test_a_field_alone_is_nothing_else(text: str) -> None:
    with pytest.raises(TraceqlParseError):
        parse_field(text)
