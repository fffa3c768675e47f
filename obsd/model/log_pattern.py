"""Patterns of log lines, as the log engine counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from obsd.model.log_record import LogRecord
from obsd.model.samples import IntArray


@dataclass(frozen=True, slots=True)
class LogPattern:
    """The records of a search whose bodies are of one template.

    Attributes:
        id: sixteen hexadecimal digits, the hash of the template.
        template: as a pattern of LogQL: `<_>` stands for what varies.
        counts: records in each step.
        levels: records of each level; those without one are of `unknown`.
        services: records of each service; those without one are of "".
        sample: the newest record, where it was asked for.
        values: what stands in the sample's holes, one for each `<_>`; none where it was not asked
            for, or cannot be told.
    """

    id: str
    template: str
    counts: IntArray
    first_ns: int
    last_ns: int
    levels: Mapping[str, int]
    services: Mapping[str, int]
    sample: LogRecord | None
    values: Sequence[str]

    @property
    def count(self) -> int:
        """Records in all."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class PatternValues:
    """What stands in the holes of a pattern.

    Attributes:
        id: what the pattern is called now: one that was asked for may have become part of another.
        examined: how many records were looked at, the newest ones.
        values: for each hole of the template, what the records have there.
    """

    id: str
    template: str
    examined: int
    values: Sequence[Sequence[str]]
