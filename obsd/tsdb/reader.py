"""Reading: from matchers over series ids and sources to columns, matrices and label lists."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from obsd import _native
from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError
from obsd.model.exemplar import Exemplar
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.matcher import Matcher
from obsd.model.metadata import METRIC_TYPES, Metadata
from obsd.model.samples import Columns, HistogramColumn, Matrix, RollupSpec
from obsd.tsdb.exemplar_codec import decode_exemplar
from obsd.tsdb.stats import Cardinality

Ids = npt.NDArray[np.uint32]
_T = TypeVar("_T", bound=np.generic)
Source = _native.Head | _native.Part

_CELLS_A_SLICE: Final = 2_000_000
"""Values rolled up between two checks of the budget: some tens of milliseconds."""

_SERIES_A_SLICE: Final = 4_096

_CACHED_LABELS: Final = 32_768


class _LabelCache:
    """`Labels` of the series that queries ask for again and again."""

    def __init__(self, registry: _native.Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._known: OrderedDict[int, Labels] = OrderedDict()  # Oldest first. Under the lock.

    def get(self, ids: Ids) -> list[Labels]:
        wanted = ids.tolist()
        with self._lock:
            found = [self._known.get(i) for i in wanted]
        missing = [i for i, labels in zip(wanted, found, strict=True) if labels is None]
        if not missing:
            return [labels for labels in found if labels is not None]
        pairs = self._registry.labels(np.array(missing, dtype=np.uint32))
        fresh = {i: Labels(p) for i, p in zip(missing, pairs, strict=True)}
        with self._lock:
            self._known.update(fresh)
            while len(self._known) > _CACHED_LABELS:
                self._known.popitem(last=False)
        return [
            fresh[i] if labels is None else labels for i, labels in zip(wanted, found, strict=True)
        ]


class Reader:
    """Reads one registry's series from sources that the caller names, oldest first."""

    def __init__(self, registry: _native.Registry) -> None:
        self._registry = registry
        self._labels = _LabelCache(registry)

    def ids(self, matcher_sets: Iterable[Sequence[Matcher]]) -> Ids:
        """Series that any of the selectors matches, sorted by labels; all for no selector.

        Raises:
            BadInputError: a regular expression does not compile.
        """
        selectors = [[(m.op.value, m.name, m.value) for m in matchers] for matchers in matcher_sets]
        try:
            return self._registry.select(selectors)
        except ValueError as error:
            raise BadInputError(f"invalid matcher: {error}") from error

    def select(
        self,
        sources: list[Source],
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        budget: QueryBudget,
    ) -> Columns:
        start_ms, end_ms = _in_range(start_ms), _in_range(end_ms)
        ids = self._with_samples(sources, self.ids([matchers]), start_ms, end_ms)
        offsets, timestamps, values, charged = _empty_offsets(), [], [], 0
        for piece in _slices(ids, _SERIES_A_SLICE):
            piece_offsets, ts, vs = _native.select_samples(sources, piece, start_ms, end_ms)
            offsets.append(piece_offsets[1:] + charged)
            timestamps.append(ts)
            values.append(vs)
            charged += len(ts)
            budget.charge(len(ts))
        histograms = self._histograms(sources, ids, start_ms, end_ms)
        columns = Columns(
            tuple(self._labels.get(ids)),
            np.concatenate(offsets),
            _joined(timestamps, np.int64),
            _joined(values, np.float64),
            histograms,
        )
        return _without_empty_series(columns)

    def _histograms(
        self, sources: list[Source], ids: Ids, start_ms: int, end_ms: int
    ) -> HistogramColumn | None:
        offsets, timestamps, messages = _native.select_blobs(
            sources, ids, "histogram", start_ms, end_ms
        )
        return HistogramColumn(offsets, timestamps, tuple(messages)) if messages else None

    def rollup(
        self,
        sources: list[Source],
        matchers: Sequence[Matcher],
        spec: RollupSpec,
        budget: QueryBudget,
    ) -> Matrix:
        last_ms = spec.start_ms + (spec.step_count - 1) * spec.step_ms
        first_ms = spec.start_ms - spec.offset_ms - spec.window_ms + 1
        ids = self._with_samples(sources, self.ids([matchers]), first_ms, last_ms - spec.offset_ms)
        budget.reserve(len(ids) * spec.step_count)
        values, present = [], []
        for piece in _slices(ids, max(1, _CELLS_A_SLICE // max(1, spec.step_count))):
            budget.check()
            piece_values, piece_present, samples = _native.rollup(
                sources,
                piece,
                spec.function,
                list(spec.args),
                spec.start_ms,
                spec.end_ms,
                spec.step_ms,
                spec.window_ms,
                spec.offset_ms,
            )
            budget.charge(samples)
            values.append(piece_values)
            present.append(piece_present)
        if not values:
            return _no_matrix(spec)
        return self._matrix(ids, _stacked(values), _stacked(present))

    def _matrix(
        self, ids: Ids, values: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]
    ) -> Matrix:
        kept = present.any(axis=1)
        if not kept.all():
            ids, values, present = ids[kept], values[kept], present[kept]
        return Matrix(tuple(self._labels.get(ids)), values, present)

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        budget.charge(len(columns.timestamps))
        budget.reserve(len(columns.labels) * spec.step_count)
        try:
            values, present = _native.rollup_columns(
                spec.function,
                list(spec.args),
                columns.offsets,
                columns.timestamps,
                columns.values,
                spec.start_ms,
                spec.end_ms,
                spec.step_ms,
                spec.window_ms,
                spec.offset_ms,
            )
        except ValueError as error:
            raise BadInputError(str(error)) from error
        kept = np.asarray(present.any(axis=1))
        labels = tuple(compress(columns.labels, kept))
        return Matrix(labels, values[kept], present[kept])

    def series(
        self,
        sources: list[Source],
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        limit: int | None,
        budget: QueryBudget,
    ) -> list[Labels]:
        found: list[Labels] = []
        for piece in _slices(self.ids(matcher_sets), _SERIES_A_SLICE):
            budget.check()
            found += self._labels.get(self._with_samples(sources, piece, start_ms, end_ms))
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]

    def label_names(
        self,
        sources: list[Source],
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        budget: QueryBudget,
    ) -> list[str]:
        ids = self._checked_with_samples(sources, matcher_sets, start_ms, end_ms, budget)
        return self._registry.label_names(ids)

    def label_values(
        self,
        sources: list[Source],
        name: str,
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        budget: QueryBudget,
    ) -> list[str]:
        ids = self._checked_with_samples(sources, matcher_sets, start_ms, end_ms, budget)
        return self._registry.label_values(name, ids)

    def _checked_with_samples(
        self,
        sources: list[Source],
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        budget: QueryBudget,
    ) -> Ids:
        """Looking whether a series has samples may read its chunks, so this is what takes long."""
        found = []
        for piece in _slices(self.ids(matcher_sets), _SERIES_A_SLICE):
            budget.check()
            found.append(self._with_samples(sources, piece, start_ms, end_ms))
        budget.check()
        return _joined(found, np.uint32)

    def exemplars(
        self,
        sources: list[Source],
        matcher_sets: Sequence[Sequence[Matcher]],
        start_ms: int,
        end_ms: int,
        budget: QueryBudget,
    ) -> list[tuple[Labels, list[Exemplar]]]:
        start_ms, end_ms = _in_range(start_ms), _in_range(end_ms)
        found: list[tuple[Labels, list[Exemplar]]] = []
        for ids in _slices(self.ids(matcher_sets), _SERIES_A_SLICE):
            offsets, _, messages = _native.select_blobs(sources, ids, "exemplar", start_ms, end_ms)
            budget.charge(len(messages))
            having = np.flatnonzero(np.diff(offsets))
            found += (
                (of, [decode_exemplar(m) for m in messages[offsets[i] : offsets[i + 1]]])
                for i, of in zip(having.tolist(), self._labels.get(ids[having]), strict=True)
            )
        return found

    def metadata(self, metric: str | None) -> dict[str, Metadata]:
        return {
            family: Metadata(_type_name(kind), help_text, unit)
            for family, kind, help_text, unit in sorted(self._registry.metadata())
            if metric is None or family == metric
        }

    def cardinality(self, limit: int) -> Cardinality:
        names, pairs = self._registry.cardinality(limit)
        by_metric = self._registry.label_sizes(METRIC_NAME, limit)
        values = sorted(((n, v) for n, v, _, _ in names), key=_by_count)
        text_bytes = sorted(((n, b) for n, _, _, b in names), key=_by_count)
        return Cardinality(
            series=self._registry.series_count,
            label_pairs=sum(count for _, count in values),
            by_metric=by_metric,
            values_by_label=values[:limit],
            bytes_by_label=text_bytes[:limit],
            by_pair=[(f"{name}={value}", series) for name, value, series in pairs],
        )

    @staticmethod
    def _with_samples(sources: list[Source], ids: Ids, start_ms: int, end_ms: int) -> Ids:
        return _native.with_samples(sources, ids, _in_range(start_ms), _in_range(end_ms))


