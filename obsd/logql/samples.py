"""The samples of a range aggregation: counted by the engine, or taken from lines one by one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from obsd.logql import ast
from obsd.logql.errors import PipelineError, SeriesLimitError
from obsd.logql.label_tests import names_of
from obsd.logql.line import Line
from obsd.logql.pipeline import compile_selector
from obsd.logql.pushdown import Pushed, label_field, push_down
from obsd.logql.result import QueryStats
from obsd.logql.series import Grid, Steps
from obsd.logql.stages import compile_pipeline
from obsd.logql.storage import Storage, Weight
from obsd.logql.unwrap import compile_unwrap
from obsd.logql.windows import aggregate
from obsd.model.budget import QueryBudget
from obsd.model.labels import Labels
from obsd.model.log_labels import EXTRACTED, LEVEL_NAMES, UNKNOWN_LEVEL
from obsd.model.matcher import Matcher
from obsd.model.samples import FloatArray

MAX_BUCKETS: Final = 200_000
"""Buckets that the engine counts in; a window and a step without a large divisor have too many."""

COUNTED: Final = frozenset({"bytes_over_time", "bytes_rate", "count_over_time", "rate"})
"""Operations whose samples the engine can count."""

# Values of the labels of a grouping, or all names and values.
_Key = tuple[Any, ...]

_BYTES: Final = frozenset({"bytes_over_time", "bytes_rate"})
_RATES: Final = frozenset({"bytes_rate", "rate"})


@dataclass(frozen=True, slots=True)
class Reader:
    """Where samples come from, and what they may take."""

    storage: Storage
    steps: Steps
    budget: QueryBudget
    max_series: int
    stats: QueryStats

    def read(self, node: ast.RangeAggregation, grouping: ast.Grouping | None) -> Grid:
        """The aggregation of each group's samples; of each set of labels', without a grouping.

        Raises:
            PipelineError: a line has an error that the query does not leave out.
            SeriesLimitError: there are too many groups.
        """
        pushed = push_down(node.range.query)
        fields = _fields(grouping)
        if (
            fields is not None
            and node.op in COUNTED
            and node.range.unwrap is None
            and not pushed.stages
            and not pushed.matchers
            and self._bucket_ns(node.range) is not None
        ):
            assert grouping is not None, "it has fields"
            return self._counted(node, pushed, grouping, fields)
        return self._from_lines(node, pushed, grouping)

    # Counts of the engine

    def _bucket_ns(self, window: ast.LogRange) -> int | None:
        steps = self.steps
        bucket_ns = math.gcd(steps.step_ns, window.range_ns) if steps.count > 1 else window.range_ns
        count = (steps.end_ns - steps.start_ns + window.range_ns) // bucket_ns
        return bucket_ns if count <= MAX_BUCKETS else None

    def _counted(
        self,
        node: ast.RangeAggregation,
        pushed: Pushed,
        grouping: ast.Grouping,
        fields: Mapping[str, tuple[str, ...]],
    ) -> Grid:
        records = self._slide(node.range, pushed, fields, "records")
        sums = records
        if node.op in _BYTES:
            sums = self._slide(node.range, pushed, fields, "bytes")
        count = len(records)
        self.budget.reserve(count * self.steps.count)
        values = np.zeros((count, self.steps.count))
        present = np.zeros((count, self.steps.count), np.bool_)
        for row, group in enumerate(records):
            values[row] = sums.get(group, 0.0)
            present[row] = records[group] > 0
        if node.op in _RATES:
            values /= node.range.range_ns / 1e9
        names = grouping.labels
        labels = tuple(Labels.of(zip(names, group, strict=True)) for group in records)
        return Grid(labels, values, present).without_empty()

    def _slide(
        self,
        window: ast.LogRange,
        pushed: Pushed,
        fields: Mapping[str, tuple[str, ...]],
        weight: Weight,
    ) -> dict[tuple[str, ...], FloatArray]:
        """The sum of each group's window at every step."""
        steps, bucket_ns = self.steps, self._bucket_ns(window)
        assert bucket_ns is not None, "the caller has seen to it"
        # A window has its end and not its start, and the engine's buckets the reverse.
        first_ns = steps.start_ns - window.offset_ns - window.range_ns + 1
        end_ns = steps.end_ns - window.offset_ns + 1
        by = [field for of_label in fields.values() for field in of_label]
        groups = self.storage.count_over_time(
            pushed.predicate, first_ns, end_ns, bucket_ns, by, self.budget, weight
        )
        stride, width = steps.step_ns // bucket_ns, window.range_ns // bucket_ns
        starts = np.arange(steps.count) * stride
        found: dict[tuple[str, ...], FloatArray] = {}
        for texts, counts in groups:
            total = int(counts.sum())
            if weight == "bytes":
                self.stats.bytes += total
            else:
                self.stats.lines += total
                self.stats.entries += total
            running = np.concatenate(([0], np.cumsum(counts)))
            sums = (running[starts + width] - running[starts]).astype(np.float64)
            group = _group(fields, texts)
            found[group] = found[group] + sums if group in found else sums
            if len(found) > self.max_series:
                raise SeriesLimitError(self.max_series)
        return found

    # Lines

    def _from_lines(
        self, node: ast.RangeAggregation, pushed: Pushed, grouping: ast.Grouping | None
    ) -> Grid:
        window = node.range
        series = _Series(self.max_series)
        wanted = _wanted(pushed, window.unwrap, grouping)
        stages = compile_pipeline(pushed.stages, wanted)
        is_selected = compile_selector(pushed.matchers) if pushed.matchers else None
        sample_of = _sample_of(node)
        key_of = _key_of(grouping, window.unwrap)
        names = wanted
        if wanted is not None:
            names = wanted | {name.removesuffix(EXTRACTED) for name in wanted}
        start_ns = self.steps.start_ns - window.offset_ns - window.range_ns + 1
        end_ns = self.steps.end_ns - window.offset_ns + 1
        for batch in self.storage.scan(
            pushed.predicate, start_ns, end_ns, self.budget, newest_first=False, names=names
        ):
            self.budget.charge(len(batch.texts))
            self.stats.lines += len(batch.texts)
            self.stats.bytes += batch.size_bytes
            for time_ns, text, stream, metadata in zip(
                batch.times_ns, batch.texts, batch.streams, batch.metadata, strict=True
            ):
                if is_selected is not None and not is_selected(stream):
                    continue
                line = Line(time_ns, text, stream, metadata)
                for stage in stages:
                    if not stage(line):
                        break
                else:
                    value = sample_of(line)
                    if value is None:
                        continue
                    if line.error:
                        raise PipelineError(line.error, sorted(line.labels().items()))
                    series.add(key_of(line), time_ns, value)
        self.stats.entries += series.count
        return self._aggregated(node, grouping, series)

    def _aggregated(
        self, node: ast.RangeAggregation, grouping: ast.Grouping | None, series: _Series
    ) -> Grid:
        count, steps = len(series.samples), self.steps
        self.budget.reserve(count * steps.count)
        values, present = np.zeros((count, steps.count)), np.zeros((count, steps.count), np.bool_)
        labels = []
        for row, (key, (times, samples)) in enumerate(series.samples.items()):
            self.budget.check()
            times_ns = np.frombuffer(times, np.int64) + node.range.offset_ns
            values[row], present[row] = aggregate(
                node.op,
                times_ns,
                np.frombuffer(samples, np.float64),
                steps,
                node.range.range_ns,
                node.param,
            )
            if grouping is None or grouping.without:
                labels.append(Labels.of(key))
            else:
                labels.append(Labels.of(zip(grouping.labels, key, strict=True)))
        return Grid(tuple(labels), values, present).without_empty()


