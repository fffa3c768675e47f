"""Warnings and infos that evaluation collects: each once, with its place in the query."""

from __future__ import annotations

from dataclasses import dataclass, field

from obsd.promql.ast import Span


@dataclass(slots=True)
class Annotations:
    """In the order of their first appearance; belongs to one query."""

    _warnings: dict[tuple[str, Span], None] = field(default_factory=dict)
    _infos: dict[tuple[str, Span], None] = field(default_factory=dict)

    def warn(self, message: str, span: Span) -> None:
        """Something is likely wrong with the query or the data."""
        self._warnings[f"PromQL warning: {message}", span] = None

    def inform(self, message: str, span: Span) -> None:
        """Something is worth a look."""
        self._infos[f"PromQL info: {message}", span] = None

    def warnings(self, text: str | None) -> tuple[str, ...]:
        """Each with line and column, if the query's text is at hand."""
        return _placed(self._warnings, text)

    def infos(self, text: str | None) -> tuple[str, ...]:
        return _placed(self._infos, text)


def _placed(found: dict[tuple[str, Span], None], text: str | None) -> tuple[str, ...]:
    if text is None:
        return tuple(dict.fromkeys(message for message, _ in found))
    placed = ("{} ({}:{})".format(message, *span.position(text)) for message, span in found)
    return tuple(dict.fromkeys(placed))
