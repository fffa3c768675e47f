"""Metadata: what senders say about a metric family."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metadata:
    """A family's type ("counter", "gauge", "histogram", …, "unknown"), help text and unit."""

    type: str
    help: str
    unit: str
