"""Error groups: what is known of one kind of error, and how records add to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from obsd.model.log_sighting import LogSighting
from obsd.model.severity import LEVELS, level_of
from obsd.services.error_tracking.fingerprint import ErrorKey

HOUR_NS: Final = 3_600_000_000_000
MAX_TRACES: Final = 20
MAX_NAMES: Final = 50
"""Services or versions of a group that are told apart; more are counted under ""."""


class ErrorState(Enum):
    """What somebody decided about a group."""

    OPEN = "open"
    RESOLVED = "resolved"  # Reopened by a record that happens later.
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class LinkedTrace:
    """A trace in which the error occurred."""

    trace_id: str
    service: str
    time_ns: int


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """One kind of error in a project; times are nanoseconds since 1970.

    Attributes:
        id: the fingerprint.
        level: the most severe that was seen.
        state_ns: when the state was set.
        regressed: it was resolved, and came back; until somebody sets its state again.
        regressions: how often it came back in all.
        frames: function, file and line, the innermost call first.
        services, versions: with how many records have them.
        hours: how many records in an hour, by its start; only where asked for.
    """

    id: str
    type: str
    template: str
    culprit: str
    level: str
    state: ErrorState
    state_ns: int
    regressed: bool
    regressions: int
    first_ns: int
    last_ns: int
    count: int
    sample_ns: int
    services: dict[str, int]
    versions: dict[str, int]
    traces: list[LinkedTrace]
    frames: list[tuple[str, str, int]]
    hours: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Sightings:
    """What new records say of one group."""

    key: ErrorKey
    level: str = ""
    count: int = 0
    first_ns: int = 1 << 63
    last_ns: int = -(1 << 63)
    services: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    traces: dict[str, LinkedTrace] = field(default_factory=dict)

    def add(self, sighting: LogSighting) -> None:
        """Count records of this group, all of one service, version and hour."""
        record, count = sighting.sample, sighting.count
        self.count += count
        self.first_ns = min(self.first_ns, sighting.first_ns)
        self.last_ns = max(self.last_ns, sighting.last_ns)
        self.level = more_severe(self.level, level_of(record.severity_number, record.severity_text))
        self.services[record.service] += count
        version = record.resource.get("service.version")
        if isinstance(version, str) and version:
            self.versions[version] += count
        self.hours[sighting.step_ns] += count
        if record.trace_id:
            trace = LinkedTrace(record.trace_id, record.service, record.time_ns)
            self.traces[record.trace_id] = trace


def more_severe(one: str, other: str | None) -> str:
    """Of two levels, either of which may be unknown."""
    order = ("", *LEVELS)
    return max(one, other or "", key=order.index)


def merged_counts(known: dict[str, int], new: Counter[str]) -> dict[str, int]:
    """The sums, with what is past `MAX_NAMES` under ""."""
    merged = Counter(known)
    for name, count in new.items():
        merged[name if name in merged or len(merged) < MAX_NAMES else ""] += count
    return dict(merged)


def latest_traces(known: Iterable[LinkedTrace], new: Iterable[LinkedTrace]) -> list[LinkedTrace]:
    """The newest of both, each trace once, the newest first."""
    by_id = {trace.trace_id: trace for trace in sorted([*known, *new], key=lambda t: t.time_ns)}
    return sorted(by_id.values(), key=lambda t: (-t.time_ns, t.trace_id))[:MAX_TRACES]
