"""The syntax tree of PromQL: frozen nodes that keep where they stand in the query.

Two nodes are equal when they mean the same text, wherever they stand; spans do not count. Times
and durations are whole milliseconds, as in storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from obsd.model.matcher import Matcher


class ValueType(Enum):
    """What an expression evaluates to; the value is Prometheus' word for it in messages."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the query's text: code points, from 0, `end` exclusive."""

    start: int
    end: int

    def position(self, text: str) -> tuple[int, int]:
        """Line and column from 1; the column counts UTF-8 bytes, as Prometheus does."""
        before = text[: self.start]
        line_start = before.rfind("\n") + 1
        return before.count("\n") + 1, len(before[line_start:].encode()) + 1


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A number; `is_duration` when it was written as `5m` and so on, and is then in seconds."""

    value: float
    is_duration: bool = False
    span: Span = field(default=NOWHERE, compare=False)

    def __eq__(self, other: object) -> bool:
        # By text, since NaN is not equal to itself and 0.0 is equal to -0.0.
        if not isinstance(other, NumberLiteral):
            return NotImplemented
        return repr(self.value) == repr(other.value) and self.is_duration == other.is_duration

    def __hash__(self) -> int:
        return hash((repr(self.value), self.is_duration))


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """A quoted string, unescaped."""

    value: str
    span: Span = field(default=NOWHERE, compare=False)


class AtAnchor(Enum):
    """The ends of the query's range, as `@` names them."""

    START = "start"
    END = "end"


At = int | AtAnchor
"""The argument of `@`: Unix milliseconds, or one end of the query's range."""


@dataclass(frozen=True, slots=True)
class DurationOp:
    """Arithmetic on durations in seconds: `+ - * / % ^ min_of max_of`, or `step`/`range` alone.

    A sign is an operator without `left`. `wrapped` when it stood in parentheses.
    """

    op: str
    left: NumberLiteral | DurationOp | None = None
    right: NumberLiteral | DurationOp | None = None
    wrapped: bool = False
    span: Span = field(default=NOWHERE, compare=False)


Duration = int | DurationOp
"""Milliseconds, or what they are computed from once the query's range and step are known."""


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """Series by name and matchers; `matchers` has the one that `name` stands for as its last."""

    name: str
    matchers: tuple[Matcher, ...]
    offset: Duration = 0
    at: At | None = None
    anchored: bool = False
    smoothed: bool = False
    span: Span = field(default=NOWHERE, compare=False)

    def _identity(self) -> tuple[object, ...]:
        # The order of conditions means nothing, and the canonical text sorts them.
        matchers = sorted(self.matchers, key=lambda m: (m.name, m.op.value, m.value))
        modifiers = (self.offset, self.at, self.anchored, self.smoothed)
        return (self.name, tuple(matchers), modifiers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VectorSelector):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """The raw samples of a time window of a selector; offset and `@` are the selector's."""

    selector: VectorSelector
    range: Duration
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression evaluated on a grid of its own; without a step it takes the default one."""

    expr: Expr
    range: Duration
    step: Duration | None = None
    offset: Duration = 0
    at: At | None = None
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    function: str
    args: tuple[Expr, ...]
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`op by (grouping) (param, expr)`, or `without` those labels."""

    op: str
    expr: Expr
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False
    span: Span = field(default=NOWHERE, compare=False)


class Card(Enum):
    """How many series of either side may meet; the value is the word of the JSON form."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True, slots=True)
class Matching:
    """Which series of two vectors belong together, and what stands in for a missing one."""

    card: Card = Card.ONE_TO_ONE
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """`matching` is None unless both sides are instant vectors."""

    op: str
    left: Expr
    right: Expr
    matching: Matching | None = None
    return_bool: bool = False
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """A sign before anything but a number, which takes its sign itself."""

    op: str
    expr: Expr
    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Paren:
    """What stood in parentheses, which the canonical text keeps."""

    expr: Expr
    span: Span = field(default=NOWHERE, compare=False)


Expr = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Call
    | Aggregate
    | Binary
    | Unary
    | Paren
)

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
AGGREGATIONS_WITH_PARAM = frozenset(
    {"topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"}
)
AGGREGATIONS = AGGREGATIONS_WITH_PARAM | {
    "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar",
}  # fmt: skip


def unwrap(expr: Expr) -> Expr:
    """The expression inside any number of parentheses."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


def children(expr: Expr) -> tuple[Expr, ...]:
    """Direct subexpressions, in the order of the text."""
    match expr:
        case MatrixSelector(selector=selector):
            return (selector,)
        case Subquery(expr=inner) | Unary(expr=inner) | Paren(expr=inner):
            return (inner,)
        case Call(args=args):
            return args
        case Aggregate(param=None, expr=inner):
            return (inner,)
        case Aggregate(param=param, expr=inner) if param is not None:
            return (param, inner)
        case Binary(left=left, right=right):
            return (left, right)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all below it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)
