"""A trace as a waterfall of text: who called whom, when, for how long, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from obsd.cli.terminal import one_line
from obsd.model.go_duration import format_go_duration

MAX_NAME: Final = 48
MIN_BAR: Final = 20
MAX_DEPTH: Final = 20
"""What is deeper is not moved further to the right."""

_DURATION_WIDTH: Final = 9
_SPAN: Final = "─"
_CRITICAL: Final = "━"


@dataclass(frozen=True, slots=True)
class Sections:
    """The parts of one span that lie on the critical path, in milliseconds from the start."""

    of: Sequence[tuple[float, float]]

    @staticmethod
    def by_span(path: Sequence[dict[str, Any]]) -> dict[str, Sections]:
        """From the sections of an analysis."""
        parts: dict[str, list[tuple[float, float]]] = {}
        for each in path:
            begin = each["offset_ms"]
            parts.setdefault(each["span_id"], []).append((begin, begin + each["duration_ms"]))
        return {span_id: Sections(each) for span_id, each in parts.items()}


def waterfall(analysis: dict[str, Any], width: int) -> Iterator[str]:
    """A line for each span, in the order of the tree; `━` is on the critical path."""
    spans = analysis["spans"]
    total_ms = max(analysis["duration_ms"], 1e-6)
    critical = Sections.by_span(analysis["critical_path"])
    names = [_name(span) for span in spans]
    name_width = min(max((len(name) for name in names), default=0), MAX_NAME)
    bar_width = max(width - name_width - _DURATION_WIDTH - 4, MIN_BAR)
    for span, name in zip(spans, names, strict=True):
        shown = name if len(name) <= name_width else name[: name_width - 1] + "…"
        mark = click.style("✗", fg="red") if span["error"] else " "
        bar = _bar(span, critical.get(span["span_id"], Sections(())), total_ms, bar_width)
        took = f"{milliseconds(span['duration_ms']):>{_DURATION_WIDTH}}"
        styled = click.style(f"{shown:{name_width}}", fg="red" if span["error"] else None)
        yield f"{styled} {mark} {took} {bar}".rstrip()


def _name(span: dict[str, Any]) -> str:
    depth: int = span["depth"]
    return "  " * min(depth, MAX_DEPTH) + one_line(f"{span['service'] or '-'} {span['operation']}")


def _bar(span: dict[str, Any], critical: Sections, total_ms: float, width: int) -> str:
    def column(offset_ms: float) -> int:
        return min(max(int(offset_ms / total_ms * width), 0), width - 1)

    begin = column(span["offset_ms"])
    end = max(column(span["offset_ms"] + span["duration_ms"]), begin)
    cells = [" "] * begin + [_SPAN] * (end - begin + 1)
    for start_ms, end_ms in critical.of:
        for at in range(column(start_ms), max(column(end_ms), column(start_ms)) + 1):
            if begin <= at <= end:
                cells[at] = _CRITICAL
    line = "".join(cells)
    return line[:begin] + click.style(line[begin:], fg="red" if span["error"] else "cyan")


def milliseconds(duration_ms: float) -> str:
    """A duration as short as it can be."""
    return format_go_duration(round(duration_ms * 1_000_000))
