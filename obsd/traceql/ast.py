"""The syntax tree of TraceQL: frozen nodes that keep where they stand in the query.

Two nodes are equal when they mean the same text, wherever they stand; spans do not count.
Parentheses leave no node: the printer puts them where they are needed. `a && b && c` is one node,
so that a query of thousands of conditions is not a tree as deep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, cast

from obsd.model.span import SpanKind, StatusCode
from obsd.traceql.value import Duration


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

Scope = Literal["", "resource", "span", "event", "link", "instrumentation"]
LogicalOp = Literal["&&", "||"]
BinaryOp = Literal["+", "-", "*", "/", "%", "^", "=", "!=", ">", ">=", "<", "<=", "=~", "!~"]
ArithmeticOp = Literal["+", "-", "*", "/", "%", "^"]
CompareOp = Literal["=", "!=", ">", ">=", "<", "<="]
StructuralOp = Literal[
    ">", ">>", "<", "<<", "~",
    "!>", "!>>", "!<", "!<<", "!~",
    "&>", "&>>", "&<", "&<<", "&~",
]  # fmt: skip
AggregateOp = Literal["count", "avg", "min", "max", "sum"]
MetricOp = Literal[
    "rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time",
    "quantile_over_time", "histogram_over_time",
]  # fmt: skip
TopOp = Literal["topk", "bottomk"]
MathOp = Literal["+", "-", "*", "/"]
Constant = str | int | float | bool | Duration | StatusCode | SpanKind

ARITHMETIC: Final = frozenset({"+", "-", "*", "/", "%", "^"})
COMPARISONS: Final = frozenset({"=", "!=", ">", ">=", "<", "<="})
STRUCTURAL: Final = frozenset(
    {">", ">>", "<", "<<", "~"}
    | {"!>", "!>>", "!<", "!<<", "!~"}
    | {"&>", "&>>", "&<", "&<<", "&~"}
)
METRICS: Final = frozenset(
    {
        "rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time",
        "sum_over_time", "quantile_over_time", "histogram_over_time",
    }
)  # fmt: skip
MAX_GROUPS: Final = 5  # As Tempo has it.

INTRINSICS: Final = {
    "name": "name",
    "status": "status",
    "statusMessage": "statusMessage",
    "kind": "kind",
    "duration": "duration",
    "traceDuration": "traceDuration",
    "rootName": "rootName",
    "rootServiceName": "rootServiceName",
    "nestedSetParent": "nestedSetParent",
    "nestedSetLeft": "nestedSetLeft",
    "nestedSetRight": "nestedSetRight",
    "childCount": "span:childCount",
    "trace:id": "trace:id",
    "trace:duration": "traceDuration",
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
    "span:id": "span:id",
    "span:parentID": "span:parentID",
    "span:name": "name",
    "span:kind": "kind",
    "span:status": "status",
    "span:statusMessage": "statusMessage",
    "span:duration": "duration",
    "span:childCount": "span:childCount",
    "event:name": "event:name",
    "event:timeSinceStart": "event:timeSinceStart",
    "link:traceID": "link:traceID",
    "link:spanID": "link:spanID",
    "instrumentation:name": "instrumentation:name",
    "instrumentation:version": "instrumentation:version",
}
"""What a query may say, and the one name that the tree and answers have for it."""


# Of one span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`span.http.method`; without a scope it is the span's, or else the resource's."""

    scope: Scope
    name: str
    parent: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """`duration`: one of the values of `INTRINSICS`."""

    name: str
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Static:
    """A constant."""

    value: Constant
    span: Span = field(default=NOWHERE, compare=False)

    def __eq__(self, other: object) -> bool:
        """Of the same type: 1 is not 1.0, and neither is it true."""
        return (
            isinstance(other, Static)
            and type(self.value) is type(other.value)
            and (self.value == other.value or self.value != self.value)
        )

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Nil:
    """`nil`; the parser makes `x = nil` an `Exists` of it, so that it stays nowhere in a tree."""

    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Exists:
    """`x != nil`, or `x = nil` where it is negated."""

    of: FieldExpr
    negated: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`!x`."""

    of: FieldExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """`-x`."""

    of: FieldExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, or a comparison."""

    op: BinaryOp
    left: FieldExpr
    right: FieldExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Logical:
    """All of two or more operands, or one of them."""

    op: LogicalOp
    of: tuple[FieldExpr, ...]
    span: Span = field(default=NOWHERE, compare=False)


