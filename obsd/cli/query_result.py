"""A query's answer, taken apart for printing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

METRIC_NAME = "__name__"


@dataclass(frozen=True, slots=True)
class Series:
    """Labels and (Unix seconds, value as the server wrote it)."""

    labels: dict[str, str]
    samples: tuple[tuple[float, str], ...]

    @property
    def name(self) -> str:
        """`up{job="node"}`, as PromQL would select it."""
        pairs = [f"{k}={json.dumps(v)}" for k, v in self.labels.items() if k != METRIC_NAME]
        return self.labels.get(METRIC_NAME, "") + ("{" + ", ".join(pairs) + "}" if pairs else "")


def series_of(data: dict[str, Any]) -> list[Series]:
    """Every result type as series; a scalar or string is one without labels."""
    result = data["result"]
    if data["resultType"] in {"scalar", "string"}:
        return [Series({}, (_sample(result),))]
    return [Series(each["metric"], tuple(_samples(each))) for each in result]


def _samples(item: dict[str, Any]) -> Iterator[tuple[float, str]]:
    """In time order; a native histogram is shown as its JSON."""
    pairs = [item[key] for key in ("value", "histogram") if key in item]
    pairs += [*item.get("values", []), *item.get("histograms", [])]
    yield from sorted((_sample(pair) for pair in pairs), key=lambda sample: sample[0])


def _sample(pair: list[Any]) -> tuple[float, str]:
    time_s, value = pair
    return float(time_s), value if isinstance(value, str) else json.dumps(value)