def _in_range(time_ms: int) -> int:
    """The nearest time that 64 bits hold: no sample is beyond."""
    return min(max(time_ms, -(2**63)), 2**63 - 1)


def _by_count(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def _type_name(kind: int) -> str:
    return METRIC_TYPES[kind] if kind < len(METRIC_TYPES) else "unknown"


def _slices(ids: Ids, size: int) -> Iterable[Ids]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def _empty_offsets() -> list[npt.NDArray[np.int64]]:
    return [np.zeros(1, dtype=np.int64)]


def _joined(pieces: Sequence[npt.NDArray[_T]], dtype: type[_T]) -> npt.NDArray[_T]:
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=dtype)


def _stacked(pieces: Sequence[npt.NDArray[_T]]) -> npt.NDArray[_T]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _no_matrix(spec: RollupSpec) -> Matrix:
    shape = (0, spec.step_count)
    return Matrix((), np.empty(shape), np.empty(shape, dtype=np.bool_))


def _without_empty_series(columns: Columns) -> Columns:
    counts = np.diff(columns.offsets)
    histograms = columns.histograms
    if histograms is not None:
        counts = counts + np.diff(histograms.offsets)
    kept = counts > 0
    if kept.all():
        return columns
    mask = np.concatenate(([True], kept))
    if histograms is not None:
        histograms = HistogramColumn(
            histograms.offsets[mask], histograms.timestamps, histograms.encoded
        )
    labels = tuple(compress(columns.labels, kept))
    return Columns(labels, columns.offsets[mask], columns.timestamps, columns.values, histograms)
