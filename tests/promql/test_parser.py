"""What parses, to which tree; what does not, where and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from obsd.model.errors import QueryParseError
from obsd.model.matcher import Matcher, MatchOp
from obsd.promql import ast, format_expr, lexer, parse, parse_selector

NO_METRIC_NAMES = {
    "inf", "nan", "bool", "on", "ignoring", "group_left", "group_right", "atan2",
}  # fmt: skip

EQ = MatchOp.EQUAL
KEYWORDS = [word for word in lexer.KEYWORDS if word not in NO_METRIC_NAMES]
LABEL_WORDS = [word for word in lexer.KEYWORDS if word not in {"inf", "nan", "without"}]


def selector(name: str, *matchers: Matcher) -> ast.VectorSelector:
    return ast.VectorSelector(name, (*matchers, Matcher(EQ, "__name__", name)))


def number(value: float) -> ast.NumberLiteral:
    return ast.NumberLiteral(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("1E-3", 0.001),
        ("0x1F", 31.0), ("0X_ff", 255.0), ("010", 8.0), ("08", 8.0), ("1_000_000", 1e6),
        ("-7", -7.0), ("+7", 7.0), ("--7", 7.0), ("Inf", float("inf")), ("-inf", float("-inf")),
        ("NaN", float("nan")), ("nAn", float("nan")), ("1e400", float("inf")),
    ],
)  # fmt: skip
def test_numbers(text: str, value: float) -> None:
    assert parse(text) == number(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("1d", 86400), ("250ms", 0.25), ("1y", 31536000), ("-2s", -2)],
)
def test_durations_are_numbers(text: str, seconds: float) -> None:
    assert parse(text) == ast.NumberLiteral(float(seconds), is_duration=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a\\tb\\"c"', 'a\tb"c'), ("'it\\'s'", "it's"), ("`raw\\n`", "raw\\n"),
        ('"\\x41\\101\\u00e9\\U0001F600"', "AAé😀"), ('"\\xc3\\xa9"', "é"),
        ("`two\nlines`", "two\nlines"),
    ],
)  # fmt: skip
def test_strings(text: str, value: str) -> None:
    assert parse(text) == ast.StringLiteral(value)


def test_operators_bind_as_in_mathematics() -> None:
    tree = parse("a or b and c == d + e * f ^ -g ^ h")
    # Written out, with parentheses taken away again.
    written = "a or (b and (c == (d + (e * (f ^ (-(g ^ h)))))))"
    assert strip_parens(tree) == strip_parens(parse(written))
    assert strip_parens(parse("a - b - c")) == strip_parens(parse("(a - b) - c"))
    assert strip_parens(parse("a ^ b ^ c")) == strip_parens(parse("a ^ (b ^ c)"))
    assert strip_parens(parse("-a ^ b")) == strip_parens(parse("-(a ^ b)"))
    assert strip_parens(parse("-a * b")) == strip_parens(parse("(-a) * b"))


def strip_parens(expr: ast.Expr) -> object:
    """A tree without parentheses and positions, as nested tuples."""
    expr = ast.unwrap(expr)
    if isinstance(expr, ast.Binary):
        return (expr.op, strip_parens(expr.left), strip_parens(expr.right))
    if isinstance(expr, ast.Unary):
        return (expr.op, strip_parens(expr.expr))
    return expr


def test_modifiers_stand_in_any_order() -> None:
    expected = parse("x[5m] @ 10 offset 1m")
    assert parse("x[5m] offset 1m @ 10") == expected
    assert isinstance(expected, ast.MatrixSelector)
    assert expected.range == 300_000
    assert (expected.selector.at, expected.selector.offset) == (10_000, 60_000)
    assert parse("x @ start()") == parse("x @ START ( )")


@pytest.mark.parametrize(
    "word",
    [*KEYWORDS],
)
def test_keywords_can_name_metrics(word: str) -> None:
    assert parse(word) == selector(word)
    assert parse(f"{word}{{a='b'}}") == selector(word, Matcher(EQ, "a", "b"))


@pytest.mark.parametrize(
    "word", ["sum", "by", "on", "ignoring", "bool", "and", "offset", "group_left", "atan2", "start"]
)
def test_keywords_can_name_labels(word: str) -> None:
    tree = parse(f"sum by ({word}) (x{{{word}='v'}})")
    assert isinstance(tree, ast.Aggregate)
    assert tree.grouping == (word,)


def test_names_in_quotes() -> None:
    tree = parse('{"my.metric", "my.label"!="x", plain=~"y"}')
    assert isinstance(tree, ast.VectorSelector)
    assert tree.matchers == (
        Matcher(EQ, "__name__", "my.metric"),
        Matcher(MatchOp.NOT_EQUAL, "my.label", "x"),
        Matcher(MatchOp.REGEX, "plain", "y"),
    )
    assert parse('sum by ("a.b", c) (x)') == parse('sum("" + x) by ("a.b", c)'.replace('"" + ', ""))


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("a + b", ast.Matching()),
        ("a + on (x) b", ast.Matching(on=True, labels=("x",))),
        ("a + ignoring (x, y) b", ast.Matching(labels=("x", "y"))),
        ("a + on () group_left b", ast.Matching(ast.Card.MANY_TO_ONE, on=True)),
        ("a + on (x) group_right (y) b",
         ast.Matching(ast.Card.ONE_TO_MANY, on=True, labels=("x",), include=("y",))),
        ("a and on (x) b", ast.Matching(ast.Card.MANY_TO_MANY, on=True, labels=("x",))),
        ("a + fill (1) b", ast.Matching(fill_left=1.0, fill_right=1.0)),
        ("a + fill_right (-2) fill_left (3) b", ast.Matching(fill_left=3.0, fill_right=-2.0)),
        ("a + 1", None),
    ],
)  # fmt: skip
def test_matching(text: str, matching: ast.Matching | None) -> None:
    tree = parse(text)
    assert isinstance(tree, ast.Binary)
    assert tree.matching == matching


def test_spans_cover_the_text_of_each_node() -> None:
    text = "  sum by (a) (rate(x{b='c'}[5m] offset 1m)) > bool -3"
    spans = [text[n.span.start : n.span.end] for n in ast.walk(parse(text))]
    assert spans == [
        "sum by (a) (rate(x{b='c'}[5m] offset 1m)) > bool -3",
        "sum by (a) (rate(x{b='c'}[5m] offset 1m))",
        "rate(x{b='c'}[5m] offset 1m)",
        "x{b='c'}[5m] offset 1m",
        "x{b='c'}",
        "-3",
    ]


def test_comments_and_lines() -> None:
    assert parse("# first\nsum( # of\n  x # all\n)\n# last") == parse("sum(x)")


def rejected() -> list[tuple[str, str]]:
    """Queries and their errors: a line each, with `\\n` for a newline."""
    rows = (Path(__file__).parent / "data" / "rejected.tsv").read_text().splitlines()
    pairs = (row.split("\t") for row in rows)
    return [(text.replace("\\n", "\n").replace("\\\\", "\\"), error) for text, error in pairs]


@pytest.mark.parametrize(("text", "error"), rejected())
def test_errors_say_where_and_why(text: str, error: str) -> None:
    with pytest.raises(QueryParseError) as caught:
        parse(text)
    assert str(caught.value) == error
    line, column, _ = error.split(":", 2)
    assert (caught.value.line, caught.value.column) == (int(line), int(column))


def test_a_selector_alone() -> None:
    assert parse_selector("up{job='a'}").name == "up"
    for text in ("up[5m]", "up offset 5m", "up @ 1", "up + 1", "rate(up[5m])"):
        with pytest.raises(QueryParseError):
            parse_selector(text)


def test_deep_nesting_is_refused_rather_than_a_crash() -> None:
    assert parse("(" * 300 + "x" + ")" * 300)
    assert format_expr(parse(" + ".join(["x"] * 300)))
    for text in (
        "(" * 20_000 + "x" + ")" * 20_000,
        "-" * 20_000 + "x",
        "abs(" * 400 + "x" + ")" * 400,
    ):
        with pytest.raises(QueryParseError, match="nested too deeply"):
            parse(text)


PIECES = st.sampled_from(
    [
        *("x", "sum", "rate", "topk", "by", "on", "group_left", "fill", "bool", "offset", "start"),
        *("(", ")", "{", "}", "[", "]", ",", ":", "+", "-", "*", "^", "==", "=~", "=", "!=", "@"),
        *("5m", "1", ".5", "0x", '"a"', "'", "`", "#", "\u00e9", "\\", "a", "__name__", "and"),
        *("step", "anchored"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
@example("x{a='\\")
@example('"\\x')
def test_any_text_parses_or_is_refused_with_its_place(text: str) -> None:
    refusal: QueryParseError | None = None
    try:
        tree = parse(text)
    except QueryParseError as error:
        refusal = error
    if refusal is None:
        assert parse(format_expr(tree)) == tree
    else:
        assert min(refusal.line, refusal.column) >= 1
        assert f"{refusal.line}:{refusal.column}: parse error: " in str(refusal)