FieldExpr = Attribute | Intrinsic | Static | Nil | Exists | Not | Negative | Binary | Logical
Named = Attribute | Intrinsic


# Of sets of spans


@dataclass(frozen=True, slots=True)
class SpansetFilter:
    """`{ … }`."""

    condition: FieldExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class SpansetLogical:
    """`{ … } && { … }`: the spans of all, if each has some; or those of any."""

    op: LogicalOp
    of: tuple[SpansetExpr, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Structural:
    """`{ … } >> { … }`: spans of the right side by what those of the left are to them."""

    op: StructuralOp
    left: SpansetExpr
    right: SpansetExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`count()`, `avg(x)`; of the spans of a set."""

    op: AggregateOp
    of: FieldExpr | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class PipelineScalar:
    """`({ … } | count())`: the number of a pipeline of its own."""

    pipeline: Pipeline
    aggregate: ScalarExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ScalarArithmetic:
    """`max(duration) - min(duration)`."""

    op: ArithmeticOp
    left: ScalarExpr
    right: ScalarExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ScalarFilter:
    """`count() > 2`: the sets whose number compares so."""

    op: CompareOp
    left: ScalarExpr
    right: ScalarExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class GroupBy:
    """`by(x)`: a set for each value."""

    of: FieldExpr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Select:
    """`select(x, y)`: fields to answer with."""

    fields: tuple[Named, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Coalesce:
    """`coalesce()`: one set again."""

    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages, the first from the left; one at least."""

    stages: tuple[Stage, ...]
    span: Span = field(default=NOWHERE, compare=False)


SpansetExpr = SpansetFilter | SpansetLogical | Structural | Pipeline
ScalarExpr = Aggregate | PipelineScalar | ScalarArithmetic | Static
Stage = SpansetExpr | ScalarFilter | GroupBy | Select | Coalesce


# Numbers over time


@dataclass(frozen=True, slots=True)
class MetricsAggregate:
    """`quantile_over_time(duration, .5, .9) by (name)`."""

    op: MetricOp
    of: Named | None = None
    quantiles: tuple[float, ...] = ()
    by: tuple[Named, ...] = ()
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`compare({ … }, 10)`: how the spans of a selection differ from the others.

    Attributes:
        top: how many values of each attribute, the most frequent first.
        start_ns, end_ns: the selection's spans start in this range; 0 and 0 for any time.
    """

    selection: SpansetFilter
    top: int = 10
    start_ns: int = 0
    end_ns: int = 0
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class TopK:
    """`topk(5)`, `bottomk(5)`: of each step the series of the greatest, or least, values."""

    op: TopOp
    count: int
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class MetricsFilter:
    """`> 10`: the points that compare so."""

    op: CompareOp
    value: float
    span: Span = field(default=NOWHERE, compare=False)


SecondStage = TopK | MetricsFilter


@dataclass(frozen=True, slots=True)
class MetricsPipeline:
    """`{ … } | rate()`."""

    pipeline: Pipeline
    aggregate: MetricsAggregate | Compare
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class MetricsStages:
    """A metric with what is behind it: `… | topk(5) > 10`."""

    of: MetricsExpr
    stages: tuple[SecondStage, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class MetricsMath:
    """Arithmetic between two metrics, or a metric and a number: `( … ) / ( … )`."""

    op: MathOp
    left: MetricsExpr | float
    right: MetricsExpr | float
    span: Span = field(default=NOWHERE, compare=False)


MetricsExpr = MetricsPipeline | MetricsStages | MetricsMath


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query.

    Attributes:
        hints: of `with(…)`, as they stand there.
    """

    expr: Pipeline | MetricsExpr
    hints: tuple[tuple[str, Constant], ...] = ()

    @property
    def is_metrics(self) -> bool:
        """Whether it asks for numbers, not for traces."""
        return not isinstance(self.expr, Pipeline)


def scope_of(word: str) -> Scope:
    """A scope by its word; "" for none."""
    assert word in {"", "resource", "span", "event", "link", "instrumentation"}
    return cast(Scope, word)
