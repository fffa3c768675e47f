"""Log records of one kind, told by one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from obsd.model.log_record import LogRecord


@dataclass(frozen=True, slots=True)
class LogSighting:
    """So many records that are alike.

    Attributes:
        texts: of the fields that were asked for, "" for one that they lack.
        step_ns: where the step begins in which all of them happened.
        sample: the newest of them.
    """

    texts: Sequence[str]
    step_ns: int
    count: int
    first_ns: int
    last_ns: int
    sample: LogRecord
