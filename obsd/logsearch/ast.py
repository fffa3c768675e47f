"""The syntax tree of a log search, as it was written; `compile` gives it its meaning.

Every node that can be wrong knows where it stands: `at` is an offset in the query, and takes no
part in comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as declare

from obsd.model.log_predicate import Op

Literal = int | float | str


@dataclass(frozen=True, slots=True)
class MatchAll:
    """`*`, or nothing at all."""


@dataclass(frozen=True, slots=True)
class Text:
    """`word`, `"some words"`, `field:value`; a field of None is the record's text."""

    field: str | None
    text: str
    at: int = declare(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`field:ap*` or `c?nnect`.

    Attributes:
        pattern: with `*` and `?`; a backslash stands before each `*`, `?` and backslash that
            stands for itself.
    """

    field: str | None
    pattern: str
    at: int = declare(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Expression:
    """`/regular expression/`, RE2; `/…/i` begins with `(?i)` here."""

    field: str | None
    pattern: str
    at: int = declare(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field:>100`."""

    field: str
    op: Op
    value: Literal
    at: int = declare(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Between:
    """`field:[low TO high]`; braces leave the bound itself out, and None is `*`."""

    field: str
    low: Literal | None
    high: Literal | None
    low_included: bool = True
    high_included: bool = True
    at: int = declare(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """`field:*`."""

    field: str
    at: int = declare(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Negation:
    """`-x`, `NOT x`, `!x`."""

    of: Query


@dataclass(frozen=True, slots=True)
class Conjunction:
    """`a b`, `a AND b`; two or more, none of them a conjunction."""

    of: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """`a OR b`; two or more, none of them a disjunction."""

    of: tuple[Query, ...]


Query = (
    MatchAll
    | Text
    | Pattern
    | Expression
    | Comparison
    | Between
    | Has
    | Negation
    | Conjunction
    | Disjunction
)
