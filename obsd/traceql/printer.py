"""Queries as text, on one line; `parse` reads the same tree back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from obsd.traceql import ast
from obsd.traceql.value import shown

_PLAIN_NAME: Final = re.compile(r'[^\s{}()=~!<>&|^,"]+')
_COMPOUND: Final = (ast.Exists, ast.Not, ast.Negative, ast.Binary, ast.Logical)
_MIN_INT: Final = -(1 << 63)


def print_query(query: ast.Query) -> str:
    """The whole query on one line."""
    expr = query.expr
    text = _stages(expr.stages) if isinstance(expr, ast.Pipeline) else _metrics(expr)
    if not query.hints:
        return text
    hints = ", ".join(f"{name}={print_constant(value)}" for name, value in query.hints)
    return f"{text} with({hints})"


def print_named(named: ast.Named) -> str:
    """An attribute or an intrinsic, as labels of metrics have it too."""
    if isinstance(named, ast.Intrinsic):
        return named.name
    plain = _PLAIN_NAME.fullmatch(named.name) is not None
    name = named.name if plain else _quoted(named.name)
    scope = f"{named.scope}." if named.scope else ""
    if named.parent:
        return f"parent.{scope}{_unscoped(named.name, name) if not scope else name}"
    if not scope and named.name[:1].isdigit():
        name = _quoted(named.name)  # Else it would be a number.
    return f"{scope or '.'}{name}"


def _unscoped(name: str, shown_name: str) -> str:
    """The name of a parent's attribute, which must not look like a scope."""
    return _quoted(name) if name.startswith(("span.", "resource.")) else shown_name


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def print_constant(value: ast.Constant) -> str:
    """A constant."""
    if type(value) is int and value == _MIN_INT:
        return "minInt"
    return shown(value)


def print_field(expr: ast.FieldExpr) -> str:
    """An expression of a span's fields; operands that are more than a name are in parentheses."""
    match expr:
        case ast.Attribute() | ast.Intrinsic():
            return print_named(expr)
        case ast.Static(value):
            return print_constant(value)
        case ast.Nil():
            return "nil"
        case ast.Exists(of, negated):
            return f"{_operand(of)} {'=' if negated else '!='} nil"
        case ast.Not(of):
            return f"!{_operand(of)}"
        case ast.Negative(of):
            return f"-{_operand(of)}"
        case ast.Binary(op, left, right):
            return f"{_operand(left)} {op} {_operand(right)}"
        case ast.Logical(op, of_all):
            return f" {op} ".join(map(_operand, of_all))


def _operand(expr: ast.FieldExpr) -> str:
    text = print_field(expr)
    signed = isinstance(expr, ast.Static) and text.startswith("-")
    return f"({text})" if signed or isinstance(expr, _COMPOUND) else text


def print_stage(stage: ast.Stage) -> str:
    """One stage of a pipeline."""
    match stage:
        case ast.SpansetFilter(condition):
            empty = condition == ast.Static(value=True)
            return "{ }" if empty else f"{{ {print_field(condition)} }}"
        case ast.SpansetLogical(op, of):
            return f" {op} ".join(map(_spanset_operand, of))
        case ast.Structural(op, left, right):
            return f"{_spanset_operand(left)} {op} {_spanset_operand(right)}"
        case ast.Pipeline(stages):
            return f"({_stages(stages)})"
        case ast.ScalarFilter(op, left_number, right_number):
            return f"{print_scalar(left_number)} {op} {print_scalar(right_number)}"
        case ast.GroupBy(of_field):
            return f"by({print_field(of_field)})"
        case ast.Select(fields):
            return f"select({_names(fields)})"
        case ast.Coalesce():
            return "coalesce()"


def _stages(stages: Sequence[ast.Stage]) -> str:
    return " | ".join(map(print_stage, stages))


def _spanset_operand(expr: ast.SpansetExpr) -> str:
    text = print_stage(expr)
    return text if isinstance(expr, ast.SpansetFilter | ast.Pipeline) else f"({text})"


def print_scalar(scalar: ast.ScalarExpr) -> str:
    """A number of a set of spans."""
    match scalar:
        case ast.Aggregate(op, of):
            return f"{op}({'' if of is None else print_field(of)})"
        case ast.PipelineScalar(pipeline, aggregate):
            return f"({_stages(pipeline.stages)} | {print_scalar(aggregate)})"
        case ast.ScalarArithmetic(op, left, right):
            return f"({print_scalar(left)} {op} {print_scalar(right)})"
        case ast.Static(value):
            return _signed(print_constant(value))


def _signed(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


def _names(fields: Sequence[ast.Named]) -> str:
    return ", ".join(map(print_named, fields))


def _metrics(expr: ast.MetricsExpr) -> str:
    match expr:
        case ast.MetricsPipeline(pipeline, aggregate):
            return f"{_stages(pipeline.stages)} | {print_aggregate(aggregate)}"
        case ast.MetricsStages(of, stages):
            inner = _metrics(of)
            text = inner if isinstance(of, ast.MetricsPipeline) else f"({inner})"
            return text + "".join(map(_second_stage, stages))
        case ast.MetricsMath(op, left, right):
            return f"{_side(left)} {op} {_side(right)}"


def _side(side: ast.MetricsExpr | float) -> str:
    return _signed(shown(side)) if isinstance(side, float) else f"({_metrics(side)})"


def _second_stage(stage: ast.SecondStage) -> str:
    if isinstance(stage, ast.TopK):
        return f" | {stage.op}({stage.count})"
    return f" {stage.op} {shown(stage.value)}"


def print_aggregate(aggregate: ast.MetricsAggregate | ast.Compare) -> str:
    """A function of metrics."""
    if isinstance(aggregate, ast.Compare):
        times = f", {aggregate.start_ns}, {aggregate.end_ns}" if aggregate.end_ns else ""
        return f"compare({print_stage(aggregate.selection)}, {aggregate.top}{times})"
    of = "" if aggregate.of is None else print_named(aggregate.of)
    quantiles = "".join(f", {shown(each)}" for each in aggregate.quantiles)
    by = f" by({_names(aggregate.by)})" if aggregate.by else ""
    return f"{aggregate.op}({of}{quantiles}){by}"
