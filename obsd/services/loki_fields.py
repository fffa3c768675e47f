"""Fields that lines turn out to have: structured metadata, and what a JSON or logfmt parser finds.

Found in a sample of the newest lines; types and numbers of values are those of the sample.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from obsd.logql import LineProcessor, LogEntry
    from obsd.model.budget import QueryBudget
    from obsd.model.labels import Labels
    from obsd.model.log_record import LogRecord
    from obsd.services.log_aggregator import LogAggregator
    from obsd.services.log_store import LogStore

FieldType = Literal["int", "float", "boolean", "duration", "bytes", "string"]

SAMPLE_LINES: Final = 1_000
MAX_FIELDS: Final = 1_000
MAX_DEPTH: Final = 32

_LONGEST_TYPED: Final = 64  # No number, duration or size is longer.
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_BOOLEANS: Final = frozenset(
    {"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"}
)
_UUID: Final = re.compile(
    r"(?:urn:uuid:)?\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.ASCII | re.IGNORECASE
)
_ALWAYS_SHOWN: Final = frozenset({"cluster", "namespace", "instance", "pod", "service_name"})
_HIDDEN: Final = frozenset({"__error__", "__error_details__", "__preserve_error__"})
_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


def type_of(value: str) -> FieldType:
    """The narrowest type that a text is of."""
    from obsd.logql.literals import parse_bytes, parse_go_duration_ns, parse_go_float

    if len(value) > _LONGEST_TYPED:
        return "string"
    if _INTEGER.fullmatch(value):
        return "int"
    if _is(parse_go_float, value):
        return "float"
    if value in _BOOLEANS:
        return "boolean"
    if _is(parse_go_duration_ns, value):
        return "duration"
    if value[:1].isdecimal() and _is(parse_bytes, value):
        return "bytes"
    return "string"


def _is(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def common_type(one: FieldType, other: FieldType) -> FieldType:
    """The type that values of both are of."""
    if one == other:
        return one
    return "float" if {one, other} == {"int", "float"} else "string"


def is_identifier_like(values: set[str]) -> bool:
    """Whether a label only names single things, so that nobody would choose from its values."""
    if len(values) <= 2 and values <= {"0", "1"}:
        return False
    from obsd.logql.literals import parse_go_float

    return all(
        _UUID.fullmatch(value) or (len(value) <= _LONGEST_TYPED and _is(parse_go_float, value))
        for value in values
    )


@dataclass(slots=True)
class DetectedField:
    """A field of lines.

    Attributes:
        kind: None until it has a value that is not empty.
        parsers: that find it: `json`, `logfmt`; none for structured metadata.
        path: the keys that lead to it in a JSON line.
    """

    name: str
    values: set[str] = field(default_factory=set)
    kind: FieldType | None = None
    parsers: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)

    def see(self, value: str) -> None:
        if value in self.values:
            return
        self.values.add(value)
        if value and self.kind != "string":
            kind = type_of(value)
            self.kind = kind if self.kind is None else common_type(self.kind, kind)


class FieldDetector:
    """Collects the fields of lines. One thread at a time."""

    def __init__(self, limit: int) -> None:
        from obsd.logql import LineProcessor, LogQuery
        from obsd.logql.ast import JsonParser, LogfmtParser

        self.fields: dict[str, DetectedField] = {}
        self._limit = limit
        self._json: LineProcessor = LineProcessor(LogQuery((), (JsonParser(),)))
        self._logfmt: LineProcessor = LineProcessor(LogQuery((), (LogfmtParser(),)))

    def add(self, labels: Labels, entry: LogEntry) -> None:
        """Look at a line of a stream, and at what a query's own stages found in it."""
        for name, value in entry.structured_metadata.items():
            self._see(name, value)
        for name, value in entry.parsed.items():
            if name not in _HIDDEN:
                self._see(name, value)
        parser, found = self._parse(labels, entry)
        paths = self._paths(entry.line) if parser == "json" else {}
        for name, value in found.items():
            seen = self._see(name, value)
            if seen is None:
                continue
            if parser not in seen.parsers:
                seen.parsers.append(parser)
            if not seen.path:
                seen.path = paths.get(name.removesuffix("_extracted"), paths.get(name, []))

    def _see(self, name: str, value: str) -> DetectedField | None:
        found = self.fields.get(name)
        if found is None:
            if len(self.fields) >= self._limit:
                return None
            found = self.fields[name] = DetectedField(name)
        found.see(value)
        return found

    def _parse(self, labels: Labels, entry: LogEntry) -> tuple[str, Mapping[str, str]]:
        record = _record(labels, entry)
        if entry.line.lstrip()[:1] == "{":
            found = self._json.process(record)
            if found is not None and "__error__" not in found.parsed:
                return "json", found.parsed
        found = self._logfmt.process(record)
        if found is None or "__error__" in found.parsed:
            return "logfmt", {}
        return "logfmt", found.parsed

    def _paths(self, line: str) -> dict[str, list[str]]:
        try:
            tree = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return {}
        return dict(_paths_in(tree, [])) if isinstance(tree, dict) else {}


def _paths_in(tree: dict[str, object], before: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Names of labels with the keys that they are made of."""
    for key, value in tree.items():
        path = [*before, key]
        if isinstance(value, dict):
            if len(path) < MAX_DEPTH:
                yield from _paths_in(value, path)
        elif not isinstance(value, list):
            yield _NAME.sub("_", "_".join(path)), path


def _record(labels: Labels, entry: LogEntry) -> LogRecord:
    """A record that has this line, labels and metadata, for a parser to look at."""
    from obsd.model.log_record import LogRecord

    return LogRecord(
        time_ns=entry.time_ns,
        observed_ns=entry.time_ns,
        severity_number=0,
        severity_text="",
        service=labels.get("service_name"),
        body=entry.line,
        trace_id="",
        span_id="",
        resource=labels.as_dict(),
        attributes=dict(entry.structured_metadata),
    )


class LokiFields:
    """Fields of all projects."""

    def __init__(self, logs: LogAggregator) -> None:
        self._logs = logs

    async def detected(
        self, project_id: str, text: str, start_ns: int, end_ns: int, *, lines: int, limit: int
    ) -> list[DetectedField]:
        """The fields of the newest lines that a query gives, sorted by name.

        Raises:
            BadInputError: the query is none.
        """

        def work(store: LogStore, budget: QueryBudget) -> list[DetectedField]:
            from obsd.logql import parse_log_query, run_log_query

            query = parse_log_query(text)
            found = run_log_query(query, store, start_ns, end_ns, lines, "backward", budget)
            detector = FieldDetector(limit)
            for stream in found.streams:
                budget.check()
                for entry in stream.entries:
                    detector.add(stream.labels, entry)
            return [detector.fields[name] for name in sorted(detector.fields)]

        return await self._logs.read(project_id, work)


def shown_labels(values: Mapping[str, set[str]]) -> list[tuple[str, int]]:
    """Labels that somebody may want to choose from, with how many values each has."""
    return [
        (name, len(values[name]))
        for name in sorted(values)
        if name in _ALWAYS_SHOWN or not is_identifier_like(values[name])
    ]
