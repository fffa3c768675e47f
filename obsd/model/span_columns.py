"""Spans as columns, for counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from obsd.model.span_predicate import Constant


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """Some matching spans as columns, for counting without an object for each.

    Attributes:
        start_ns, duration_ns: int64, shape (n,).
        codes: for each field that was asked for, int32, shape (n,): the place of the span's value
            in that field's `values`, or -1 where it has none. Of a list the first element that is a
            constant counts.
        values: for each field, the distinct values of these spans.
        trace_ids: lower-case hexadecimal digits of each span's trace where these were asked for.
    """

    start_ns: npt.NDArray[np.int64]
    duration_ns: npt.NDArray[np.int64]
    codes: Sequence[npt.NDArray[np.int32]]
    values: Sequence[Sequence[Constant]]
    trace_ids: Sequence[str] | None = None
