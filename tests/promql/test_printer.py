"""Trees to text, and back to the same tree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from obsd.promql import ast, expr_to_json, format_expr, parse, pretty
from obsd.promql.printer import LINE_LENGTH
from tests.promql.expressions import queries


@settings(max_examples=300)
@given(queries())
def test_parse_inverts_format(expr: ast.Expr) -> None:
    text = format_expr(expr)
    assert parse(text) == expr
    assert format_expr(parse(text)) == text


@given(queries())
def test_pretty_text_means_the_same(expr: ast.Expr) -> None:
    assert parse(pretty(expr)) == expr


@given(queries())
def test_json_is_json(expr: ast.Expr) -> None:
    checked = parse(format_expr(expr))
    assert isinstance(json.loads(json.dumps(expr_to_json(checked), allow_nan=True))["type"], str)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("sum(x) by (b,a)", "sum by (b, a) (x)"),
        ("sum(x)by()", "sum(x)"),
        ("sum without()(x)", "sum without () (x)"),
        ("x{b='1',a!~`2`}", 'x{a!~"2",b="1"}'),
        ('{"x"}', '{__name__="x"}'),
        ('{"a b"="c"}', '{"a b"="c"}'),
        ("a+on(x)group_left b", "a + on (x) group_left () b"),
        ("a>bool ignoring(x)b", "a > bool ignoring (x) b"),
        ("a AND b", "a and b"),
        ("x[300]", "x[5m]"),
        ("x[90m:]", "x[1h30m:]"),
        ("x[7d:60]offset-1w@5.5", "x[1w:1m] @ 5.500 offset -1w"),
        ("x offset (step()*2)", "x offset (step() * 2)"),
        ("rate(x[5m]smoothed)", "rate(x[5m] smoothed)"),
        ("1e3 + 0x10 + 1_000", "1000 + 16 + 1000"),
        ("1e-9", "0.000000001"),
        ("3600s", "1h"),
        ("'\\'' ", '"\'"'),
        ("-x ^ - 2", "-x ^ -2"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert format_expr(parse(text)) == canonical


def test_long_queries_are_laid_out() -> None:
    text = (
        'sum by (job, instance) (rate(http_requests_total{job="api-server", code!~"5.."}[5m])) / '
        'on (job) group_left () sum by (job) (rate(http_requests_total{job="api-server"}[5m])) > 0'
    )
    assert pretty(parse(text)).splitlines() == [
        '    sum by (job, instance) (rate(http_requests_total{code!~"5..",job="api-server"}[5m]))',
        "  / on (job) group_left ()",
        '    sum by (job) (rate(http_requests_total{job="api-server"}[5m]))',
        ">",
        "  0",
    ]
    nested = f"label_replace(sum by (a) ({'x' * LINE_LENGTH}), 'a', 'b', 'c', 'd')"
    assert pretty(parse(nested)).splitlines() == [
        "label_replace(",
        "  sum by (a) (",
        f"    {'x' * LINE_LENGTH}",
        "  ),",
        '  "a",',
        '  "b",',
        '  "c",',
        '  "d"',
        ")",
    ]


def test_the_json_of_a_tree() -> None:
    tree = parse("sum by (a) (rate(x{b='c'}[5m] offset 1m)) > bool on (a) y @ end()")
    assert expr_to_json(tree) == {
        "type": "binaryExpr",
        "op": ">",
        "bool": True,
        "matching": {
            "card": "one-to-one",
            "labels": ["a"],
            "on": True,
            "include": [],
            "fillValues": {"lhs": None, "rhs": None},
        },
        "lhs": {
            "type": "aggregation",
            "op": "sum",
            "param": None,
            "grouping": ["a"],
            "without": False,
            "expr": {
                "type": "call",
                "func": {
                    "name": "rate",
                    "argTypes": ["matrix"],
                    "variadic": 0,
                    "returnType": "vector",
                },
                "args": [
                    {
                        "type": "matrixSelector",
                        "name": "x",
                        "range": 300_000,
                        "rangeExpr": None,
                        "offset": 60_000,
                        "offsetExpr": None,
                        "matchers": [
                            {"name": "b", "value": "c", "type": "="},
                            {"name": "__name__", "value": "x", "type": "="},
                        ],
                        "timestamp": None,
                        "startOrEnd": None,
                        "anchored": False,
                        "smoothed": False,
                    }
                ],
            },
        },
        "rhs": {
            "type": "vectorSelector",
            "name": "y",
            "offset": 0,
            "offsetExpr": None,
            "matchers": [{"name": "__name__", "value": "y", "type": "="}],
            "timestamp": None,
            "startOrEnd": "end",
            "anchored": False,
            "smoothed": False,
        },
    }
