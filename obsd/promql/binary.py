"""Binary operators: arithmetic, comparisons as filters, set operators, and who meets whom.

Which series match depends on labels alone, so it is settled once for all steps. Only whether a
match is unique depends on the step, through presence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from obsd.model.errors import QueryError
from obsd.model.go_strings import quote
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.samples import BoolArray, FloatArray
from obsd.promql import ast
from obsd.promql.annotations import Annotations
from obsd.promql.value import NAME_LABELS, Grid, Steps, merge_series

_ARITHMETIC: Final[dict[str, Callable[[FloatArray, FloatArray], FloatArray]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARE: Final[dict[str, Callable[[FloatArray, FloatArray], BoolArray]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_TRIMS: Final = frozenset({"</", ">/"})


def scalar_binary(node: ast.Binary, left: Steps, right: Steps) -> Steps:
    """Between scalars; a comparison gives 0 or 1."""
    if node.op in _TRIMS:
        raise QueryError(f"operator {quote(node.op)} not allowed for Scalar operations")
    if node.op in _COMPARE:
        return Steps(_COMPARE[node.op](left.values, right.values).astype(np.float64))
    return Steps(_ARITHMETIC[node.op](left.values, right.values))


def vector_scalar_binary(
    node: ast.Binary, grid: Grid, scalar: Steps, notes: Annotations, *, swapped: bool = False
) -> Grid:
    """Between a vector and a scalar; `swapped` when the scalar is on the left."""
    if node.op in _TRIMS:
        if grid.labels:
            _note_floats_only(node, notes)
        return Grid.empty(grid.step_count)
    left: FloatArray = grid.values
    right: FloatArray = scalar.values
    if swapped:
        left, right = right, left
    if node.op in _ARITHMETIC:
        return grid.with_values(_ARITHMETIC[node.op](left, right))
    hit = _COMPARE[node.op](left, right)
    if node.return_bool:
        return grid.with_values(hit.astype(np.float64))
    return Grid(grid.labels, grid.values, grid.present & hit, grid.drop_name).without_empty()


def vector_binary(node: ast.Binary, left: Grid, right: Grid, notes: Annotations) -> Grid:
    """Between vectors.

    Raises:
        QueryError: a match is not unique where it must be.
    """
    assert node.matching is not None, "settled when the query was checked"
    if node.op in ast.SET_OPERATORS:
        return _set_operation(node.op, node.matching, left, right)
    if node.op in _TRIMS:
        if len(left.labels) and len(right.labels):
            _note_floats_only(node, notes)
        return Grid.empty(left.step_count)
    return _matched(node, node.matching, left, right)


def _note_floats_only(node: ast.Binary, notes: Annotations) -> None:
    notes.inform(
        "incompatible sample types encountered for binary operator "
        f"{quote(node.op)}: float {node.op} float",
        node.span,
    )


Signature = tuple[tuple[str, str], ...]


def _signatures(matching: ast.Matching, labels: Sequence[Labels]) -> list[Signature]:
    """What series must agree in to match."""
    if matching.on:
        names = frozenset(matching.labels)
        return [tuple(p for p in series.pairs if p[0] in names) for series in labels]
    ignored = frozenset((*matching.labels, METRIC_NAME))
    return [tuple(p for p in series.pairs if p[0] not in ignored) for series in labels]


def _set_operation(op: str, matching: ast.Matching, left: Grid, right: Grid) -> Grid:
    left_keys = _signatures(matching, left.labels)
    right_keys = _signatures(matching, right.labels)
    if op == "or":
        taken = _presence_by(left_keys, left.present, right_keys)
        both = Grid(
            (*left.labels, *right.labels),
            np.concatenate((left.values, right.values)),
            np.concatenate((left.present, right.present & ~taken)),
            np.concatenate((left.drop_name, right.drop_name)),
        )
        return merge_series(both.without_empty())
    there = _presence_by(right_keys, right.present, left_keys)
    present = left.present & (there if op == "and" else ~there)
    return Grid(left.labels, left.values, present, left.drop_name).without_empty()


def _presence_by(
    keys: Sequence[Signature], present: BoolArray, wanted: Sequence[Signature]
) -> BoolArray:
    """For each wanted key and step, whether any series with that key exists."""
    ordinals = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    exists = np.zeros((len(ordinals) + 1, present.shape[1]), np.bool_)
    for key, row in zip(keys, present, strict=True):
        exists[ordinals[key]] |= row
    return exists[[ordinals.get(key, len(ordinals)) for key in wanted]]


@dataclass(frozen=True, slots=True)
class _Side:
    """One operand and the signatures of its series."""

    grid: Grid
    keys: list[Signature]

    @property
    def rows(self) -> dict[Signature, list[int]]:
        found: dict[Signature, list[int]] = {}
        for i, key in enumerate(self.keys):
            found.setdefault(key, []).append(i)
        return found


def _matched(node: ast.Binary, matching: ast.Matching, left: Grid, right: Grid) -> Grid:
    """Arithmetic or a comparison over pairs of a series of the many and one of the one side."""
    swapped = matching.card is ast.Card.ONE_TO_MANY
    many_grid, one_grid = (right, left) if swapped else (left, right)
    # As in Prometheus, a fill value stays with its role when `group_right` turns the sides around:
    # `fill_left` is for what the many side lacks.
    many_fill, one_fill = matching.fill_left, matching.fill_right
    many = _Side(many_grid, _signatures(matching, many_grid.labels))
    one = _Side(one_grid, _signatures(matching, one_grid.labels))
    active = many_grid.occupied & one_grid.occupied
    if many_fill is not None or one_fill is not None:
        active = many_grid.occupied | one_grid.occupied
    _check_one_side(matching, one, active)
    pairs = _pair(many, one, many_fill, one_fill)
    result_labels = [
        _result_labels(node, matching, many_labels, one_labels)
        for many_labels, one_labels in zip(pairs.many_labels, pairs.one_labels, strict=True)
    ]
    _check_many_side(matching, pairs, result_labels)
    first, second = (
        (pairs.one_values, pairs.many_values) if swapped else (pairs.many_values, pairs.one_values)
    )
    present = pairs.present
    drops = pairs.drop_name
    if node.op in _ARITHMETIC:
        values, drops = _ARITHMETIC[node.op](first, second), np.zeros_like(drops)
    else:
        hit = _COMPARE[node.op](first, second)
        if node.return_bool:
            values, drops = hit.astype(np.float64), np.ones_like(drops)
        else:
            values, present = first, present & hit
    grid = Grid(tuple(result_labels), values, present, drops)
    return merge_series(grid.without_empty())


def _check_one_side(matching: ast.Matching, one: _Side, active: BoolArray) -> None:
    """At no step may two series of the one side have the same signature."""
    for rows in one.rows.values():
        if len(rows) == 1:
            continue
        crowded = np.flatnonzero((one.grid.present[rows].sum(axis=0) > 1) & active)
        if not len(crowded):
            continue
        there = [i for i in rows if one.grid.present[i, crowded[0]]][:2]
        first, second = sorted(format_labels(one.grid.labels[i]) for i in there)
        side = "left" if matching.card is ast.Card.ONE_TO_MANY else "right"
        group = format_labels(_match_labels(matching, one.grid.labels[there[0]]))
        raise QueryError(
            f"found duplicate series for the match group {group} on the {side} hand-side of the "
            f"operation: [{first}, {second}];many-to-many matching not allowed: "
            "matching labels must be unique on one side"
        )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Series that meet: one row a pair, absent where either is and nothing fills in."""

    keys: list[Signature]
    many_labels: list[Labels]
    one_labels: list[Labels]
    many_values: FloatArray
    one_values: FloatArray
    present: BoolArray
    drop_name: BoolArray


