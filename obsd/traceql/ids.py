"""Ids in queries: what is compared with one is written as the spans have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from obsd.traceql import ast

_DIGITS: Final = {
    "trace:id": 32,
    "span:id": 16,
    "span:parentID": 16,
    "link:traceID": 32,
    "link:spanID": 16,
}


def with_whole_ids(expr: ast.Binary) -> ast.Binary:
    """The comparison, with an id to either side in lower case and with all of its zeros."""
    if expr.op not in {"=", "!="}:
        return expr
    left = _whole(expr.left, expr.right)
    right = _whole(expr.right, expr.left)
    if left is expr.left and right is expr.right:
        return expr
    return replace(expr, left=left, right=right)


def _whole(side: ast.FieldExpr, other: ast.FieldExpr) -> ast.FieldExpr:
    if not isinstance(side, ast.Static) or not isinstance(other, ast.Intrinsic):
        return side
    digits = _DIGITS.get(other.name)
    if digits is None or not isinstance(side.value, str) or not side.value:
        return side
    return replace(side, value=side.value.lower().rjust(digits, "0"))