class _Series:
    """Samples by the labels of their series, in order of time."""

    def __init__(self, max_series: int) -> None:
        self.samples: dict[_Key, tuple[array[int], array[float]]] = {}
        self.count = 0
        self._max_series = max_series

    def add(self, key: _Key, time_ns: int, value: float) -> None:
        """Take a sample.

        Raises:
            SeriesLimitError: it is of one series too many.
        """
        found = self.samples.get(key)
        if found is None:
            if len(self.samples) >= self._max_series:
                raise SeriesLimitError(self._max_series)
            found = self.samples[key] = (array("q"), array("d"))
        found[0].append(time_ns)
        found[1].append(value)
        self.count += 1


def _fields(grouping: ast.Grouping | None) -> dict[str, tuple[str, ...]] | None:
    """The engine's fields for each label of a grouping, the first that has a value counting.

    None where the engine cannot group so.
    """
    if grouping is None or grouping.without:
        return None
    fields: dict[str, tuple[str, ...]] = {}
    for name in grouping.labels:
        if name.startswith(("severity_", "__error")) or name.endswith(EXTRACTED):
            return None
        of_metadata = "level" if name in LEVEL_NAMES else f"metadata:{name}"
        has_one = name == "service_name"
        fields[name] = (label_field(name),) if has_one else (label_field(name), of_metadata)
    return fields if len(fields) == len(grouping.labels) else None


