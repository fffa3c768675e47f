"""Queries as text, on one line."""

from __future__ import annotations

from collections.abc import Sequence

from obsd.logql import ast
from obsd.logql.literals import format_bytes, format_duration_ns, format_number
from obsd.model.go_strings import quote
from obsd.model.matcher import Matcher


def print_expr(expr: ast.Expr) -> str:
    """The query on one line; `parse` reads it back as the same tree."""
    match expr:
        case ast.LogQuery(matchers, stages):
            return " ".join((print_matchers(matchers), *map(print_stage, stages)))
        case ast.RangeAggregation():
            inner = print_range(expr.range, print_expr(expr.range.query))
            param = "" if expr.param is None else f"{format_number(expr.param)},"
            return f"{expr.op}({param}{inner}){print_grouping(expr.grouping, ' ')}"
        case ast.VectorAggregation():
            return f"{print_call(expr)}({print_param(expr)}{print_expr(expr.expr)})"
        case ast.Binary():
            left, right = print_expr(expr.left), print_expr(expr.right)
            return f"({left} {print_operator(expr)} {right})"
        case ast.NumberLiteral(value):
            return format_number(value)
        case ast.VectorLiteral(value):
            return f"vector({format_number(value)})"
        case ast.LabelReplace():
            return f"label_replace({print_expr(expr.expr)},{print_replacement(expr)})"


def print_matchers(matchers: Sequence[Matcher]) -> str:
    """A selector."""
    return f"{{{', '.join(map(_matcher, matchers))}}}"


def print_stage(stage: ast.Stage) -> str:
    """One stage, with the operator in front of it."""
    match stage:
        case ast.LineFilter(op, alternatives):
            return f"{op} {' or '.join(map(_line_match, alternatives))}"
        case ast.JsonParser(extractions):
            return f"| json{_extractions(extractions)}"
        case ast.LogfmtParser(strict, keep_empty, extractions):
            flags = f"{' --strict' if strict else ''}{' --keep-empty' if keep_empty else ''}"
            return f"| logfmt{flags}{_extractions(extractions)}"
        case ast.RegexpParser(pattern):
            return f"| regexp {quote(pattern)}"
        case ast.PatternParser(pattern):
            return f"| pattern {quote(pattern)}"
        case ast.UnpackParser():
            return "| unpack"
        case ast.LabelFilter(test):
            return f"| {print_test(test)}"
        case ast.LineFormat(template):
            return f"| line_format {quote(template)}"
        case ast.LabelFormat(formats):
            return f"| label_format {', '.join(map(_label_format, formats))}"
        case ast.Decolorize():
            return "| decolorize"
        case ast.DropLabels(items):
            return f"| drop {', '.join(map(_named, items))}"
        case ast.KeepLabels(items):
            return f"| keep {', '.join(map(_named, items))}"


def print_test(test: ast.LabelTest) -> str:
    """A label filter; what has two sides is in parentheses."""
    match test:
        case ast.StringFilter(matcher):
            return _matcher(matcher)
        case ast.IpFilter(label, negated, pattern):
            return f"{label}{'!=' if negated else '='}ip({quote(pattern)})"
        case ast.NumberFilter(label, op, value):
            return f"{label}{op}{format_number(value)}"
        case ast.DurationFilter(label, op, value_ns):
            return f"{label}{op}{format_duration_ns(value_ns)}"
        case ast.BytesFilter(label, op, value_bytes):
            return f"{label}{op}{format_bytes(value_bytes)}"
        case ast.AndFilter(left, right):
            return f"({print_test(left)} and {print_test(right)})"
        case ast.OrFilter(left, right):
            return f"({print_test(left)} or {print_test(right)})"


def _matcher(matcher: Matcher) -> str:
    return f"{matcher.name}{matcher.op.value}{quote(matcher.value)}"


def _line_match(match: ast.LineMatch) -> str:
    return f"ip({quote(match.text)})" if match.is_ip else quote(match.text)


def _extractions(extractions: Sequence[ast.Extraction]) -> str:
    shown = ", ".join(f"{e.label}={quote(e.expression)}" for e in extractions)
    return f" {shown}" if shown else ""


def _label_format(each: ast.LabelRename | ast.LabelTemplate) -> str:
    if isinstance(each, ast.LabelRename):
        return f"{each.target}={each.source}"
    return f"{each.target}={quote(each.template)}"


def _named(item: str | Matcher) -> str:
    return item if isinstance(item, str) else _matcher(item)


def print_unwrap(unwrap: ast.Unwrap) -> str:
    """The `unwrap` of a range, with the filters behind it."""
    label = f"{unwrap.conversion}({unwrap.label})" if unwrap.conversion else unwrap.label
    return " | ".join((f"| unwrap {label}", *map(print_test, unwrap.filters)))


def print_range(window: ast.LogRange, query: str) -> str:
    """A range, of a query that is text already."""
    unwrap = "" if window.unwrap is None else f" {print_unwrap(window.unwrap)}"
    offset = f" offset {format_duration_ns(window.offset_ns)}" if window.offset_ns else ""
    return f"{query}{unwrap}[{format_duration_ns(window.range_ns)}]{offset}"


def print_grouping(grouping: ast.Grouping | None, before: str) -> str:
    """A grouping, if there is one, behind a text."""
    if grouping is None:
        return ""
    return f"{before}{'without' if grouping.without else 'by'} ({', '.join(grouping.labels)})"


def print_call(expr: ast.VectorAggregation) -> str:
    """What stands before the parentheses of an aggregation."""
    return f"{expr.op}{print_grouping(expr.grouping, ' ')}{' ' if expr.grouping else ''}"


def print_param(expr: ast.VectorAggregation) -> str:
    """An aggregation's parameter with its comma, if it has one."""
    return "" if expr.param is None else f"{expr.param},"


def print_operator(expr: ast.Binary) -> str:
    """An operator with its modifiers."""
    parts = [expr.op]
    if expr.return_bool:
        parts.append("bool")
    matching = expr.matching
    if matching.on or matching.labels or matching.card != "one-to-one":
        parts.append(f"{'on' if matching.on else 'ignoring'} ({', '.join(matching.labels)})")
    if matching.card != "one-to-one":
        side = "group_left" if matching.card == "many-to-one" else "group_right"
        # Without parentheses, those of the right side would be taken for them.
        parts.append(f"{side} ({', '.join(matching.include)})")
    return " ".join(parts)


def print_replacement(expr: ast.LabelReplace) -> str:
    """The texts of a `label_replace`."""
    return ",".join(map(quote, (expr.target, expr.replacement, expr.source, expr.regex)))
