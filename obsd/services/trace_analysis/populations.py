"""What sets two populations of spans apart: which values over-represent in a slow or failing set.

For every field, each value's share of the selected spans is compared with its share of the others.
Fields are ranked by the largest difference that chance does not explain: a value counts only where
Dunning's log-likelihood ratio ("Accurate methods for the statistics of surprise and coincidence",
Computational Linguistics 19, 1993) of its counts exceeds `MIN_RATIO`. A field without a value in a
span has the value None there, so that a missing attribute can be what differs.

Numbers with many distinct values are cut into bins of equal counts over both populations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from obsd.model.span_predicate import Constant, Field
    from obsd.services.span_store import SpanColumns

MIN_RATIO: Final = 10.83
"""Chance reaches this log-likelihood ratio once in a thousand values (chi-square, one degree)."""

MAX_VALUES: Final = 10_000
"""Distinct values of a field that are counted; a field with more is an id, and set aside."""

MAX_BINS: Final = 10
_FEW_NUMBERS: Final = 20
"""Up to so many distinct numbers are values, such as status codes; more are cut into bins."""


@dataclass(frozen=True, slots=True)
class ValueShare:
    """How often a value is in either population.

    Attributes:
        value: or None where spans lack the field.
        until: of a bin, the number that its spans stay below, or equal in the last one.
        difference: the share among the selected less the share among the others, -1 to 1.
        ratio: the log-likelihood ratio; 0 where the shares are the same.
    """

    value: Constant | None
    selected: int
    others: int
    difference: float
    ratio: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field, and its values by how much more frequent they are among the selected."""

    field: Field
    score: float
    values: list[ValueShare]


@dataclass(frozen=True, slots=True)
class PopulationComparison:
    """The outcome.

    Attributes:
        selected, others: spans in each population.
        fields: that differ, the most telling first.
        ids: fields with more values than are counted.
    """

    selected: int
    others: int
    fields: list[FieldDifference]
    ids: list[Field]


@dataclass(slots=True)
class _Population:
    spans: int = 0
    counts: list[Counter[Constant]] = field(default_factory=list)


def compare_populations(
    selected: Iterable[SpanColumns],
    others: Iterable[SpanColumns],
    fields: Sequence[Field],
    *,
    max_values: int = 20,
) -> PopulationComparison:
    """Compare two populations by the fields that were scanned, `max_values` of each."""
    ids: set[int] = set()
    chosen, rest = _count(selected, len(fields), ids), _count(others, len(fields), ids)
    differences = []
    for place, each in enumerate(fields):
        if place in ids:
            continue
        shares = _shares(chosen, rest, place)
        score = max((abs(s.difference) for s in shares if s.ratio >= MIN_RATIO), default=0.0)
        if score > 0:
            shares.sort(key=lambda s: (-s.difference, -s.selected))
            differences.append(FieldDifference(each, score, _ends(shares, max_values)))
    differences.sort(key=lambda d: (-d.score, d.field.scope, d.field.name))
    return PopulationComparison(
        chosen.spans, rest.spans, differences, [fields[place] for place in sorted(ids)]
    )


def _ends(shares: list[ValueShare], count: int) -> list[ValueShare]:
    """Those that differ the most in either direction, in their order."""
    if len(shares) <= count:
        return shares
    kept = sorted(shares, key=lambda s: -abs(s.difference))[:count]
    return sorted(kept, key=lambda s: (-s.difference, -s.selected))


def _count(columns: Iterable[SpanColumns], fields: int, ids: set[int]) -> _Population:
    population = _Population(counts=[Counter() for _ in range(fields)])
    for each in columns:
        population.spans += len(each.start_ns)
        for place in range(fields):
            if place in ids:
                continue
            counts = population.counts[place]
            codes, values = each.codes[place], each.values[place]
            found = np.bincount(codes[codes >= 0], minlength=len(values))
            for value, count in zip(values, found.tolist(), strict=True):
                if count:
                    counts[_own(value)] += count
            if len(counts) > MAX_VALUES:
                ids.add(place)
                counts.clear()
    return population


def _own(value: Constant) -> Constant:
    """Booleans apart from numbers, which a dictionary takes for the same."""
    return str(value).lower() if isinstance(value, bool) else value


def _shares(chosen: _Population, rest: _Population, place: int) -> list[ValueShare]:
    left, right = chosen.counts[place], rest.counts[place]
    values = set(left) | set(right)
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    shares = []
    if len(numbers) > _FEW_NUMBERS:
        shares += _bins(chosen, rest, place, sorted(numbers))
        values -= set(numbers)
    for value in values:
        shares.append(_share(chosen, rest, value, left[value], right[value]))
    missing = chosen.spans - left.total(), rest.spans - right.total()
    if any(missing):
        shares.append(_share(chosen, rest, None, *missing))
    return shares


def _bins(
    chosen: _Population, rest: _Population, place: int, numbers: list[int | float]
) -> list[ValueShare]:
    left, right = chosen.counts[place], rest.counts[place]
    weights = np.cumsum([left[n] + right[n] for n in numbers])
    cuts = np.searchsorted(weights, weights[-1] * np.arange(MAX_BINS) / MAX_BINS, side="left")
    begins = sorted(set(cuts.tolist()))
    shares = []
    for begin, end in zip(begins, [*begins[1:], len(numbers)], strict=True):
        inside = numbers[begin:end]
        until = numbers[end] if end < len(numbers) else numbers[-1]
        counts = sum(left[n] for n in inside), sum(right[n] for n in inside)
        shares.append(_share(chosen, rest, inside[0], *counts, until=float(until)))
    return shares


def _share(
    chosen: _Population,
    rest: _Population,
    value: Constant | None,
    selected: int,
    others: int,
    *,
    until: float | None = None,
) -> ValueShare:
    difference = selected / max(chosen.spans, 1) - others / max(rest.spans, 1)
    ratio = log_likelihood_ratio(selected, chosen.spans, others, rest.spans)
    return ValueShare(value, selected, others, difference, ratio, until)


def log_likelihood_ratio(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """Dunning's ratio for two binomial samples; 0 where either is empty."""
    total = of + other_of
    if not of or not other_of:
        return 0.0
    share = (hits + other_hits) / total
    expected = share * of, (1 - share) * of, share * other_of, (1 - share) * other_of
    observed = hits, of - hits, other_hits, other_of - other_hits
    terms = (o * math.log(o / e) for o, e in zip(observed, expected, strict=True) if o)
    return max(0.0, 2 * math.fsum(terms))
