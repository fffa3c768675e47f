"""A query's stages, over lines of a scan or over single records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from obsd.logql import ast
from obsd.logql.label_tests import compile_matcher
from obsd.logql.line import ERROR, ERROR_DETAILS, Line
from obsd.logql.stages import StageFunction, compile_pipeline
from obsd.model.log_labels import stream_labels, structured_metadata
from obsd.model.log_record import LogRecord
from obsd.model.log_text import text_of
from obsd.model.matcher import Matcher


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
    """A query's selector and stages; threads can share it."""

    def __init__(self, query: ast.LogQuery) -> None:
        self._is_selected = compile_selector(query.matchers)
        self._stages = compile_pipeline(query.stages)

    def process(self, record: LogRecord) -> ProcessedLine | None:
        """The record after all stages; None where it is filtered out."""
        labels = stream_labels(record)
        if not self._is_selected(labels):
            return None
        metadata = structured_metadata(record, labels)
        line = Line(record.time_ns, text_of(record.body), labels, metadata)
        return shown(line) if passes(self._stages, line) else None


def compile_selector(matchers: Sequence[Matcher]) -> Callable[[Mapping[str, str]], bool]:
    """Whether a stream's labels are meant."""
    tests = [(matcher.name, compile_matcher(matcher)) for matcher in matchers]
    return lambda labels: all(test(labels.get(name, "")) for name, test in tests)


def passes(stages: Sequence[StageFunction], line: Line) -> bool:
    """Put a line through stages; whether it is not filtered out."""
    return all(stage(line) for stage in stages)


def shown(line: Line) -> ProcessedLine:
    """A line after its stages: a label that was parsed hides metadata and the stream's."""
    parsed = dict(sorted(line.parsed.items()))
    if line.error:
        parsed[ERROR] = line.error
    if line.error_details:
        parsed[ERROR_DETAILS] = line.error_details
    metadata = {n: v for n, v in sorted(line.metadata.items()) if n not in line.parsed}
    labels = line.stream
    if parsed and not parsed.keys().isdisjoint(labels):
        labels = {n: v for n, v in labels.items() if n not in parsed}
    return ProcessedLine(line.time_ns, line.text, labels, metadata, parsed)
