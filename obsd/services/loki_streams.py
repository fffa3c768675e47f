"""Streams: their labels and these labels' values, and how much each stream has.

All of it follows from the resources of records, without reading a record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from obsd.model.errors import BadInputError
from obsd.model.labels import Labels

if TYPE_CHECKING:
    from obsd.model.budget import QueryBudget
    from obsd.model.log_predicate import Predicate
    from obsd.model.log_record import Value
    from obsd.model.resource_logs import ResourceLogs
    from obsd.services.log_aggregator import LogAggregator
    from obsd.services.log_store import LogStore

MAX_VOLUMES: Final = 100_000
"""Series of a volume query, before the largest are chosen."""

_MS_NS: Final = 1_000_000


@dataclass(slots=True)
class StreamTotal:
    """What a stream has, or several together."""

    records: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What a selector means, in numbers."""

    streams: int
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VolumeQuery:
    """Bytes by labels, from `start_ns` to before `end_ns`.

    Attributes:
        text: a selector; `{}` for all.
        step_ns: 0 for one sum over all of the range.
        limit: how many series, the largest ones.
        targets: the labels that series have; without any those that the selector names, or all
            for `{}`.
        by_label: a series is a label's name, whatever its value.
    """

    text: str
    start_ns: int
    end_ns: int
    step_ns: int
    limit: int
    targets: tuple[str, ...] = ()
    by_label: bool = False


