"""What rules have counted so far: cumulative values, which only ever grow.

They are kept in a file beside the place up to which records were counted, and written together:
after a crash the records behind that place are counted again, to the same values.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from obsd.durable.files import replace_file
from obsd.services.log_metrics.rules import MAX_SETS, LogMetricRule

log = logging.getLogger(__name__)

FILE: Final = "log_metrics.json"
OVERFLOW: Final = ("overflow", "true")

Labels = tuple[tuple[str, str], ...]


class Values(msgspec.Struct):
    """What was counted of one label set.

    Attributes:
        count: records.
        sum: of the field's numbers.
        buckets: records in each bucket, the last above all bounds.
    """

    labels: Labels
    count: int = 0
    sum: float = 0.0
    buckets: list[int] = msgspec.field(default_factory=list)


class _Rule(msgspec.Struct):
    """A rule as it counted; one that changed begins anew."""

    rule: LogMetricRule
    row: int
    sets: list[Values]


class _Document(msgspec.Struct):
    version: int
    rules: list[_Rule]


class RuleCounters:
    """The values of one rule. One thread at a time."""

    def __init__(self, rule: LogMetricRule, row: int, sets: Iterable[Values] = ()) -> None:
        """`row`: the last record that was counted."""
        self.rule = rule
        self.row = row
        self.sets: dict[Labels, Values] = {values.labels: values for values in sets}
        self.born: set[Labels] = set()  # Since the last sample was written.
        self._settled_row: int | None = None

    @property
    def has_changed(self) -> bool:
        """Whether there is something that is not on disk."""
        return bool(self.born) or self.row != self._settled_row

    def settle(self) -> None:
        """All of it is written."""
        self.born.clear()
        self._settled_row = self.row

    def count(self, groups: Sequence[tuple[tuple[str, ...], int]]) -> None:
        """Add records by the values of the rule's fields, the number behind them if it has one."""
        rule = self.rule
        names = rule.label_names
        for texts, count in groups:
            number = 0.0
            if rule.field:
                parsed = parse_number(texts[-1])
                if parsed is None:
                    continue
                number = parsed
            self._add(self._set_of(names, texts), number, count)

    def _set_of(self, names: tuple[str, ...], texts: tuple[str, ...]) -> Values:
        pairs = zip(names, texts, strict=False)  # The number is behind the labels.
        labels = tuple((name, text[:1024]) for name, text in pairs if text)
        if labels not in self.sets and len(self.sets) >= MAX_SETS:
            labels = (OVERFLOW,)
        values = self.sets.get(labels)
        if values is None:
            buckets = [0] * (len(self.rule.bounds) + 1) if self.rule.kind == "histogram" else []
            values = self.sets[labels] = Values(labels, buckets=buckets)
            self.born.add(labels)
        return values

    def _add(self, values: Values, number: float, count: int) -> None:
        values.count += count
        values.sum += number * count
        if values.buckets:
            values.buckets[bisect_left(self.rule.bounds, number)] += count

    def samples(self) -> Iterator[tuple[str, Labels, float, bool]]:
        """Name, labels and value of every series, and whether it is new."""
        rule = self.rule
        for labels, values in self.sets.items():
            is_new = labels in self.born
            if rule.kind == "count":
                yield rule.name, labels, float(values.count), is_new
            elif rule.kind == "sum":
                yield rule.name, labels, values.sum, is_new
            else:
                below = 0
                bounds = [*map(_bound, rule.bounds), "+Inf"]
                for bound, count in zip(bounds, values.buckets, strict=True):
                    below += count
                    yield f"{rule.name}_bucket", (*labels, ("le", bound)), float(below), is_new
                yield f"{rule.name}_sum", labels, values.sum, is_new
                yield f"{rule.name}_count", labels, float(values.count), is_new


def parse_number(text: str) -> float | None:
    """A field's value as a number; None for a text that is none, or not finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bound(value: float) -> str:
    return repr(float(value))


class CounterFile:
    """The counters of one project on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[RuleCounters]:
        """What was counted; nothing where the file is damaged, which is reported."""
        try:
            document = msgspec.json.decode(self._path.read_bytes(), type=_Document)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            fields = {"path": str(self._path), "error": str(error)}
            log.error("metrics of logs begin anew: what was counted cannot be read", extra=fields)
            return []
        return [RuleCounters(each.rule, each.row, each.sets) for each in document.rules]

    def save(self, counters: Iterable[RuleCounters]) -> None:
        """Replace it durably.

        Raises:
            OSError: the disk refuses; it is as before.
        """
        rules = [_Rule(each.rule, each.row, list(each.sets.values())) for each in counters]
        replace_file(self._path, [msgspec.json.encode(_Document(1, rules))])
