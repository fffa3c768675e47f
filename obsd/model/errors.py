"""Errors that callers can act on: one class for each thing a caller can do about it.

`api/errors.py` maps them to each protocol's answers.
"""

from __future__ import annotations


class ObsdError(Exception):
    """The root of obsd's own errors."""


class BadInputError(ObsdError):
    """What the caller sent is wrong; sending it again unchanged cannot help."""


class UndecodableError(BadInputError):
    """A body that is not what its content type says."""


class TooLargeError(ObsdError):
    """A body, or what it decompresses to, is over its limit."""

    def __init__(self, what: str, limit_bytes: int) -> None:
        super().__init__(f"{what} is larger than the limit of {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class OverloadedError(ObsdError):
    """A limit of this server is reached for now; the same request can succeed later."""

    def __init__(self, reason: str, retry_after_s: int = 5) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class StorageUnavailableError(ObsdError):
    """The disk refuses; nothing of the request is acknowledged, and it can be sent again."""

    def __init__(self, reason: str, retry_after_s: int = 10) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class CorruptDataError(ObsdError):
    """Bytes on disk are not what was written."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"corrupt {path}: {detail}")
        self.path = path


class QueryError(ObsdError):
    """A query that was understood but cannot be answered."""


class QueryParseError(BadInputError):
    """A query that does not parse; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{line}:{column}: parse error: {message}")
        self.line = line
        self.column = column


class TooManySamplesError(QueryError):
    """The query would read more samples than it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            "query processing would load too many samples into memory in query execution "
            f"(limit {limit})"
        )
        self.limit = limit


class QueryTimeoutError(QueryError):
    """The query took longer than it may."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"query timed out after {timeout_s:g} s in expression evaluation")
        self.timeout_s = timeout_s


class QueryCanceledError(QueryError):
    """The client that asked has gone."""

    def __init__(self) -> None:
        super().__init__("query was canceled in expression evaluation")
