"""Patterns of logs: what a search's records say, apart from what varies in it.

Ids. `Pattern.id` is a hash of the template. A project has one template miner, which remembers what
it has seen (docs/log-patterns.md): the same line is of the same pattern in every search, in
`ids_of`, and after a restart. Only when the miner sees, by many more values, that a further place
varies does a pattern become part of a more general one, with another id; `LogPatterns.pattern`
follows an old id to it. Who stores ids, an error's fingerprint for instance, can look up what
became of them with `resolve`.

Concurrency: called on the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from obsd.model.budget import QueryBudget
from obsd.model.errors import BadInputError
from obsd.model.log_pattern import LogPattern
from obsd.model.log_record import LogRecord
from obsd.model.log_text import text_of
from obsd.services.log_aggregator import MAX_STEPS, LogAggregator, LogQuery
from obsd.services.log_store import LogStore
from obsd.services.pattern_change import Change, Status, change_of
from obsd.services.pattern_values import HoleSummary, hole_names, summarize, type_of

if TYPE_CHECKING:
    from obsd.model.log_predicate import Predicate

MAX_EXAMINED: Final = 10_000
"""Records of a pattern, the newest ones, whose values are summarised."""

MAX_EXAMPLES: Final = 10

EXAMPLES_AMONG: Final = 200
"""Records with the words of a pattern among which its examples are looked for."""

HOLE: Final = "<_>"

_WORDS: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """The records of a search that are of one template.

    Attributes:
        id: stable across requests and restarts.
        template: as a pattern of LogQL, `<_>` for each place that varies.
        holes: (name, type) of each place, as the sample has it.
        query: finds its lines in the search language, and those that have the same words.
        count, counts: records in all, and in each step.
        share: of all the records of the search.
        first_ns, last_ns: when the first and the last of them was, in the window.
        levels, services: records of each; `unknown` and "" for those without.
        sample: the newest record; None for what is no more.
        change: None where windows are not compared.
    """

    id: str
    template: str
    holes: Sequence[tuple[str, str]]
    query: str
    count: int
    counts: Sequence[int]
    share: float
    first_ns: int
    last_ns: int
    levels: Mapping[str, int]
    services: Mapping[str, int]
    sample: LogRecord | None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class PatternReport:
    """The patterns of a window, and of the one before it.

    Attributes:
        patterns: the most interesting ones first where windows are compared, else the most
            frequent ones.
        found: how many patterns there are, those that are left out too.
        total, previous_total: records of both windows; the latter None where it was not looked at.
        previous_start_ns: where the window before begins; it ends where this one begins.
    """

    patterns: Sequence[Pattern]
    found: int
    total: int
    previous_total: int | None
    previous_start_ns: int


@dataclass(frozen=True, slots=True)
class PatternDetail:
    """One pattern, with what stands in its holes.

    Attributes:
        examined: how many records, the newest ones, the holes tell of.
        examples: some records, the newest first.
    """

    pattern: Pattern
    examined: int
    holes: Sequence[HoleSummary]
    examples: Sequence[LogRecord] = field(default_factory=list)


class LogPatterns:
    """Patterns of the logs of all projects; times are nanoseconds, ranges exclude their end."""

    def __init__(self, logs: LogAggregator) -> None:
        self._logs = logs

    def now_ns(self) -> int:
        return self._logs.now_ns()

    async def patterns(
        self,
        project_id: str,
        query: LogQuery | Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        limit: int,
    ) -> Sequence[Pattern]:
        """The most frequent patterns of the records that match.

        Raises:
            BadInputError: the query is none, or there would be too many steps.
        """
        report = await self.report(
            project_id, query, start_ns, end_ns, step_ns, limit, compare=False
        )
        return report.patterns

    async def report(
        self,
        project_id: str,
        query: LogQuery | Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        limit: int,
        *,
        compare: bool = True,
    ) -> PatternReport:
        """The patterns of the records that match, compared with the window before, if so wished.

        Both windows are equally long. Every record is counted.

        Raises:
            BadInputError: the query is none, or there would be too many steps.
        """
        if step_ns <= 0 or end_ns - start_ns > step_ns * MAX_STEPS:
            raise BadInputError(f"more than {MAX_STEPS:,} steps; make them longer")
        predicate = self._predicate(query)
        before_ns = start_ns - max(end_ns - start_ns, 0)
        if end_ns <= start_ns:
            return PatternReport([], 0, 0, 0 if compare else None, before_ns)

        def read(store: LogStore, budget: QueryBudget) -> PatternReport:
            before = (
                store.patterns(predicate, before_ns, start_ns, step_ns, 0, budget)
                if compare
                else None
            )
            # After the other window: what it has taught is known then.
            now = store.patterns(predicate, start_ns, end_ns, step_ns, limit, budget)
            return _report(now, before, limit, before_ns)

        return await self._logs.read(project_id, read)

    async def pattern(
        self,
        project_id: str,
        pattern_id: str,
        query: LogQuery | Predicate,
        start_ns: int,
        end_ns: int,
        step_ns: int,
    ) -> PatternDetail | None:
        """One pattern of the records that match, with summaries of its values.

        None where no such pattern is known, or has not been seen for long.

        Raises:
            BadInputError: the query is none, or there would be too many steps.
        """
        if step_ns <= 0 or end_ns - start_ns > step_ns * MAX_STEPS:
            raise BadInputError(f"more than {MAX_STEPS:,} steps; make them longer")
        predicate = self._predicate(query)

        def read(store: LogStore, budget: QueryBudget) -> PatternDetail | None:
            return _detail(store, budget, pattern_id, predicate, (start_ns, end_ns, step_ns))

        return await self._logs.read(project_id, read)

    async def ids_of(self, project_id: str, bodies: Sequence[str]) -> Sequence[str]:
        """The id of each body's pattern; see the module for how stable these are.

        For lines of one kind, such as the messages of exceptions. Bodies of no known pattern are
        learnt; in a project that has no logs nothing is, and ids are "". Some microseconds a body,
        in the pool of queries.
        """
        return await self._logs.read(project_id, lambda store, _: store.pattern_ids(list(bodies)))

    async def resolve(self, project_id: str, pattern_id: str) -> tuple[str, str] | None:
        """What a pattern is called by now, and its template; None where it is not known."""
        return await self._logs.read(
            project_id, lambda store, _: store.pattern_template(pattern_id)
        )

    def _predicate(self, query: LogQuery | Predicate) -> Predicate:
        return query.to_predicate(self.now_ns()) if isinstance(query, LogQuery) else query


def query_of(template: str) -> str:
    """A query in the search language that finds a template's lines: all of its words, in phrases.

    It may find others that have these words, too. A word that goes on in a hole is not among them.
    """
    phrases = []
    parts = template.split(HOLE)
    for number, part in enumerate(parts):
        words = [(word.group(), word.span()) for word in _WORDS.finditer(part)]
        if number > 0 and words and words[0][1][0] == 0:
            words = words[1:]
        if number < len(parts) - 1 and words and words[-1][1][1] == len(part):
            words = words[:-1]
        if words:
            phrases.append('"' + " ".join(word for word, _ in words) + '"')
    return " ".join(dict.fromkeys(phrases))


def _pattern(found: LogPattern, total: int, change: Change | None) -> Pattern:
    names = hole_names(found.template)
    types = [type_of(value) for value in found.values] or [""] * len(names)
    return Pattern(
        id=found.id,
        template=found.template,
        holes=list(zip(names, types, strict=False)),
        query=query_of(found.template),
        count=found.count,
        counts=found.counts.tolist(),
        share=found.count / total if total else 0.0,
        first_ns=found.first_ns,
        last_ns=found.last_ns,
        levels=found.levels,
        services=found.services,
        sample=found.sample,
        change=change,
    )


def _vanished(before: LogPattern, now_steps: int, compared: int) -> Pattern:
    """A pattern of the window before alone; when it was, and of what, is told of then."""
    change = change_of(0, before.counts, compared)
    pattern = _pattern(before, 0, change)
    return replace(pattern, count=0, counts=[0] * now_steps, share=0.0)


def _report(
    now: Sequence[LogPattern],
    before: Sequence[LogPattern] | None,
    limit: int,
    before_ns: int,
) -> PatternReport:
    total = sum(found.count for found in now)
    if before is None:
        patterns = [_pattern(found, total, None) for found in now[:limit]]
        return PatternReport(patterns, len(now), total, None, before_ns)
    earlier = {found.id: found for found in before}
    ids = {found.id for found in now}
    compared = len(ids | earlier.keys())
    steps = len(now[0].counts) if now else len(before[0].counts) if before else 0
    nothing = np.zeros(steps, np.int64)
    patterns = [
        _pattern(
            found,
            total,
            change_of(
                found.count,
                earlier[found.id].counts if found.id in earlier else nothing,
                compared,
            ),
        )
        for found in now
    ]
    patterns += [_vanished(each, steps, compared) for each in before if each.id not in ids]
    patterns.sort(key=_by_interest)
    previous_total = sum(found.count for found in before)
    return PatternReport(patterns[:limit], compared, total, previous_total, before_ns)


def _by_interest(pattern: Pattern) -> tuple[bool, float, int, str]:
    """What changed comes first, by how far it is from chance, errors twice; then what is frequent.

    For the windows as they are: a pattern with a status other than steady is above all steady ones.
    """
    change = pattern.change
    assert change is not None
    is_steady = change.status is Status.STEADY
    records = sum(pattern.levels.values())
    errors = sum(pattern.levels.get(level, 0) for level in ("error", "fatal"))
    weight = 1 + errors / records if records else 1.0
    interest = 0.0 if is_steady else -abs(change.z) * weight
    return is_steady, interest, -pattern.count, pattern.id


def _detail(
    store: LogStore,
    budget: QueryBudget,
    pattern_id: str,
    predicate: Predicate,
    times: tuple[int, int, int],
) -> PatternDetail | None:
    start_ns, end_ns, step_ns = times
    span = (start_ns, max(end_ns, start_ns + 1))
    # First all: a project whose miner is new learns its templates so.
    found = store.patterns(predicate, *span, step_ns, 0, budget)
    values = store.pattern_values(pattern_id, predicate, *span, MAX_EXAMINED, budget)
    if values is None:
        return None
    names = hole_names(values.template)
    holes = [summarize(name, of) for name, of in zip(names, values.values, strict=False)]
    examples = _examples(store, budget, values.id, values.template, predicate, span)
    own = next((each for each in found if each.id == values.id), None)
    if own is None:
        nothing = np.zeros(-((span[0] - span[1]) // step_ns), np.int64)
        own = LogPattern(values.id, values.template, nothing, 0, 0, {}, {}, None, ())
    pattern = replace(
        _pattern(own, sum(each.count for each in found), None),
        holes=[(hole.name, hole.type) for hole in holes],
        sample=examples[0] if examples else None,
    )
    return PatternDetail(pattern, values.examined, holes, examples)


def _examples(
    store: LogStore,
    budget: QueryBudget,
    pattern_id: str,
    template: str,
    predicate: Predicate,
    span: tuple[int, int],
) -> list[LogRecord]:
    """Some of its newest records, of those that have its words."""
    from obsd.logsearch import compile_query
    from obsd.model.log_predicate import And

    words = And((predicate, compile_query(query_of(template), span[1])))
    records = store.search(words, *span, EXAMPLES_AMONG, None, budget).records
    ids = store.pattern_ids([text_of(record.body) for record in records])
    own = [record for record, of in zip(records, ids, strict=True) if of == pattern_id]
    return own[:MAX_EXAMPLES]
