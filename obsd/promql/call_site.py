"""What the implementation of a function sees: its call, its arguments, and its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from obsd.model.samples import FloatArray, IntArray
from obsd.promql import ast
from obsd.promql.annotations import Annotations
from obsd.promql.value import Grid, Steps


class Scope(Protocol):
    """An evaluation in progress, as functions see it."""

    @property
    def times_ms(self) -> IntArray:
        """The time of every step, int64, shape (steps,)."""

    @property
    def is_range_query(self) -> bool:
        """Whether the query asked for more than one step."""

    @property
    def query_range_ms(self) -> tuple[int, int, int]:
        """Start, end and step of the whole query, whatever subquery this is in."""

    @property
    def annotations(self) -> Annotations:
        """Where warnings go."""

    def vector(self, expr: ast.Expr) -> Grid:
        """Evaluate an instant vector."""

    def scalar(self, expr: ast.Expr) -> Steps:
        """Evaluate a scalar."""

    def rollup(
        self,
        expr: ast.Expr,
        function: str,
        args: tuple[float, ...] = (),
        steps: tuple[int, int] | None = None,
    ) -> Grid:
        """A range function over a range vector, at all steps or from one to another, inclusive.

        Names are due to be dropped where it makes another metric. `function` may also be
        "instant_timestamp", over an instant selector.
        """

    def pinned_ms(self, expr: ast.Expr) -> int | None:
        """The time that `@` fixes a range vector to."""


@dataclass(frozen=True, slots=True)
class CallSite:
    """One call, while it is evaluated."""

    call: ast.Call
    scope: Scope

    @property
    def arg_count(self) -> int:
        return len(self.call.args)

    def arg(self, index: int) -> ast.Expr:
        return self.call.args[index]

    def vector(self, index: int) -> Grid:
        return self.scope.vector(self.arg(index))

    def scalar(self, index: int) -> FloatArray:
        return self.scope.scalar(self.arg(index)).values

    def string(self, index: int) -> str:
        literal = ast.unwrap(self.arg(index))
        assert isinstance(literal, ast.StringLiteral), "checked when the query was parsed"
        return literal.value


Implementation = Callable[[CallSite], Grid | Steps]
