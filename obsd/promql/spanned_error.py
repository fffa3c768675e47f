"""An error that knows its place in the query, until someone who has the text reports it."""

from __future__ import annotations

from obsd.promql.ast import Span


class SpannedError(Exception):
    """Raised while the tree is built or checked; `parse` turns it into a QueryParseError."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
