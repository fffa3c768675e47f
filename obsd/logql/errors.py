"""What a LogQL query fails with: in Loki's words, which its clients show."""

from __future__ import annotations

from collections.abc import Iterable

from obsd.model.errors import BadInputError, QueryParseError


class LogqlParseError(QueryParseError):
    """A text that is no query; line and column are 0 where the whole query is what is wrong."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message, line, column)
        where = f"parse error at line {line}, col {column}" if line or column else "parse error "
        self.args = (f"{where}: {message}",)
        self.message = message


class PipelineError(BadInputError):
    """A metric query has lines that a stage failed on, and does not say to leave them out."""

    def __init__(self, error: str, labels: Iterable[tuple[str, str]]) -> None:
        series = ", ".join(f'{name}="{value}"' for name, value in labels)
        super().__init__(
            f"pipeline error: '{error}' for series: '{{{series}}}'.\n"
            "Use a label filter to intentionally skip this error. "
            f'(e.g | __error__!="{error}").\n'
            'To skip all potential errors you can match empty errors.(e.g __error__="")\n'
            "The label filter can also be specified after unwrap. "
            '(e.g | unwrap latency | __error__="" )\n'
        )


class SeriesLimitError(BadInputError):
    """A metric query gives more series than anybody could look at."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"maximum number of series ({limit}) reached for a single query; consider reducing "
            "query cardinality by adding more specific stream selectors, reducing the time range, "
            "or aggregating results with functions like sum(), count() or topk()"
        )
        self.limit = limit


class VectorMatchError(BadInputError):
    """Two vectors that cannot be matched one to one, or with the `group_` that is there."""
