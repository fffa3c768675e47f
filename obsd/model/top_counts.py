"""The most frequent of something, counted in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TopCounts:
    """Texts and how often they came.

    Attributes:
        counts: the most frequent first, those of one count by their texts.
        max_error: each count may be too low by so much, and what came as often may be missing:
            there were too many different texts to count each of them. 0 where all are exact.
    """

    counts: Sequence[tuple[str, int]]
    max_error: int = 0