@dataclass(slots=True)
class Volume:
    """A series of bytes over time, as (milliseconds since 1970, bytes)."""

    labels: Labels
    samples: list[tuple[int, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(size for _, size in self.samples)


def is_match_all(text: str) -> bool:
    """Whether a selector has no condition: some requests may ask for everything."""
    return text.replace(" ", "") in ("", "{}")


def selector_predicate(text: str) -> Predicate:
    """The records of a selector's streams.

    Raises:
        BadInputError: it is none.
    """
    from obsd.logql import matchers_predicate, parse_matchers
    from obsd.model.log_predicate import Everything

    return Everything() if is_match_all(text) else matchers_predicate(parse_matchers(text))


def labels_of(resource: Mapping[str, Value]) -> Labels:
    """The stream's labels of what a resource makes."""
    from obsd.model.log_labels import resource_labels

    service = resource.get("service.name")
    return Labels.of(resource_labels(resource, service if isinstance(service, str) else ""))


class LokiStreams:
    """Streams of all projects."""

    def __init__(self, logs: LogAggregator) -> None:
        self._logs = logs

    async def label_names(
        self, project_id: str, selector: str, start_ns: int, end_ns: int
    ) -> list[str]:
        """Names of labels that streams have, sorted."""
        found = await self.streams(project_id, (selector,), start_ns, end_ns)
        return sorted({name for labels in found for name, _ in labels})

    async def label_values(
        self, project_id: str, name: str, selector: str, start_ns: int, end_ns: int
    ) -> list[str]:
        """Values that streams have for a label, sorted."""
        found = await self.streams(project_id, (selector,), start_ns, end_ns)
        return sorted({value for labels in found if (value := labels.get(name))})

    async def label_cardinality(
        self, project_id: str, selector: str, start_ns: int, end_ns: int
    ) -> dict[str, set[str]]:
        """Labels with their values."""
        values: dict[str, set[str]] = defaultdict(set)
        for labels in await self.streams(project_id, (selector,), start_ns, end_ns):
            for name, value in labels:
                values[name].add(value)
        return values

    async def streams(
        self, project_id: str, selectors: Sequence[str], start_ns: int, end_ns: int
    ) -> dict[Labels, StreamTotal]:
        """Streams that one of the selectors means, sorted by labels, with their records.

        Raises:
            BadInputError: a selector is none.
        """
        totals = await self._totals(project_id, selectors, start_ns, end_ns, weigh=False)
        return {labels: totals[labels] for labels in sorted(totals)}

    async def stats(self, project_id: str, selector: str, start_ns: int, end_ns: int) -> IndexStats:
        """How much a selector means.

        Raises:
            BadInputError: it is none.
        """
        totals = await self._totals(project_id, (selector,), start_ns, end_ns, weigh=True)
        records = sum(total.records for total in totals.values())
        return IndexStats(len(totals), records, sum(total.bytes for total in totals.values()))

    async def _totals(
        self,
        project_id: str,
        selectors: Sequence[str],
        start_ns: int,
        end_ns: int,
        *,
        weigh: bool,
    ) -> dict[Labels, StreamTotal]:
        def work(store: LogStore, budget: QueryBudget) -> dict[Labels, StreamTotal]:
            from obsd.model.log_predicate import Or

            predicate = Or(tuple(selector_predicate(text) for text in selectors))
            if end_ns <= start_ns:
                return {}
            found = store.resources(
                predicate, start_ns, end_ns, end_ns - start_ns, budget, weigh=weigh
            )
            totals: dict[Labels, StreamTotal] = defaultdict(StreamTotal)
            for each in found:
                total = totals[labels_of(each.resource)]
                for amount in each.amounts:
                    total.records += amount.records
                    total.bytes += amount.bytes
            return totals

        return await self._logs.read(project_id, work)

    async def volumes(self, project_id: str, asked: VolumeQuery) -> list[Volume]:
        """The largest series, the largest first.

        Each sample stands at the end of its step, a millisecond before the next one begins.

        Raises:
            BadInputError: the selector is none, or there are too many series.
        """

        def work(store: LogStore, budget: QueryBudget) -> list[Volume]:
            from obsd.model.log_predicate import And, Compare

            predicate, series_of = _volume_parts(asked)
            if asked.end_ns <= asked.start_ns:
                return []
            step_ns = asked.step_ns or asked.end_ns - asked.start_ns
            start_ns = asked.start_ns
            if asked.step_ns:
                start_ns -= start_ns % step_ns
                predicate = And((predicate, Compare("time", ">=", asked.start_ns)))
            found = store.resources(predicate, start_ns, asked.end_ns, step_ns, budget, weigh=True)
            sums = _sum_by_series(found, series_of)
            volumes = [
                Volume(
                    labels,
                    [
                        (_step_end_ms(start_ns, step_ns, step, asked.end_ns), size)
                        for step, size in sorted(steps.items())
                    ],
                )
                for labels, steps in sums.items()
            ]
            volumes.sort(key=lambda volume: (-volume.total, volume.labels))
            return volumes[: asked.limit]

        return await self._logs.read(project_id, work)


class _SeriesOf:
    """Which series of a volume query a stream counts for."""

    def __init__(self, names: frozenset[str] | None, *, by_label: bool) -> None:
        self._names = names
        self._by_label = by_label

    def __call__(self, labels: Labels) -> Iterable[Labels]:
        kept = labels if self._names is None else labels.keep(self._names)
        if not self._by_label:
            return (kept,)
        # A label without a value: Labels.of would leave it out.
        return tuple(Labels(((name, ""),)) for name, _ in kept)


def _volume_parts(asked: VolumeQuery) -> tuple[Predicate, _SeriesOf]:
    from obsd.logql import matchers_predicate, parse_matchers
    from obsd.model.log_predicate import Everything
    from obsd.model.matcher import Matcher, MatchOp

    matchers = [] if is_match_all(asked.text) else list(parse_matchers(asked.text))
    named = {matcher.name for matcher in matchers}
    if asked.targets:
        names: frozenset[str] | None = frozenset(asked.targets)
        # Streams without a label that is asked for do not count.
        missing = [name for name in asked.targets if name not in named]
        matchers += [Matcher(MatchOp.REGEX, name, ".+") for name in missing]
    elif not matchers or asked.by_label:
        names = None
    else:
        names = frozenset(named)
    predicate = matchers_predicate(matchers) if matchers else Everything()
    return predicate, _SeriesOf(names, by_label=asked.by_label)


def _sum_by_series(
    found: Iterable[ResourceLogs], series_of: _SeriesOf
) -> dict[Labels, dict[int, int]]:
    sums: dict[Labels, dict[int, int]] = {}
    for each in found:
        for labels in series_of(labels_of(each.resource)):
            steps = sums.setdefault(labels, {})
            if len(sums) > MAX_VOLUMES:
                raise BadInputError(
                    f"the query hit the max number of series limit (limit: {MAX_VOLUMES} series)"
                )
            for amount in each.amounts:
                steps[amount.step] = steps.get(amount.step, 0) + amount.bytes
    return sums


def _step_end_ms(start_ns: int, step_ns: int, step: int, end_ns: int) -> int:
    """Where the sample of a step stands."""
    after_ns = start_ns + (step + 1) * step_ns
    return (end_ns if after_ns >= end_ns else after_ns - _MS_NS) // _MS_NS
