"""Metric families and their text form (Prometheus exposition format 0.0.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Kind(Enum):
    """What a family's values mean; the value is its word in a TYPE line."""

    COUNTER = "counter"
    GAUGE = "gauge"
    UNTYPED = "untyped"


@dataclass(slots=True)
class Family:
    """All series of one metric name, in the order in which they were added."""

    name: str
    kind: Kind
    help: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add one series; a bool counts as 0 or 1.

        Raises:
            OverflowError: an integer that no float64 can hold.
        """
        self.samples.append((labels, float(value)))


def counter(name: str, help_text: str, value: float | None = None) -> Family:
    """A counter, with its one unlabelled sample where `value` is given."""
    return _family(name, Kind.COUNTER, help_text, value)


def gauge(name: str, help_text: str, value: float | None = None) -> Family:
    """A gauge, with its one unlabelled sample where `value` is given."""
    return _family(name, Kind.GAUGE, help_text, value)


def untyped(name: str, help_text: str, value: float | None = None) -> Family:
    """An untyped family, with its one unlabelled sample where `value` is given."""
    return _family(name, Kind.UNTYPED, help_text, value)


def _family(name: str, kind: Kind, help_text: str, value: float | None) -> Family:
    family = Family(name, kind, help_text)
    if value is not None:
        family.add(value)
    return family


def render(families: Iterable[Family]) -> bytes:
    """Families as exposition text; those without samples are left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        name = family.name
        lines.append(f"# HELP {name} {family.help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {name} {family.kind.value}")
        for labels, value in family.samples:
            lines.append(f"{name}{_render_labels(labels)} {_render_value(value)}")
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _render_labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _render_value(value: float) -> str:
    if math.isfinite(value):
        return repr(value).removesuffix(".0")
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
