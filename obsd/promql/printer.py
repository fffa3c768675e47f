"""The tree back to text: one canonical line, or several lines for people, as Prometheus lays out.

`parse(format_expr(e)) == e` for every tree that `parse` makes; `pretty` parses to the same tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from obsd.model.go_strings import quote
from obsd.model.labels import METRIC_NAME
from obsd.model.matcher import Matcher, MatchOp
from obsd.promql import ast
from obsd.promql.literals import format_duration, format_number, format_plain, is_plain_label

LINE_LENGTH: Final = 100
_INDENT: Final = "  "
_NO_LABELS: Final = frozenset({"inf", "nan", "without"})


def format_expr(expr: ast.Expr) -> str:
    """One line, with one spelling for each meaning."""
    match expr:
        case ast.NumberLiteral():
            return _number(expr)
        case ast.StringLiteral(value=value):
            return quote(value)
        case ast.VectorSelector():
            return _selector(expr) + _selector_suffix(expr)
        case ast.MatrixSelector():
            return _matrix(expr)
        case ast.Subquery(expr=inner):
            return format_expr(inner) + _subquery_suffix(expr)
        case ast.Call(function=function, args=args):
            return f"{function}({', '.join(format_expr(arg) for arg in args)})"
        case ast.Aggregate():
            return f"{_aggregate_head(expr)}({', '.join(map(format_expr, ast.children(expr)))})"
        case ast.Binary(left=left, right=right):
            return f"{format_expr(left)} {_operator(expr)} {format_expr(right)}"
        case ast.Unary(op=op, expr=inner):
            return op + format_expr(inner)
        case ast.Paren(expr=inner):
            return f"({format_expr(inner)})"


def pretty(expr: ast.Expr, level: int = 0) -> str:
    """Several lines where one would be longer than 100 characters."""
    indent = _INDENT * level
    if isinstance(expr, ast.Unary):
        return f"{indent}{expr.op}{pretty(expr.expr, level).lstrip()}"
    line = format_expr(expr)
    if len(line) <= LINE_LENGTH:
        return indent + line
    match expr:
        case ast.Subquery(expr=inner):
            return pretty(inner, level) + _subquery_suffix(expr)
        case ast.Call(function=function):
            return f"{indent}{function}(\n{_pretty_children(expr, level)}\n{indent})"
        case ast.Aggregate():
            head = _aggregate_head(expr)
            return f"{indent}{head}(\n{_pretty_children(expr, level)}\n{indent})"
        case ast.Paren():
            return f"{indent}(\n{_pretty_children(expr, level)}\n{indent})"
        case ast.Binary(left=left, right=right):
            operator = indent + _operator(expr)
            return f"{pretty(left, level + 1)}\n{operator}\n{pretty(right, level + 1)}"
        case _:
            return indent + line


def _pretty_children(expr: ast.Expr, level: int) -> str:
    return ",\n".join(pretty(child, level + 1) for child in ast.children(expr))


def _number(node: ast.NumberLiteral) -> str:
    if node.is_duration:
        return format_duration(round(node.value * 1000))
    return format_plain(node.value)


def _selector(node: ast.VectorSelector) -> str:
    """Name and matchers, without modifiers."""
    shown = [m for m in node.matchers if not _is_name(node, m)]
    if not shown:
        return node.name or "{}"
    return f"{node.name}{{{','.join(sorted(format_matcher(m) for m in shown))}}}"


def _is_name(node: ast.VectorSelector, matcher: Matcher) -> bool:
    is_name = matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL
    return is_name and bool(node.name) and matcher.value == node.name


def format_matcher(matcher: Matcher) -> str:
    """`name="value"`, with the name in quotes where it needs them."""
    return f"{_label(matcher.name)}{matcher.op.value}{quote(matcher.value)}"


def _label(name: str) -> str:
    return name if is_plain_label(name) else quote(name)


def _labels(names: Sequence[str]) -> str:
    # Outside braces, a few plain words are not read as labels.
    quoted = (quote(n) if n.lower() in _NO_LABELS else _label(n) for n in names)
    return f"({', '.join(quoted)})"


def _at(at: ast.At | None) -> str:
    match at:
        case None:
            return ""
        case ast.AtAnchor(value=name):
            return f" @ {name}()"
        case milliseconds:
            # Not through a float, which cannot hold every millisecond of every year.
            sign, digits = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
            return f" @ {sign}{digits // 1000}.{digits % 1000:03}"


def _boundary(node: ast.VectorSelector) -> str:
    return " anchored" if node.anchored else " smoothed" if node.smoothed else ""


def _offset(offset: ast.Duration) -> str:
    return f" offset {_duration(offset)}" if offset != 0 else ""


def _selector_suffix(node: ast.VectorSelector) -> str:
    return _at(node.at) + _boundary(node) + _offset(node.offset)


def _matrix(node: ast.MatrixSelector) -> str:
    selector = node.selector
    suffix = _boundary(selector) + _at(selector.at) + _offset(selector.offset)
    return f"{_selector(selector)}[{_duration(node.range)}]{suffix}"


def _subquery_suffix(node: ast.Subquery) -> str:
    step = "" if node.step is None else _duration(node.step)
    return f"[{_duration(node.range)}:{step}]{_at(node.at)}{_offset(node.offset)}"


def _duration(duration: ast.Duration) -> str:
    return format_duration(duration) if isinstance(duration, int) else _duration_op(duration)


def _duration_op(node: ast.NumberLiteral | ast.DurationOp | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.NumberLiteral):
        return _number(node)
    left, right = _duration_op(node.left), _duration_op(node.right)
    if node.op in {"step", "range"}:
        text = f"{node.op}()"
    elif node.op in {"min_of", "max_of"}:
        text = f"{node.op}({left}, {right})"
    elif node.left is None:
        text = right if node.op == "+" else f"-{right}"
    else:
        text = f"{left} {node.op} {right}"
    return f"({text})" if node.wrapped else text


def _aggregate_head(node: ast.Aggregate) -> str:
    if not node.grouping and not node.without:
        return node.op
    return f"{node.op} {'without' if node.without else 'by'} {_labels(node.grouping)} "


def _operator(node: ast.Binary) -> str:
    """The operator and what modifies it."""
    parts = [node.op]
    if node.return_bool:
        parts.append("bool")
    matching = node.matching
    if matching is None:
        return " ".join(parts)
    grouped = matching.card in {ast.Card.MANY_TO_ONE, ast.Card.ONE_TO_MANY}
    if matching.labels or matching.on or grouped:
        parts.append(f"{'on' if matching.on else 'ignoring'} {_labels(matching.labels)}")
    if grouped:
        side = "left" if matching.card is ast.Card.MANY_TO_ONE else "right"
        parts.append(f"group_{side} {_labels(matching.include)}")
    left, right = matching.fill_left, matching.fill_right
    if left is not None and right is not None and left == right:
        parts.append(f"fill ({format_number(left)})")
    else:
        if left is not None:
            parts.append(f"fill_left ({format_number(left)})")
        if right is not None:
            parts.append(f"fill_right ({format_number(right)})")
    return " ".join(parts)
