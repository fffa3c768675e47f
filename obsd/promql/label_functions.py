"""Functions that look at labels only: replacing, joining, and sorting by them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cmp_to_key
from typing import Final

import numpy as np

from obsd.model.errors import QueryError
from obsd.model.go_strings import is_valid_text, to_valid_text
from obsd.model.labels import METRIC_NAME, Labels
from obsd.model.regex import InvalidRegexError, compile_anchored
from obsd.promql.call_site import CallSite
from obsd.promql.value import Grid, merge_series

_CHUNK: Final = re.compile(r"\d+|\D+")


def label_replace(site: CallSite) -> Grid:
    """`label_replace(v, dst, replacement, src, regex)`: set `dst` where `src` matches whole."""
    target, template, source, expression = (site.string(i) for i in range(1, 5))
    try:
        expand = compile_anchored(to_valid_text(expression)).expander(to_valid_text(template))
    except InvalidRegexError:
        message = f"invalid regular expression in label_replace(): {expression}"
        raise QueryError(message) from None
    _check_name(target, "destination", "label_replace")
    source = to_valid_text(source)
    grid = site.vector(0)
    replaced: list[Labels] = []
    drops = grid.drop_name.copy()
    for i, labels in enumerate(grid.labels):
        value = expand(labels.get(source))
        if value is None:
            replaced.append(labels)
            continue
        replaced.append(labels.with_label(target, value))
        if target == METRIC_NAME:
            drops[i] = False
    return merge_series(replace(grid, labels=tuple(replaced), drop_name=drops))


def label_join(site: CallSite) -> Grid:
    """`label_join(v, dst, separator, src...)`: set `dst` to the joined values of `src`."""
    target, separator = site.string(1), site.string(2)
    sources = [site.string(i) for i in range(3, site.arg_count)]
    for source in sources:
        _check_name(source, "source", "label_join")
    _check_name(target, "destination", "label_join")
    separator = to_valid_text(separator)
    grid = site.vector(0)
    joined = tuple(
        labels.with_label(target, separator.join(labels.get(source) for source in sources))
        for labels in grid.labels
    )
    drops = np.zeros_like(grid.drop_name) if target == METRIC_NAME else grid.drop_name
    return merge_series(replace(grid, labels=joined, drop_name=drops))


def _check_name(name: str, role: str, function: str) -> None:
    if not name or not is_valid_text(name):
        raise QueryError(f"invalid {role} label name in {function}(): {to_valid_text(name)}")


def sort_by_label(site: CallSite) -> Grid:
    return _sorted_by_label(site, descending=False)


def sort_by_label_desc(site: CallSite) -> Grid:
    return _sorted_by_label(site, descending=True)


def _sorted_by_label(site: CallSite, *, descending: bool) -> Grid:
    warn_of_range(site)
    names = [site.string(i) for i in range(1, site.arg_count)]
    grid = site.vector(0)

    def compare(a: int, b: int) -> int:
        left, right = grid.labels[a], grid.labels[b]
        for name in names:
            if left.get(name) != right.get(name):
                return -1 if natural_less(left.get(name), right.get(name)) else 1
        return -1 if left < right else 1

    rows = sorted(range(len(grid.labels)), key=cmp_to_key(compare), reverse=descending)
    return grid.take(rows)


def natural_less(left: str, right: str) -> bool:
    """Text order in which runs of digits count as numbers: `a2` comes before `a10`."""
    for a, b in zip(_CHUNK.findall(left), _CHUNK.findall(right), strict=False):
        if a.isdecimal() and b.isdecimal() and int(a) != int(b):
            return int(a) < int(b)
        if not (a.isdecimal() and b.isdecimal()) and a != b:
            return bool(a < b)
    return len(left) < len(right)


def warn_of_range(site: CallSite) -> None:
    """Sorting has no effect when every step has an order of its own."""
    if site.scope.is_range_query:
        site.scope.annotations.warn(
            "sort is ineffective for range queries since results are always ordered by labels",
            site.call.span,
        )