def _group(fields: Mapping[str, tuple[str, ...]], texts: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of a group, from the texts of all their fields."""
    group: list[str] = []
    at = 0
    for name, of_label in fields.items():
        found = next((text for text in texts[at : at + len(of_label)] if text), "")
        if not found:
            found = _DEFAULTS.get(name, "")
        group.append(found)
        at += len(of_label)
    return tuple(group)


_DEFAULTS: Final = {**dict.fromkeys(LEVEL_NAMES, UNKNOWN_LEVEL), "service_name": "unknown_service"}


def _sample_of(node: ast.RangeAggregation) -> Callable[[Line], float | None]:
    if node.range.unwrap is not None:
        return compile_unwrap(node.range.unwrap)
    if node.op in _BYTES:
        return lambda line: float(len(line.text.encode("utf-8", "replace")))
    return lambda line: 1.0


def _key_of(grouping: ast.Grouping | None, unwrap: ast.Unwrap | None) -> Callable[[Line], _Key]:
    """What tells a line's series from others: values of a grouping's labels, or all labels."""
    if grouping is not None and not grouping.without:
        names = grouping.labels
        if not names:
            return lambda line: ()
        return lambda line: tuple([line.get(name) or "" for name in names])
    left_out = set(grouping.labels) if grouping is not None else set()
    if unwrap is not None:
        left_out.add(unwrap.label)

    def all_labels(line: Line) -> _Key:
        pairs = [(n, v) for n, v in line.labels().items() if v and n not in left_out]
        pairs.sort()
        return tuple(pairs)

    return all_labels


def _wanted(
    pushed: Pushed, unwrap: ast.Unwrap | None, grouping: ast.Grouping | None
) -> frozenset[str] | None:
    """The labels that stages, the sample and the grouping look at; None for all of them."""
    if grouping is None or grouping.without:
        return None
    names = set(grouping.labels)
    for stage in pushed.stages:
        match stage:
            case ast.LabelFilter(test):
                names |= names_of(test)
            case ast.LabelFormat(formats):
                for each in formats:
                    if isinstance(each, ast.LabelTemplate):
                        return None
                    names.add(each.source)
            case ast.LineFormat():
                return None
            case ast.DropLabels(items) | ast.KeepLabels(items):
                names.update(item.name for item in items if isinstance(item, Matcher))
    if unwrap is not None:
        names.add(unwrap.label)
        for test in unwrap.filters:
            names |= names_of(test)
    return frozenset(names)
