"""The tree as JSON objects, as `/api/v1/parse_query` gives it to tree views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from obsd.model.go_strings import to_valid_text
from obsd.model.matcher import Matcher
from obsd.promql import ast
from obsd.promql.ast import ValueType
from obsd.promql.functions import FUNCTIONS
from obsd.promql.literals import format_plain

Json = dict[str, object]

_TYPE_NAMES: Final = {
    ValueType.SCALAR: "scalar",
    ValueType.VECTOR: "vector",
    ValueType.MATRIX: "matrix",
    ValueType.STRING: "string",
}


def expr_to_json(expr: ast.Expr) -> Json:
    """A tree of plain dictionaries, lists, strings, numbers and None."""
    match expr:
        case ast.NumberLiteral(value=value):
            return {"type": "numberLiteral", "val": format_plain(value)}
        case ast.StringLiteral(value=text):
            return {"type": "stringLiteral", "val": to_valid_text(text)}
        case ast.VectorSelector():
            return {"type": "vectorSelector", **_selector(expr)}
        case ast.MatrixSelector(selector=selector):
            return {
                "type": "matrixSelector",
                **_duration("range", expr.range),
                **_selector(selector),
            }
        case ast.Subquery():
            return _subquery(expr)
        case ast.Call():
            return _call(expr)
        case ast.Aggregate():
            return {
                "type": "aggregation",
                "op": expr.op,
                "expr": expr_to_json(expr.expr),
                "param": None if expr.param is None else expr_to_json(expr.param),
                "grouping": list(expr.grouping),
                "without": expr.without,
            }
        case ast.Binary():
            return {
                "type": "binaryExpr",
                "op": expr.op,
                "lhs": expr_to_json(expr.left),
                "rhs": expr_to_json(expr.right),
                "matching": None if expr.matching is None else _matching(expr.matching),
                "bool": expr.return_bool,
            }
        case ast.Unary():
            return {"type": "unaryExpr", "op": expr.op, "expr": expr_to_json(expr.expr)}
        case ast.Paren():
            return {"type": "parenExpr", "expr": expr_to_json(expr.expr)}


def _call(node: ast.Call) -> Json:
    signature = FUNCTIONS[node.function]
    return {
        "type": "call",
        "func": {
            "name": node.function,
            "argTypes": [_TYPE_NAMES[kind] for kind in signature.args],
            "variadic": signature.variadic,
            "returnType": _TYPE_NAMES[signature.returns],
        },
        "args": [expr_to_json(arg) for arg in node.args],
    }


def _subquery(node: ast.Subquery) -> Json:
    return {
        "type": "subquery",
        "expr": expr_to_json(node.expr),
        **_duration("range", node.range),
        **_duration("offset", node.offset),
        **_duration("step", 0 if node.step is None else node.step),
        **_at(node.at),
    }


def _selector(node: ast.VectorSelector) -> Json:
    return {
        "name": node.name,
        **_duration("offset", node.offset),
        "matchers": _matchers(node.matchers),
        **_at(node.at),
        "anchored": node.anchored,
        "smoothed": node.smoothed,
    }


def _matchers(matchers: Sequence[Matcher]) -> list[Json]:
    return [{"name": m.name, "value": m.value, "type": m.op.value} for m in matchers]


def _at(at: ast.At | None) -> Json:
    anchor = at.value if isinstance(at, ast.AtAnchor) else None
    return {"timestamp": at if isinstance(at, int) else None, "startOrEnd": anchor}


def _duration(name: str, duration: ast.Duration) -> Json:
    """Milliseconds, and the expression that they will come from if they are not known yet."""
    if isinstance(duration, int):
        return {name: duration, f"{name}Expr": None}
    return {name: 0, f"{name}Expr": _duration_op(duration)}


def _duration_op(node: ast.NumberLiteral | ast.DurationOp | None) -> Json | None:
    match node:
        case None:
            return None
        case ast.NumberLiteral(value=value, is_duration=is_duration):
            return {"type": "numberLiteral", "val": format_plain(value), "duration": is_duration}
        case ast.DurationOp(op=op, left=left, right=right, wrapped=wrapped):
            return {
                "type": "durationExpr",
                "op": op,
                "lhs": _duration_op(left),
                "rhs": _duration_op(right),
                "wrapped": wrapped,
            }


def _matching(matching: ast.Matching) -> Json:
    return {
        "card": matching.card.value,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }
