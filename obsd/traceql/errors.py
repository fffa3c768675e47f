"""What a TraceQL query fails with."""

from __future__ import annotations

from obsd.model.errors import BadInputError, QueryParseError


class TraceqlParseError(QueryParseError):
    """A text that is no query, or one that cannot mean anything; it points into the text."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message, line, column)
        self.args = (f"parse error at line {line}, col {column}: {message}",)
        self.message = message


class NotTraceSearchError(BadInputError):
    """A query for numbers where one for traces is wanted."""

    def __init__(self) -> None:
        super().__init__("a metrics query cannot be used to search for traces")


class NotMetricsError(BadInputError):
    """A query for traces where one for numbers is wanted."""

    def __init__(self) -> None:
        super().__init__(
            "not a metrics query: a function such as rate() has to be the last of its pipeline"
        )
