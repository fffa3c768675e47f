"""The notation of PromQL test scripts: text to sections of loads and evaluations.

A script is blocks of lines: `load 5m` and series with their samples, `eval instant at 10m EXPR` and
the expected series, `clear` between sections. Blocks end at an empty line or a comment. The rules
are in the README beside the shared scripts; histograms are kept as their text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from obsd.model.go_strings import unquote
from obsd.model.labels import Labels
from obsd.model.samples import STALE_NAN_BITS
from obsd.promql import ast, parse
from obsd.promql.literals import parse_duration_ms

STALE: float = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]


@dataclass(frozen=True, slots=True)
class HistogramText:
    """One native histogram, as it is written; `step` and `index` when it belongs to a sequence."""

    text: str
    operator: str = ""
    step: str = ""
    index: int = 0


Point = float | HistogramText | None


@dataclass(frozen=True, slots=True)
class Series:
    """A series with a point for each step; None is a gap."""

    labels: Labels
    points: tuple[Point, ...]

    @property
    def has_histograms(self) -> bool:
        return any(isinstance(point, HistogramText) for point in self.points)


@dataclass(frozen=True, slots=True)
class Load:
    """Samples from time 0 on, `interval_ms` apart."""

    line: int
    interval_ms: int
    series: tuple[Series, ...]
    with_custom_buckets: bool = False
    with_start_timestamps: bool = False


class Aspect(Enum):
    """What an `expect` line speaks about."""

    FAIL = "fail"
    WARN = "warn"
    INFO = "info"
    NO_WARN = "no_warn"
    NO_INFO = "no_info"
    ORDERED = "ordered"
    STRING = "string"
    RANGE_VECTOR = "range vector"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `expect` line; `text` is an exact message, or a pattern with `is_regex`."""

    aspect: Aspect
    text: str = ""
    is_regex: bool = False

    def fits(self, message: str) -> bool:
        if self.is_regex:
            return re.search(self.text, message) is not None
        return not self.text or message == self.text or message.endswith(f": {self.text}")


@dataclass(frozen=True, slots=True)
class Eval:
    """A query and what it should give; an instant query has equal start and end, and no step."""

    line: int
    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    series: tuple[Series, ...] = ()
    scalar: float | None = None
    expectations: tuple[Expectation, ...] = ()

    @property
    def is_instant(self) -> bool:
        return self.step_ms == 0

    def having(self, aspect: Aspect) -> list[Expectation]:
        return [e for e in self.expectations if e.aspect is aspect]


@dataclass(slots=True)
class Section:
    """What happens on one empty store."""

    commands: list[Load | Eval] = field(default_factory=list)


_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)$")
_EVAL = re.compile(
    r"eval(?:_(fail|warn|info|ordered))?\s+"
    r"(?:instant\s+at\s+(?P<at>\S+)|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)"
    r"\s+step\s+(?P<step>\S+))\s+(?P<query>.+)$"
)
_SERIES = re.compile(
    r"""(?P<metric>[^\s{@]*(?:\{(?:[^"'}]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*\})?)(?P<st>@st)?"""
    r"(?:\s+(?P<points>.*))?$"
)
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|[iI]nf|[nN]a[nN])"
_POINTS = re.compile(
    r"\{\{(?P<histogram>.*?)\}\}(?:(?P<hop>[-+])\{\{(?P<hstep>.*?)\}\})?(?:x(?P<htimes>\d+))?(?=\s|$)"
    rf"|(?P<value>{_NUMBER})(?P<step>[-+]{_NUMBER.removeprefix('[-+]?')})?(?:x(?P<times>\d+))?(?=\s|$)"
    r"|_(?:x(?P<gaps>\d+))?(?=\s|$)"
    r"|(?P<stale>stale)(?=\s|$)"
)
_RANGE_VECTOR = re.compile(r"range vector from (\S+) to (\S+) step (\S+)$")


