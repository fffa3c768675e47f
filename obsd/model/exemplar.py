"""Exemplars: single observations kept beside a series, most often with a trace id."""

from __future__ import annotations

from dataclasses import dataclass

from obsd.model.labels import Labels


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation; its labels are its own, not its series'."""

    labels: Labels
    value: float
    timestamp_ms: int
