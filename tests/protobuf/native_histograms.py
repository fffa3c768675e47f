"""Native histograms out of `prometheus.Histogram` messages, by a slow and plain reading of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any


def buckets(spans: Iterable[Any], deltas: Iterable[int]) -> dict[int, int]:
    """Counts by index; empty ones are left out."""
    found: dict[int, int] = {}
    rest = iter(deltas)
    index = count = 0
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            count += next(rest)
            if count:
                found[index] = count
            index += 1
    assert next(rest, None) is None, "more deltas than the spans have buckets"
    return found


def expected_buckets(values: Iterable[float], schema: int) -> dict[int, int]:
    """Where observations above zero are; bucket i ends at 2 ** (i / 2 ** schema), inclusive."""
    return dict(Counter(math.ceil(math.log2(value) * 2.0**schema) for value in values))
