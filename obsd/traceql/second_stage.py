"""What stands behind a metric: the greatest series, points that compare, and arithmetic.

Series of two metrics belong together if their labels are the same; one without labels belongs to
every series of the other side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from obsd.traceql import ast
from obsd.traceql.result import TraceExemplar
from obsd.traceql.series import METRIC_NAME, Labels, Row

_COMPARE: Final[dict[str, Callable[..., NDArray[np.bool_]]]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def apply(stage: ast.SecondStage, rows: Sequence[Row]) -> Sequence[Row]:
    """One stage over the series of a metric."""
    if isinstance(stage, ast.TopK):
        return _topk(stage, rows)
    return [kept for row in rows if (kept := _filtered(stage, row)) is not None]


def _topk(stage: ast.TopK, rows: Sequence[Row]) -> Sequence[Row]:
    """Of every step the `count` greatest, or least, points; what is left of no series is gone."""
    if len(rows) <= stage.count:
        return rows
    greatest = stage.op == "topk"
    # Of equal points topk takes the one whose labels are first, and bottomk the one that is last.
    ordered = sorted(rows, key=lambda row: row.text, reverse=not greatest)
    values = np.stack([row.values for row in ordered])
    order = np.argsort(-values if greatest else values, axis=0, kind="stable")
    kept = np.zeros(values.shape, np.bool_)
    np.put_along_axis(kept, order[: stage.count], values=True, axis=0)
    kept &= ~np.isnan(values)
    return [
        replace(row, values=np.where(mask, row.values, np.nan))
        for row, mask in zip(ordered, kept, strict=True)
        if mask.any()
    ]


def _filtered(stage: ast.MetricsFilter, row: Row) -> Row | None:
    compare = _COMPARE[stage.op]
    hit = compare(row.values, stage.value) & ~np.isnan(row.values)
    if not hit.any():
        return None
    exemplars = tuple(
        each
        for each in row.exemplars
        if not math.isnan(each.value) and compare(each.value, stage.value)
    )
    return replace(row, values=np.where(hit, row.values, np.nan), exemplars=exemplars)


def combined(
    op: ast.MathOp, left: Sequence[Row] | float, right: Sequence[Row] | float
) -> list[Row]:
    """Arithmetic between two metrics, or a metric and a number."""
    if isinstance(left, float):
        assert not isinstance(right, float), "the parser has done the arithmetic of numbers"
        return [_scaled(row, lambda v: _COMBINE[op](left, v)) for row in right]
    if isinstance(right, float):
        return [_scaled(row, lambda v: _COMBINE[op](v, np.float64(right))) for row in left]
    return _joined(op, {row.key: row for row in left}, {row.key: row for row in right})


def _divided(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return left / np.where(right == 0, np.nan, right)


_COMBINE: Final[dict[str, Callable[..., NDArray[np.float64]]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": _divided,
}


def _scaled(row: Row, apply_to: Callable[..., NDArray[np.float64]]) -> Row:
    exemplars = tuple(replace(e, value=float(apply_to(e.value))) for e in row.exemplars)
    return replace(row, values=apply_to(row.values), exemplars=exemplars)


def _joined(
    op: ast.MathOp, left: Mapping[Hashable, Row], right: Mapping[Hashable, Row]
) -> list[Row]:
    found: list[Row] = []
    for key in left if () in right else right:
        one = left.get(key, left.get(()))
        other = right.get(key, right.get(()))
        if one is None or other is None:
            continue
        values = _COMBINE[op](one.values, other.values)
        exemplars = _exemplars(one, other, alike=(key in left) == (key in right), own=key in left)
        found.append(Row(_labels(op, one.labels, other.labels), values, exemplars))
    return found


def _exemplars(one: Row, other: Row, *, alike: bool, own: bool) -> tuple[TraceExemplar, ...]:
    if alike:
        return one.exemplars + other.exemplars
    return one.exemplars if own else other.exemplars


def _labels(op: str, left: Labels, right: Labels) -> Labels:
    names = dict(left), dict(right)
    labels = {**names[1], **names[0]}
    labels.pop(METRIC_NAME, None)
    if all(METRIC_NAME in each for each in names):
        name = f"({names[0][METRIC_NAME]} {op} {names[1][METRIC_NAME]})"
        return ((METRIC_NAME, name), *labels.items())
    return tuple(labels.items())
