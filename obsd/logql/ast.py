"""The syntax tree of LogQL: frozen nodes that keep where they stand in the query.

Two nodes are equal when they mean the same text, wherever they stand; spans do not count.
Durations are whole nanoseconds. Parentheses leave no node: the printer puts them where they are
needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from obsd.model.matcher import Matcher


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the query's text: code points, from 0, `end` exclusive."""

    start: int
    end: int

    def position(self, text: str) -> tuple[int, int]:
        """Line and column from 1, in code points."""
        before = text[: self.start]
        return before.count("\n") + 1, self.start - (before.rfind("\n") + 1) + 1


NOWHERE: Final = Span(0, 0)


# Stages of a pipeline

LineOp = Literal["|=", "!=", "|~", "!~", "|>", "!>"]
CompareOp = Literal["==", "!=", ">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class LineMatch:
    """What a line filter looks for; `is_ip` when it is an address, a range or a CIDR of them."""

    text: str
    is_ip: bool = False


@dataclass(frozen=True, slots=True)
class LineFilter:
    """`|= "a" or "b"`: one is found in the line; of the operators that negate, none is."""

    op: LineOp
    alternatives: tuple[LineMatch, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Extraction:
    """`label="expression"` of a parser; the expression is a path in the line's fields."""

    label: str
    expression: str


@dataclass(frozen=True, slots=True)
class JsonParser:
    """`| json`, or only what `extractions` name."""

    extractions: tuple[Extraction, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class LogfmtParser:
    """`| logfmt`, or only what `extractions` name."""

    strict: bool = False
    keep_empty: bool = False
    extractions: tuple[Extraction, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class RegexpParser:
    """`| regexp "…(?P<label>…)…"`."""

    pattern: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class PatternParser:
    """`| pattern "<label> … <_> …"`."""

    pattern: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class UnpackParser:
    """`| unpack`: the strings of a JSON object, whose `_entry` becomes the line."""

    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class StringFilter:
    """A label's text, compared; one that is not there counts as ""."""

    matcher: Matcher


@dataclass(frozen=True, slots=True)
class IpFilter:
    """`label = ip("10.0.0.0/8")`."""

    label: str
    negated: bool
    pattern: str


@dataclass(frozen=True, slots=True)
class NumberFilter:
    """`label >= 500`."""

    label: str
    op: CompareOp
    value: float


@dataclass(frozen=True, slots=True)
class DurationFilter:
    """`label > 1.5s`."""

    label: str
    op: CompareOp
    value_ns: int


@dataclass(frozen=True, slots=True)
class BytesFilter:
    """`label > 20KB`."""

    label: str
    op: CompareOp
    value_bytes: int


@dataclass(frozen=True, slots=True)
class AndFilter:
    """Both pass; `,` and juxtaposition are the same."""

    left: LabelTest
    right: LabelTest


@dataclass(frozen=True, slots=True)
class OrFilter:
    """One passes."""

    left: LabelTest
    right: LabelTest


LabelTest = (
    StringFilter | IpFilter | NumberFilter | DurationFilter | BytesFilter | AndFilter | OrFilter
)


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """`| label = "value" and …`."""

    test: LabelTest
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class LineFormat:
    """`| line_format "{{.label}}"`."""

    template: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class LabelRename:
    """`target=source`."""

    target: str
    source: str


@dataclass(frozen=True, slots=True)
class LabelTemplate:
    """`target="{{.label}}"`."""

    target: str
    template: str


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """`| label_format a=b, c="{{.d}}"`."""

    formats: tuple[LabelRename | LabelTemplate, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Decolorize:
    """`| decolorize`: the line without ANSI's colour sequences."""

    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class DropLabels:
    """`| drop a, b="value"`: these labels go; with a condition, where it holds."""

    items: tuple[str | Matcher, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class KeepLabels:
    """`| keep a, b="value"`: all other labels go."""

    items: tuple[str | Matcher, ...]
    span: Span = field(default=NOWHERE, compare=False)


Stage = (
    LineFilter
    | JsonParser
    | LogfmtParser
    | RegexpParser
    | PatternParser
    | UnpackParser
    | LabelFilter
    | LineFormat
    | LabelFormat
    | Decolorize
    | DropLabels
    | KeepLabels
)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A selector and the stages that its lines go through."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


# Metrics

Conversion = Literal["", "bytes", "duration", "duration_seconds"]


@dataclass(frozen=True, slots=True)
class Unwrap:
    """`| unwrap duration(label) | filter`: the label whose number is the sample."""

    label: str
    conversion: Conversion = ""
    filters: tuple[LabelTest, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class LogRange:
    """The lines of a time window, `{…} | … [5m] offset 1h`."""

    query: LogQuery
    range_ns: int
    offset_ns: int = 0
    unwrap: Unwrap | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Grouping:
    """`by (labels)`, or `without` them."""

    labels: tuple[str, ...]
    without: bool = False


@dataclass(frozen=True, slots=True)
class RangeAggregation:
    """`op(param, range) by (grouping)`."""

    op: str
    range: LogRange
    param: float | None = None
    grouping: Grouping | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class VectorAggregation:
    """`op by (grouping) (param, expr)`."""

    op: str
    expr: MetricExpr
    param: int | None = None
    grouping: Grouping | None = None
    span: Span = field(default=NOWHERE, compare=False)


Card = Literal["one-to-one", "many-to-one", "one-to-many"]


@dataclass(frozen=True, slots=True)
class Matching:
    """Which series of two vectors belong together."""

    card: Card = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, a comparison, or one of `and`, `or`, `unless`."""

    op: str
    left: MetricExpr
    right: MetricExpr
    matching: Matching = Matching()
    return_bool: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number: a scalar."""

    value: float
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class VectorLiteral:
    """`vector(1)`: a number as a vector of one series without labels."""

    value: float
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class LabelReplace:
    """`label_replace(expr, target, replacement, source, regex)`."""

    expr: MetricExpr
    target: str
    replacement: str
    source: str
    regex: str
    span: Span = field(default=NOWHERE, compare=False)


MetricExpr = (
    RangeAggregation | VectorAggregation | Binary | NumberLiteral | VectorLiteral | LabelReplace
)
Expr = LogQuery | MetricExpr

COMPARISONS: Final = frozenset({"==", "!=", ">", ">=", "<", "<="})
SET_OPERATORS: Final = frozenset({"and", "or", "unless"})
RANGE_OPERATIONS: Final = frozenset(
    {
        "absent_over_time",
        "avg_over_time",
        "bytes_over_time",
        "bytes_rate",
        "count_over_time",
        "first_over_time",
        "last_over_time",
        "max_over_time",
        "min_over_time",
        "quantile_over_time",
        "rate",
        "rate_counter",
        "stddev_over_time",
        "stdvar_over_time",
        "sum_over_time",
    }
)
VECTOR_OPERATIONS: Final = frozenset(
    {
        "approx_topk",
        "avg",
        "bottomk",
        "count",
        "max",
        "min",
        "sort",
        "sort_desc",
        "stddev",
        "stdvar",
        "sum",
        "topk",
    }
)
VECTOR_OPERATIONS_WITH_PARAM: Final = frozenset({"approx_topk", "bottomk", "topk"})


def children(expr: Expr) -> tuple[MetricExpr, ...]:
    """Direct subexpressions that are metrics, in the order of the text."""
    match expr:
        case VectorAggregation(expr=inner) | LabelReplace(expr=inner):
            return (inner,)
        case Binary(left=left, right=right):
            return (left, right)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all metrics below it, parents first."""
    pending: list[Expr] = [expr]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(children(node)))


def log_queries(expr: Expr) -> Iterator[LogQuery]:
    """The log query that this is, or those whose lines its metrics count."""
    for node in walk(expr):
        match node:
            case LogQuery():
                yield node
            case RangeAggregation():
                yield node.range.query


def is_metric(expr: Expr) -> bool:
    """Whether the query gives numbers rather than lines."""
    return not isinstance(expr, LogQuery)