def _pair(many: _Side, one: _Side, many_fill: float | None, one_fill: float | None) -> _Pairs:
    one_rows = one.rows
    meeting = [(i, j) for i, key in enumerate(many.keys) for j in one_rows.get(key, ())]
    many_index = np.array([i for i, _ in meeting], dtype=np.int64)
    one_index = np.array([j for _, j in meeting], dtype=np.int64)
    pairs = _Pairs(
        [many.keys[i] for i, _ in meeting],
        [many.grid.labels[i] for i, _ in meeting],
        [one.grid.labels[j] for _, j in meeting],
        many.grid.values[many_index],
        one.grid.values[one_index],
        many.grid.present[many_index] & one.grid.present[one_index],
        many.grid.drop_name[many_index],
    )
    if one_fill is not None:
        pairs = _with_filled_one(pairs, many, one, one_fill)
    if many_fill is not None:
        pairs = _with_filled_many(pairs, many, one, many_fill)
    return pairs


def _with_filled_one(pairs: _Pairs, many: _Side, one: _Side, fill: float) -> _Pairs:
    """Every series of the many side where none of the one side meets it."""
    alone = many.grid.present & ~_presence_by(one.keys, one.grid.present, many.keys)
    rows = np.flatnonzero(alone.any(axis=1))
    return _Pairs(
        [*pairs.keys, *(many.keys[i] for i in rows)],
        [*pairs.many_labels, *(many.grid.labels[i] for i in rows)],
        [*pairs.one_labels, *(Labels() for _ in rows)],
        np.concatenate((pairs.many_values, many.grid.values[rows])),
        np.concatenate((pairs.one_values, np.full((len(rows), many.grid.step_count), fill))),
        np.concatenate((pairs.present, alone[rows])),
        np.concatenate((pairs.drop_name, many.grid.drop_name[rows])),
    )


