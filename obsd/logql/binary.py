"""Binary operators between scalars and instant vectors, at every step."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final

import numpy as np

from obsd.logql import ast
from obsd.logql.errors import VectorMatchError
from obsd.logql.series import Grid, ScalarSteps, Value, merged
from obsd.model.labels import Labels
from obsd.model.samples import BoolArray, FloatArray

Operation = Callable[[FloatArray, FloatArray], FloatArray]


def _divide(left: FloatArray, right: FloatArray) -> FloatArray:
    """As Loki divides: by zero gives no number."""
    quotient: FloatArray = np.where(right == 0, np.nan, left / np.where(right == 0, 1, right))
    return quotient


def _modulo(left: FloatArray, right: FloatArray) -> FloatArray:
    rest: FloatArray = np.where(right == 0, np.nan, np.fmod(left, np.where(right == 0, 1, right)))
    return rest


_ARITHMETIC: Final[dict[str, Operation]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _modulo,
    "^": np.power,
}
_COMPARISONS: Final[dict[str, Callable[[FloatArray, FloatArray], BoolArray]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def binary(node: ast.Binary, left: Value, right: Value) -> Value:
    """The operator's result.

    Raises:
        VectorMatchError: series do not match as the operator says.
    """
    with np.errstate(all="ignore"):
        match left, right:
            case ScalarSteps(a), ScalarSteps(b):
                if node.op in _COMPARISONS:
                    return ScalarSteps(_COMPARISONS[node.op](a, b).astype(np.float64))
                return ScalarSteps(_ARITHMETIC[node.op](a, b))
            case Grid(), ScalarSteps(b):
                return _with_scalar(node, left, left.values, np.broadcast_to(b, left.values.shape))
            case ScalarSteps(a), Grid():
                return _with_scalar(
                    node, right, np.broadcast_to(a, right.values.shape), right.values
                )
            case Grid(), Grid():
                if node.op in ast.SET_OPERATORS:
                    return _set_operation(node, left, right)
                return _vectors(node, left, right)
    raise AssertionError("unreachable: there are no other values")


def _with_scalar(node: ast.Binary, grid: Grid, left: FloatArray, right: FloatArray) -> Grid:
    """A comparison keeps the vector's values where it holds, or says 1 or 0 of them."""
    if node.op not in _COMPARISONS:
        return Grid(grid.labels, _ARITHMETIC[node.op](left, right), grid.present)
    holds = _COMPARISONS[node.op](left, right)
    if node.return_bool:
        return Grid(grid.labels, holds.astype(np.float64), grid.present)
    return Grid(grid.labels, grid.values, grid.present & holds).without_empty()


def _signature(labels: Labels, matching: ast.Matching) -> Labels:
    names = frozenset(matching.labels)
    return labels.keep(names) if matching.on else labels.drop(names)


def _set_operation(node: ast.Binary, left: Grid, right: Grid) -> Grid:
    there: dict[Labels, BoolArray] = {}
    of_left: dict[Labels, BoolArray] = {}
    for grid, known in ((right, there), (left, of_left)):
        for labels, present in zip(grid.labels, grid.present, strict=True):
            key = _signature(labels, node.matching)
            known[key] = known[key] | present if key in known else present
    nowhere = np.zeros(left.present.shape[1], np.bool_)
    if node.op == "or":
        hidden = [of_left.get(_signature(each, node.matching), nowhere) for each in right.labels]
        present = right.present & ~np.array(hidden, np.bool_).reshape(right.present.shape)
        return merged(
            (*right.labels, *left.labels),
            np.concatenate((right.values, left.values)),
            np.concatenate((present, left.present)),
        ).without_empty()
    found = [there.get(_signature(each, node.matching), nowhere) for each in left.labels]
    mask = np.array(found, np.bool_).reshape(left.present.shape)
    kept = left.present & (mask if node.op == "and" else ~mask)
    return Grid(left.labels, left.values, kept).without_empty()


def _vectors(node: ast.Binary, left: Grid, right: Grid) -> Grid:
    """Every series with the one of the other side that has the same labels to match."""
    matching = node.matching
    is_swapped = matching.card == "one-to-many"
    many, one = (right, left) if is_swapped else (left, right)
    by_signature = _unique(one, matching)
    labels: list[Labels] = []
    values: list[FloatArray] = []
    present: list[BoolArray] = []
    seen: dict[Labels, BoolArray] = {}
    for row, own in enumerate(many.labels):
        key = _signature(own, matching)
        if key not in by_signature:
            continue
        other, other_values, other_present = by_signature[key]
        both = many.present[row] & other_present
        if matching.card == "one-to-one":
            if key in seen and (seen[key] & both).any():
                raise VectorMatchError(
                    "multiple matches for labels: many-to-one matching must be explicit "
                    "(group_left/group_right)"
                )
            seen[key] = seen[key] | both if key in seen else both
        a, b = many.values[row], other_values
        if is_swapped:
            a, b = b, a
        if node.op in _COMPARISONS:
            holds = _COMPARISONS[node.op](a, b)
            result = holds.astype(np.float64) if node.return_bool else a
            both = both if node.return_bool else both & holds
        else:
            result = _ARITHMETIC[node.op](a, b)
        labels.append(_result_labels(own, other, matching))
        values.append(result)
        present.append(both)
    if not labels:
        return Grid.empty(left.values.shape[1])
    return merged(labels, np.array(values), np.array(present)).without_empty()


def _unique(
    grid: Grid, matching: ast.Matching
) -> dict[Labels, tuple[Labels, FloatArray, BoolArray]]:
    """The series of the side of which there may be one; those that take turns are one."""
    found: dict[Labels, tuple[Labels, FloatArray, BoolArray]] = {}
    for labels, values, present in zip(grid.labels, grid.values, grid.present, strict=True):
        key = _signature(labels, matching)
        if key not in found:
            found[key] = labels, values, present
            continue
        first, known, there = found[key]
        if (there & present).any():
            side = "left" if matching.card == "one-to-many" else "right"
            raise VectorMatchError(
                f"found duplicate series on the {side} hand-side for labels {key!r}: "
                "many-to-many matching not allowed: matching labels must be unique on one side"
            )
        found[key] = first, np.where(present, values, known), there | present
    return found


def _result_labels(many: Labels, one: Labels, matching: ast.Matching) -> Labels:
    if matching.card == "one-to-one":
        return _signature(many, matching)
    labels = many
    for name in matching.include:
        labels = labels.with_label(name, one.get(name))
    return labels
