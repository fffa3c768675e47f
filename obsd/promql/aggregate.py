"""Aggregations: series are grouped by labels once, then reduced for all steps at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from obsd.model.errors import QueryError
from obsd.model.go_strings import is_valid_text, quote
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.samples import BoolArray, FloatArray, IntArray
from obsd.promql import ast
from obsd.promql.annotations import Annotations
from obsd.promql.literals import format_general, format_plain
from obsd.promql.sums import grouped_mean, grouped_sum, sorted_quantile
from obsd.promql.value import Grid, Steps


@dataclass(frozen=True, slots=True)
class Groups:
    """Series by the labels that an aggregation keeps.

    Attributes:
        labels: one entry a group, in the order of their first series.
        order: series by group, in their own order within one; int64, shape (series,).
        starts: where each group begins in `order`; int64, shape (groups,).
    """

    labels: tuple[Labels, ...]
    order: IntArray
    starts: IntArray

    @classmethod
    def of(cls, labels: Sequence[Labels], grouping: Sequence[str], *, without: bool) -> Groups:
        found: dict[Labels, int] = {}
        if without or grouping:
            names = frozenset(grouping)
            dropped = names | {METRIC_NAME}
            keys = [s.drop(dropped) if without else s.keep(names) for s in labels]
            ids = np.array([found.setdefault(key, len(found)) for key in keys], dtype=np.int64)
        else:
            ids = np.zeros(len(labels), dtype=np.int64)
            if labels:
                found[Labels()] = 0
        order = np.argsort(ids, kind="stable")
        counts = np.bincount(ids, minlength=len(found)) if len(ids) else np.zeros(0, np.int64)
        starts = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)[: len(found)]
        return cls(tuple(found), order, starts)

    @property
    def is_sorted(self) -> bool:
        """Whether series stand by group already."""
        return bool((np.diff(self.order) == 1).all())

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """The stretch of `order` that each group owns."""
        starts = self.starts.tolist()
        return list(zip(starts, [*starts[1:], len(self.order)][: len(starts)], strict=True))


Param = Steps | str | None

_BLOCK_VALUES: Final = 1 << 21  # 16 MiB of values: copies of more than that leave every cache.
_LEAST_STEPS: Final = 128  # A narrower block reads memory in stretches that are too short.


def aggregate(node: ast.Aggregate, grid: Grid, param: Param, notes: Annotations) -> Grid:
    """One aggregation at every step.

    Raises:
        QueryError: the parameter does not fit.
    """
    if node.op == "count_values":
        assert isinstance(param, str)
        return _count_values(node, grid, param)
    if node.op in _SELECTIONS:
        assert isinstance(param, Steps)
        return _select(node, grid, param.values, notes)
    if node.op == "quantile":
        assert isinstance(param, Steps)
        _warn_of_quantile(node, param.values, notes)
    groups = Groups.of(grid.labels, node.grouping, without=node.without)
    if not groups.labels:
        return Grid.empty(grid.step_count)
    shape = (len(groups.labels), grid.step_count)
    values, present = np.empty(shape), np.empty(shape, np.bool_)
    for steps in _step_blocks(grid):
        members = _members(grid, groups, steps)
        counts = _counts(members, groups)
        present[:, steps] = counts > 0
        if node.op == "quantile":
            assert isinstance(param, Steps)
            values[:, steps] = _quantiles(members, groups, param.values[steps])
        else:
            values[:, steps] = _REDUCTIONS[node.op](members, groups.starts, counts)
    return Grid(groups.labels, values, present, _drops(grid, groups)).without_empty()


def _step_blocks(grid: Grid) -> Iterator[slice]:
    """Stretches of steps whose values fit the processor's cache together."""
    width = max(_LEAST_STEPS, _BLOCK_VALUES // max(1, len(grid.labels)))
    for first in range(0, grid.step_count, width):
        yield slice(first, first + width)


def _members(grid: Grid, groups: Groups, steps: slice) -> Grid:
    """Some steps of all series, in the order of their groups."""
    values, present, labels = grid.values[:, steps], grid.present[:, steps], grid.labels
    if groups.is_sorted:
        return Grid(labels, values, present, grid.drop_name)
    return Grid(labels, values[groups.order], present[groups.order], grid.drop_name)


def _drops(grid: Grid, groups: Groups) -> BoolArray:
    """Whether any series of a group is due to lose its name."""
    if not grid.drop_name.any():
        return np.zeros(len(groups.labels), np.bool_)
    due = grid.drop_name & grid.present.any(axis=1)
    drops: BoolArray = np.logical_or.reduceat(due[groups.order], groups.starts)
    return drops


def _counts(members: Grid, groups: Groups) -> IntArray:
    """How many series of each group exist at each step."""
    if members.present.all():
        sizes = np.diff(np.append(groups.starts, len(members.labels)))
        return np.repeat(sizes[:, np.newaxis], members.step_count, axis=1)
    counts: IntArray = np.add.reduceat(members.present, groups.starts, axis=0, dtype=np.int64)
    return counts


Reduction = Callable[[Grid, IntArray, IntArray], FloatArray]


def _sum(members: Grid, starts: IntArray, _counts: IntArray) -> FloatArray:
    return grouped_sum(_or_else(members, 0.0), starts)


def _average(members: Grid, starts: IntArray, counts: IntArray) -> FloatArray:
    return grouped_mean(members.values, members.present, starts, counts)


def _count(_members: Grid, _starts: IntArray, counts: IntArray) -> FloatArray:
    return counts.astype(np.float64)


def _group(_members: Grid, _starts: IntArray, counts: IntArray) -> FloatArray:
    return np.ones(counts.shape)


def _minimum(members: Grid, starts: IntArray, _counts: IntArray) -> FloatArray:
    result: FloatArray = np.fmin.reduceat(_or_else(members, np.nan), starts, axis=0)
    return result


def _maximum(members: Grid, starts: IntArray, _counts: IntArray) -> FloatArray:
    result: FloatArray = np.fmax.reduceat(_or_else(members, np.nan), starts, axis=0)
    return result


def _or_else(members: Grid, absent: float) -> FloatArray:
    """The values, with a stand-in for those that do not exist."""
    if members.present.all():
        return members.values
    return np.where(members.present, members.values, absent)


def _variance(members: Grid, starts: IntArray, counts: IntArray) -> FloatArray:
    means = grouped_mean(members.values, members.present, starts, counts)
    sizes = np.diff(np.append(starts, len(members.labels)))
    deltas = members.values - np.repeat(means, sizes, axis=0)
    squares = np.where(members.present, deltas * deltas, 0.0)
    return grouped_sum(squares, starts) / counts


def _deviation(members: Grid, starts: IntArray, counts: IntArray) -> FloatArray:
    return np.sqrt(_variance(members, starts, counts))


_REDUCTIONS: Final[dict[str, Reduction]] = {
    "avg": _average,
    "count": _count,
    "group": _group,
    "max": _maximum,
    "min": _minimum,
    "stddev": _deviation,
    "stdvar": _variance,
    "sum": _sum,
}


def _quantiles(members: Grid, groups: Groups, q: FloatArray) -> FloatArray:
    values = np.empty((len(groups.labels), members.step_count))
    for i, (start, end) in enumerate(groups.bounds):
        values[i] = sorted_quantile(q, members.values[start:end], members.present[start:end])
    return values


def _warn_of_quantile(node: ast.Aggregate, q: FloatArray, notes: Annotations) -> None:
    assert node.param is not None
    worst = [v for v in (np.nan,) if np.isnan(q).any()]
    worst += [v for v in (np.nanmax(q),) if v > 1] if not np.isnan(q).all() else []
    worst += [v for v in (np.nanmin(q),) if v < 0] if not np.isnan(q).all() else []
    for value in worst:
        notes.warn(
            f"quantile value should be between 0 and 1, got {format_general(float(value))}",
            node.param.span,
        )


# Aggregations that select series rather than combine them.

_SELECTIONS: Final = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
_MAX_INT64: Final = float(1 << 63)
_FEW: Final = 12  # Up to here, taking minima one by one is faster than partitioning.


def _select(node: ast.Aggregate, grid: Grid, param: FloatArray, notes: Annotations) -> Grid:
    groups = Groups.of(grid.labels, node.grouping, without=node.without)
    if node.op == "limit_ratio":
        return _limit_ratio(node, grid, param, notes)
    if param.max() < 1:
        return Grid.empty(grid.step_count)
    if np.isnan(param).any():
        raise QueryError("Parameter value is NaN")
    if param.min() <= -_MAX_INT64:
        raise QueryError(f"Scalar value {format_general(param.min())} underflows int64")
    if param.max() >= _MAX_INT64:
        raise QueryError(f"Scalar value {format_general(param.max())} overflows int64")
    limits = np.minimum(np.trunc(param), len(grid.labels)).astype(np.int64)
    chosen = np.zeros_like(grid.present)
    order: list[int] = []
    for start, end in groups.bounds:
        rows = groups.order[start:end]
        present = grid.present[rows]
        if node.op == "limitk":
            chosen[rows] = present & (np.cumsum(present, axis=0) <= limits)
            order.extend(rows)
            continue
        for steps in _step_blocks(grid):
            keys = grid.values[rows, steps]
            if node.op == "topk":
                keys = -keys
            chosen[rows, steps] = _least(keys, present[:, steps], limits[steps])
        first = -grid.values[rows, 0] if node.op == "topk" else grid.values[rows, 0]
        order.extend(rows[np.lexsort((first, np.isnan(first)))])
    picked = Grid(grid.labels, grid.values, chosen, grid.drop_name)
    # With one step, the order of the values is the order of the answer.
    return (picked.take(order) if grid.step_count == 1 else picked).without_empty()


def _least(keys: FloatArray, present: BoolArray, limits: IntArray) -> BoolArray:
    """The `limits` least keys of each column; NaN comes last, and of equals the earlier series."""
    unknown = present & np.isnan(keys)
    known = present & ~unknown
    ranked = np.where(known, keys, np.inf)
    threshold = _order_statistic(ranked, np.clip(limits, 1, len(keys)) - 1)
    below = known & (ranked < threshold)
    room = limits - below.sum(axis=0)
    equal = known & (ranked == threshold)
    equal = _first(equal, room)
    unknown = _first(unknown, room - equal.sum(axis=0))
    chosen: BoolArray = below | equal | unknown
    chosen &= limits > 0
    return chosen


def _first(mask: BoolArray, room: IntArray) -> BoolArray:
    """Of each column, the first `room` that are set."""
    if (mask.sum(axis=0) <= room).all():
        return mask
    return mask & (np.cumsum(mask, axis=0) <= room)


def _order_statistic(values: FloatArray, index: IntArray) -> FloatArray:
    """Of each column, the value that sorting would put at `index`."""
    if (index != index[0]).any():
        return np.sort(values, axis=0)[index, np.arange(len(index))]
    if index[0] >= _FEW:
        nth: FloatArray = np.partition(values, index[0], axis=0)[index[0]]
        return nth
    rest, columns = values.copy(), np.arange(values.shape[1])
    for _ in range(int(index[0])):
        rest[rest.argmin(axis=0), columns] = np.inf
    least: FloatArray = rest.min(axis=0)
    return least


def _limit_ratio(node: ast.Aggregate, grid: Grid, ratio: FloatArray, notes: Annotations) -> Grid:
    assert node.param is not None
    if (ratio == 0).all():
        return Grid.empty(grid.step_count)
    if np.isnan(ratio).any():
        raise QueryError("Ratio value is NaN")
    for value, limit in ((ratio.max(), 1.0), (ratio.min(), -1.0)):
        if abs(value) > 1 and value * limit > 0:
            notes.warn(
                f"ratio value should be between -1 and 1, got {format_general(value)}, "
                f"capping to {format_general(limit)}",
                node.param.span,
            )
    capped = np.clip(ratio, -1.0, 1.0)
    places = np.array([_place(labels) for labels in grid.labels])[:, np.newaxis]
    # A negative ratio is the complement of the positive one that adds up to one with it.
    chosen = np.where(capped >= 0, places < capped, places >= 1 + capped) & (capped != 0)
    return Grid(grid.labels, grid.values, grid.present & chosen, grid.drop_name).without_empty()


def _place(labels: Labels) -> float:
    """Where in [0, 1) a series falls, always the same for the same labels."""
    digest = hashlib.blake2b(repr(labels.pairs).encode(), digest_size=7).digest()
    return (int.from_bytes(digest, "big") >> 3) / (1 << 53)


def _count_values(node: ast.Aggregate, grid: Grid, label: str) -> Grid:
    if not label or not is_valid_text(label):
        raise QueryError(f"invalid label name {quote(label)}")
    grouping = node.grouping if node.without else (*node.grouping, label)
    texts: dict[float, str] = {}
    counts: dict[Labels, FloatArray] = {}
    for labels, values, present in zip(grid.labels, grid.values, grid.present, strict=True):
        for value in np.unique(values[present]):
            number = float(value)
            text = texts.setdefault(number, format_plain(number))
            hits = present & (np.isnan(values) if np.isnan(number) else values == number)
            named = labels.with_label(label, text)
            group = Groups.of((named,), grouping, without=node.without).labels[0]
            counts[group] = counts.get(group, np.zeros(grid.step_count)) + hits
    if not counts:
        return Grid.empty(grid.step_count)
    matrix = np.array(list(counts.values()))
    return Grid(tuple(counts), matrix, matrix > 0, np.zeros(len(counts), np.bool_))