def _with_filled_many(pairs: _Pairs, many: _Side, one: _Side, fill: float) -> _Pairs:
    """Every series of the one side where none of the many side meets it; it has its labels then."""
    alone = one.grid.present & ~_presence_by(many.keys, many.grid.present, one.keys)
    rows = np.flatnonzero(alone.any(axis=1))
    return _Pairs(
        [*pairs.keys, *(one.keys[j] for j in rows)],
        [*pairs.many_labels, *(Labels(one.keys[j]) for j in rows)],
        [*pairs.one_labels, *(one.grid.labels[j] for j in rows)],
        np.concatenate((pairs.many_values, np.full((len(rows), one.grid.step_count), fill))),
        np.concatenate((pairs.one_values, one.grid.values[rows])),
        np.concatenate((pairs.present, alone[rows])),
        np.concatenate((pairs.drop_name, np.zeros(len(rows), np.bool_))),
    )


def _check_many_side(
    matching: ast.Matching, pairs: _Pairs, result_labels: Sequence[Labels]
) -> None:
    """One-to-one: one pair a signature and step. Many-to-one: no two results alike within one."""
    one_to_one = matching.card is ast.Card.ONE_TO_ONE
    seen: dict[object, BoolArray] = {}
    for key, labels, present in zip(pairs.keys, result_labels, pairs.present, strict=True):
        identity = key if one_to_one else (key, labels)
        before = seen.get(identity)
        if before is None:
            seen[identity] = present
            continue
        if (before & present).any():
            raise QueryError(
                "multiple matches for labels: many-to-one matching must be explicit "
                "(group_left/group_right)"
                if one_to_one
                else "multiple matches for labels: grouping labels must ensure unique matches"
            )
        seen[identity] = before | present


def _result_labels(node: ast.Binary, matching: ast.Matching, many: Labels, one: Labels) -> Labels:
    if node.op in _ARITHMETIC:
        many = many.drop(NAME_LABELS)
    if matching.card is ast.Card.ONE_TO_ONE:
        names = frozenset(matching.labels)
        many = many.keep(names) if matching.on else many.drop(names) if names else many
    for name in matching.include:
        many = many.with_label(name, one.get(name))
    return many


def _match_labels(matching: ast.Matching, labels: Labels) -> Labels:
    names = frozenset(matching.labels)
    return labels.keep(names) if matching.on else labels.drop(names | {METRIC_NAME})


def format_labels(labels: Labels) -> str:
    """A label set as Prometheus prints it, the metric name among the others."""
    inner = ", ".join(f"{name}={quote(value)}" for name, value in labels)
    return f"{{{inner}}}"
