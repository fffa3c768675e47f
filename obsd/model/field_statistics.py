"""What the values of a field come to, of some records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldStatistics:
    """Of records that have the field.

    Attributes:
        records: how many these are.
        unique: how many different texts the field has; where `unique_exact` is false an estimate
            with a standard error of 1.15 %.
        numbers: how many of the values are decimal numbers. What follows is of these, and NaN
            where there are none.
        quantiles: in the order that was asked for; where `quantiles_exact` is false each is within
            1 % of the number of that rank.
    """

    records: int
    unique: int
    unique_exact: bool
    numbers: int
    sum: float
    min: float
    max: float
    quantiles: tuple[float, ...]
    quantiles_exact: bool
