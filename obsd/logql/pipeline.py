"""The stages of a query, over single records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from obsd.logql.ast import LogQuery
from obsd.model.log_record import LogRecord


@dataclass(frozen=True, slots=True)
class ProcessedLine:
    """A record as a query shows it.

    Attributes:
        labels: those of the stream.
        structured_metadata, parsed: labels beside them, by where they came from.
    """

    time_ns: int
    line: str
    labels: Mapping[str, str]
    structured_metadata: Mapping[str, str]
    parsed: Mapping[str, str]


class LineProcessor:
    """A query's selector and stages. One thread at a time."""

    def __init__(self, query: LogQuery) -> None:
        raise NotImplementedError

    def process(self, record: LogRecord) -> ProcessedLine | None:
        """The record after all stages; None where it is filtered out."""
        raise NotImplementedError
