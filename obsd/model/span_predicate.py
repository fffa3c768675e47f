"""What a trace search asks of one span: the tree between query languages and the span engine.

A span matches or does not; the engine may use any index, but its answer is that of these rules.
Case counts everywhere.

Fields. `scope` says where a field is looked up:

- "span", "resource", "scope" (the instrumentation's), "event", "link": attributes of these. Of
  events and links, one that matches is enough.
- "any": the span's attributes, else the resource's.
- "intrinsic": `name`, `service`, `kind` (a number), `status` (a number), `status_message`,
  `duration` (nanoseconds), `start` (nanoseconds since 1970), `trace_id`, `span_id`, `parent_id`,
  `scope.name`, `scope.version`, `event.name`, `link.trace_id`, `link.span_id`.

An attribute's name is one key; dots do not lead into maps. A list matches when one of its elements
does. Texts compare with texts, by code points, numbers with numbers (an integer equals the same
double), booleans with booleans, of which false is the lesser; what cannot be compared does not
match, and neither does a field that is not there, except under `NotSpan`. An attribute without a
value (null) is not there, and neither is an intrinsic that is an empty text: a root's `parent_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldScope = Literal["span", "resource", "scope", "event", "link", "any", "intrinsic"]
CompareOp = Literal["=", "!=", "<", "<=", ">", ">=", "=~", "!~"]
Constant = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a span, as the rules above say."""

    scope: FieldScope
    name: str


@dataclass(frozen=True, slots=True)
class AllSpans:
    """Every span."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of these; of none of them: every span."""

    of: tuple[SpanPredicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these; of none of them: no span."""

    of: tuple[SpanPredicate, ...]


@dataclass(frozen=True, slots=True)
class NotSpan:
    """Spans that do not match."""

    of: SpanPredicate


@dataclass(frozen=True, slots=True)
class CompareField:
    """The field compares so with a constant.

    `=~` and `!~` take an RE2 expression that has to match the whole text; `!=` and `!~` want the
    field to be there.
    """

    field: Field
    op: CompareOp
    value: Constant


@dataclass(frozen=True, slots=True)
class HasField:
    """The field has a value."""

    field: Field


SpanPredicate = AllSpans | AllOf | AnyOf | NotSpan | CompareField | HasField
