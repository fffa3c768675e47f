"""All that PromQL asks of an engine; a test can answer it from a dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from obsd.model.budget import QueryBudget
from obsd.model.matcher import Matcher
from obsd.model.samples import Columns, Matrix, RollupSpec


class Storage(Protocol):
    """Samples of the series that match; thread-safe, and blocking."""

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, budget: QueryBudget
    ) -> Columns:
        """Matching series, sorted by labels, with their samples in [start_ms, end_ms]."""

    def rollup(self, matchers: Sequence[Matcher], spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """A range function over the matching series."""

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """The same function over samples that the evaluator made itself."""
