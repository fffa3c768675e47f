"""What produced log records, with how much of them there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from obsd.model.log_record import Value


class LogAmount(NamedTuple):
    """What one step of time holds.

    Attributes:
        step: its number.
        bytes: of the bodies' texts; 0 where they were not asked for.
    """

    step: int
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ResourceLogs:
    """One resource's.

    Attributes:
        resource: its attributes; empty for records without one.
        amounts: in order of their steps, which all have something.
    """

    resource: Mapping[str, Value]
    amounts: Sequence[LogAmount]