def read_sections(path: Path) -> list[Section]:
    """The sections of a script.

    Raises:
        ValueError: a line is none of the notation.
    """
    sections = [Section()]
    for line, block in _blocks(path.read_text()):
        if block[0] == "clear":
            sections.append(Section())
        elif block[0].startswith("load"):
            sections[-1].commands.append(_load(line, block))
        else:
            sections[-1].commands.append(_eval(line, block))
    return [section for section in sections if section.commands]


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Commands with their lines, and where they begin, from 1."""
    block: list[str] = []
    first = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        starts = line == "clear" or (line.startswith(("load", "eval")) and raw[:1] not in " \t")
        if block and (not line or line.startswith("#") or starts):
            yield first, block
            block = []
        if not line or line.startswith("#"):
            continue
        if not block:
            first = number
        block.append(line)
    if block:
        yield first, block


def _load(line: int, block: list[str]) -> Load:
    found = _LOAD.match(block[0])
    if found is None:
        raise ValueError(f"line {line}: no load command: {block[0]}")
    start_timestamps = [row for row in block[1:] if _series_parts(row).group("st")]
    rows = [row for row in block[1:] if row not in start_timestamps]
    return Load(
        line,
        _time_ms(found.group(2)),
        tuple(_series(row) for row in rows),
        found.group(1) is not None,
        bool(start_timestamps),
    )


def _eval(line: int, block: list[str]) -> Eval:
    found = _EVAL.match(block[0])
    if found is None:
        raise ValueError(f"line {line}: no command: {block[0]}")
    expectations = [Expectation(Aspect(found.group(1)))] if found.group(1) else []
    rows = []
    for row in block[1:]:
        if row.startswith("expect"):
            expectations.append(_expectation(row))
        else:
            rows.append(row)
    at, step_ms = found["at"], 0
    if at is None:
        start_ms, end_ms = _time_ms(found["start"]), _time_ms(found["end"])
        step_ms = _time_ms(found["step"])
    else:
        start_ms = end_ms = _time_ms(at)
    scalar = None
    if len(rows) == 1 and re.fullmatch(_NUMBER, rows[0]):
        scalar = float(rows.pop())
    series = tuple(_series(row) for row in rows)
    return Eval(
        line, found["query"], start_ms, end_ms, step_ms, series, scalar, tuple(expectations)
    )


def _expectation(row: str) -> Expectation:
    text = row.removeprefix("expect").strip()
    if _RANGE_VECTOR.match(text):
        return Expectation(Aspect.RANGE_VECTOR, text)
    word, _, rest = text.partition(" ")
    aspect, rest = Aspect(word), rest.strip()
    if aspect is Aspect.STRING:
        return Expectation(aspect, unquote(rest))
    kind, colon, message = rest.partition(":")
    if colon and kind in {"msg", "regex"}:
        return Expectation(aspect, message.strip(), kind == "regex")
    return Expectation(aspect)


def range_vector_times(expectation: Expectation) -> list[int]:
    """The timestamps that an expected range vector has, in milliseconds."""
    found = _RANGE_VECTOR.match(expectation.text)
    assert found is not None
    start_ms, end_ms, step_ms = (_time_ms(part) for part in found.groups())
    return list(range(start_ms, end_ms + 1, step_ms))


def _time_ms(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.removeprefix("-")
    if re.fullmatch(r"\d+(\.\d+)?", digits):
        return sign * round(float(digits) * 1000)
    return sign * parse_duration_ms(digits)


def _series_parts(row: str) -> re.Match[str]:
    found = _SERIES.match(row)
    if found is None:
        raise ValueError(f"no series: {row}")
    return found


def _series(row: str) -> Series:
    found = _series_parts(row)
    return Series(parse_labels(found["metric"]), tuple(_points(found["points"] or "")))


def parse_labels(text: str) -> Labels:
    """The labels of `name{a="b"}`."""
    if text == "{}":
        return Labels()
    selector = parse(text)
    assert isinstance(selector, ast.VectorSelector)
    return Labels.of((matcher.name, matcher.value) for matcher in selector.matchers)


def _points(text: str) -> Iterator[Point]:
    position = 0
    text = text.strip()
    while position < len(text):
        found = _POINTS.match(text, position)
        if found is None:
            raise ValueError(f"no samples: {text[position:]}")
        yield from _expanded(found)
        position = found.end()
        while position < len(text) and text[position].isspace():
            position += 1


def _expanded(found: re.Match[str]) -> Iterator[Point]:
    """One item: `1+2x3` has a first point and three that follow, `_x3` three gaps."""
    if found["histogram"] is not None:
        for i in range(int(found["htimes"] or 0) + 1):
            yield HistogramText(found["histogram"], found["hop"] or "", found["hstep"] or "", i)
    elif found["value"] is not None:
        value, step = float(found["value"]), float(found["step"] or 0)
        for _ in range(int(found["times"] or 0) + 1):
            yield value
            value += step
    elif found["stale"]:
        yield STALE
    else:
        yield from [None] * int(found["gaps"] or 1)
