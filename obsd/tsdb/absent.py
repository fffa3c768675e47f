"""What is read from a project that does not exist: nothing, and without making the project.

A query still has a value there, `vector(1)` say, and a wrong matcher is still an error: so these
are the engine's own reading methods, over no series and no samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from obsd import _native
from obsd.model.budget import QueryBudget
from obsd.model.exemplar import Exemplar
from obsd.model.labels import Labels
from obsd.model.matcher import Matcher
from obsd.model.metadata import Metadata
from obsd.model.samples import Columns, Matrix, RollupSpec
from obsd.tsdb.reader import Reader
from obsd.tsdb.stats import Cardinality

MatcherSets = Sequence[Sequence[Matcher]]


class AbsentMetrics:
    """An engine without anything in it; thread-safe, since nothing in it changes."""

    def __init__(self) -> None:
        self._reader = Reader(_native.Registry(0))

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, budget: QueryBudget
    ) -> Columns:
        return self._reader.select([], matchers, start_ms, end_ms, budget)

    def rollup(self, matchers: Sequence[Matcher], spec: RollupSpec, budget: QueryBudget) -> Matrix:
        return self._reader.rollup([], matchers, spec, budget)

    def rollup_columns(self, columns: Columns, spec: RollupSpec, budget: QueryBudget) -> Matrix:
        """Of samples that the evaluator has made: these are there all the same."""
        return self._reader.rollup_columns(columns, spec, budget)

    def series(
        self,
        matcher_sets: MatcherSets,
        start_ms: int,
        end_ms: int,
        limit: int | None,
        budget: QueryBudget,
    ) -> list[Labels]:
        return self._reader.series([], matcher_sets, start_ms, end_ms, limit, budget)

    def label_names(
        self,
        matcher_sets: MatcherSets,
        start_ms: int,
        end_ms: int,
        limit: int | None,
        budget: QueryBudget,
    ) -> list[str]:
        return self._reader.label_names([], matcher_sets, start_ms, end_ms, budget)

    def label_values(
        self,
        name: str,
        matcher_sets: MatcherSets,
        start_ms: int,
        end_ms: int,
        limit: int | None,
        budget: QueryBudget,
    ) -> list[str]:
        return self._reader.label_values([], name, matcher_sets, start_ms, end_ms, budget)

    def exemplars(
        self, matcher_sets: MatcherSets, start_ms: int, end_ms: int, budget: QueryBudget
    ) -> list[tuple[Labels, list[Exemplar]]]:
        return self._reader.exemplars([], matcher_sets, start_ms, end_ms, budget)

    def metadata(self, metric: str | None = None) -> dict[str, Metadata]:
        return self._reader.metadata(metric)

    def cardinality(self, limit: int) -> Cardinality:
        return self._reader.cardinality(limit)

    def stats(self) -> None:
        """No engine, no numbers about one."""
