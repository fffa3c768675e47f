"""Queries over several lines, where one would be too long to read."""

from __future__ import annotations

from typing import Final

from obsd.logql import ast
from obsd.logql.literals import format_number
from obsd.logql.parser import parse
from obsd.logql.printer import (
    print_call,
    print_expr,
    print_grouping,
    print_matchers,
    print_operator,
    print_range,
    print_replacement,
    print_stage,
    print_unwrap,
)

MAX_WIDTH: Final = 100
_INDENT: Final = "  "


def format_query(text: str) -> str:
    """The query as people like to read it: long ones over several lines.

    Raises:
        LogqlParseError: it is none.
    """
    return _pretty(parse(text), "")


def _pretty(expr: ast.Expr, indent: str) -> str:
    line = indent + print_expr(expr)
    if len(line) <= MAX_WIDTH:
        return line
    deeper = indent + _INDENT
    match expr:
        case ast.LogQuery(matchers, stages):
            lines = (print_matchers(matchers), *(_INDENT + print_stage(s) for s in stages))
            return "\n".join(indent + each for each in lines)
        case ast.RangeAggregation():
            query = _pretty(expr.range.query, deeper)
            if expr.range.unwrap is not None:
                query += f"\n{deeper}{_INDENT}{print_unwrap(expr.range.unwrap)}"
            bare = ast.LogRange(expr.range.query, expr.range.range_ns, expr.range.offset_ns)
            window = print_range(bare, "").strip()
            param = "" if expr.param is None else f"{deeper}{format_number(expr.param)},\n"
            grouping = print_grouping(expr.grouping, " ")
            return f"{indent}{expr.op}(\n{param}{query} {window}\n{indent}){grouping}"
        case ast.VectorAggregation():
            param = "" if expr.param is None else f"{deeper}{expr.param},\n"
            return f"{indent}{print_call(expr)}(\n{param}{_pretty(expr.expr, deeper)}\n{indent})"
        case ast.Binary():
            left, right = _pretty(expr.left, deeper), _pretty(expr.right, deeper)
            return f"{indent}(\n{left}\n{deeper}{print_operator(expr)}\n{right}\n{indent})"
        case ast.LabelReplace():
            inner = _pretty(expr.expr, deeper)
            return f"{indent}label_replace(\n{inner},\n{deeper}{print_replacement(expr)}\n{indent})"
        case _:
            return line
