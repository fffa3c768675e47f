"""How spans are counted, as the native counters are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from obsd.config.tree import SpanMetricsConfig
from obsd.model.log_labels import label_name

_OWN_LABELS: Final = frozenset(
    {
        "__name__",
        "instance",
        "job",
        "le",
        "metric_overflow",
        "service",
        "span_kind",
        "span_name",
        "status_code",
    }
)
"""Labels with a meaning of their own."""


def dimension_labels(attributes: Sequence[str]) -> list[tuple[str, str]]:
    """Attributes with the labels that they become; of two of one label the first stays."""
    labels: dict[str, str] = {}
    for attribute in attributes:
        name = label_name(attribute)
        if name in _OWN_LABELS or name.startswith("__"):
            name = f"attribute_{name}"
        labels.setdefault(name, attribute)
    return [(attribute, label) for label, attribute in labels.items()]


def native_options(
    config: SpanMetricsConfig,
) -> tuple[
    list[tuple[str, str]],
    list[float],
    list[float],
    tuple[int, int, int],
    tuple[int, int],
    tuple[bool, bool],
]:
    """Dimensions, both kinds of buckets, times in milliseconds, limits, and what else is wanted."""
    return (
        dimension_labels(config.dimensions),
        list(config.latency_buckets),
        list(config.graph_buckets),
        (_ms(config.wait_s), _ms(config.interval_s), _ms(config.idle_s)),
        (config.max_series, config.max_pending),
        (config.target_info, config.instance_labels),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
