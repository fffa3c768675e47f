"""What a query gives: lines of streams, or numbers of series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from obsd.model.labels import Labels
from obsd.model.samples import BoolArray, FloatArray


@dataclass(slots=True)
class QueryStats:
    """What a query took, added up while it runs.

    Attributes:
        lines: lines that the engine gave, which the stages then looked at; where counts alone
            answered, what they counted.
        bytes: of these lines, in UTF-8.
        entries: lines, or samples, that were left after the stages.
    """

    lines: int = 0
    bytes: int = 0
    entries: int = 0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line.

    Attributes:
        structured_metadata, parsed: labels beside those of the stream, by where they came from;
            sorted by name. Several entries may share one mapping: do not change it.
    """

    time_ns: int
    line: str
    structured_metadata: Mapping[str, str]
    parsed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogStream:
    """Lines of one stream, in the query's direction."""

    labels: Labels
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class LogStreams:
    """The result of a log query, its streams sorted by labels.

    Labels of metadata and of parsers are with the entries, as Grafana asks for ("categorized").
    """

    streams: tuple[LogStream, ...]
    stats: QueryStats = field(default_factory=QueryStats)

    def merged(self) -> tuple[LogStream, ...]:
        """Streams by all labels, those of metadata and parsers too; sorted by labels.

        Entries keep what they have.
        """
        found: dict[Labels, list[LogEntry]] = {}
        for stream in self.streams:
            base = stream.labels.as_dict()
            for entry in stream.entries:
                labels = Labels.of({**base, **entry.structured_metadata, **entry.parsed})
                found.setdefault(labels, []).append(entry)
        return tuple(LogStream(labels, tuple(found[labels])) for labels in sorted(found))


@dataclass(frozen=True, slots=True)
class Scalar:
    """The result of an instant query that is a number."""

    time_ns: int
    value: float
    stats: QueryStats = field(default_factory=QueryStats)


@dataclass(frozen=True, slots=True)
class Vector:
    """The result of an instant query: sorted by labels, or as `sort` and `sort_desc` have it.

    Attributes:
        values: float64, shape (series,).
    """

    labels: tuple[Labels, ...]
    time_ns: int
    values: FloatArray
    stats: QueryStats = field(default_factory=QueryStats)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The result of a range query, sorted by labels; step i is at `start_ns + i * step_ns`.

    Attributes:
        values: float64, shape (series, steps); unspecified where absent.
        present: bool, shape (series, steps); some in every series.
    """

    labels: tuple[Labels, ...]
    start_ns: int
    step_ns: int
    values: FloatArray
    present: BoolArray
    stats: QueryStats = field(default_factory=QueryStats)
