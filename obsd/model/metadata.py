"""Metadata: what senders say about a metric family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

METRIC_TYPES: Final = (
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)
"""In the order of remote write's numbers for them."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """A family's type (one of `METRIC_TYPES`), help text and unit."""

    type: str
    help: str
    unit: str
